"""Certificates against exact hypergradients, on thousands of small random problems.

Each problem is an attack on a learner: rows, weights and the strength of regularisation move the
squared error on validation rows. The reference solves the learner in extended precision on the
active set that we return, checks that this set is the solution's, and differentiates by complex
steps. Verdicts: `right`, the error is within the bound; `missed`, it is not, or a number is NaN, or
the active set is wrong, and the certificate does not say so; `degenerate` and `unsolved`, as
reported; `regular` counts those reported degenerate whose reference is regular (slack above 1e-8,
condition below 1e6).
"""

import dataclasses
from collections import Counter
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.fuzz.exact.arithmetic import EXTENDED
from benchmarks.fuzz.kind import Kind, exact_gradient, flat
from benchmarks.fuzz.kinds import KINDS
from benchmarks.fuzz.tables import FAMILIES, REGULAR
from benchmarks.options import SOME, Count, Numbers, check
from benchmarks.report import Report, UsageError
from bilevel import Certificate, certify
from bilevel.results import CONVERGED, DEGENERATE
from bilevel.tools import program

Problem = Literal[
    "svm-linear", "svm-rbf", "svm-polynomial", "ridge", "huber", "lasso", "elastic-net",
    "logistic", "softmax",
    "trim-ridge", "trim-svm", "filter-svm", "relabel-logistic",
    "soft-trim-ridge", "soft-trim-logistic", "soft-trim-svm",
    "soft-filter-svm", "soft-filter-logistic", "soft-relabel-logistic",
    "qp", "box-qp", "box-qp-interior", "constrained",
    "lasso-fista", "elastic-net-fista", "non-negative-fista", "box-fista", "group-lasso-fista",
    "l1-logistic-fista", "group-logistic-fista",
    "lasso-working-set", "elastic-net-working-set", "non-negative-working-set",
    "descent-fixed-point", "network-fixed-point",
]  # fmt: skip
Family = Literal[
    "plain", "weighted", "duplicated", "near-duplicated", "tied", "one-hot", "offset",
    "mixed-scales", "weak", "strong", "rank-deficient", "small", "saturated", "wide",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Options:
    """Which problems on which tables, and how many."""

    kinds: Annotated[tuple[Problem, ...], SOME] = tuple(KINDS)  # pyright: ignore
    """Learners and kernels, defenses around them, programs, penalties and fixed points."""
    families: Annotated[tuple[Family, ...], SOME] = tuple(FAMILIES)  # pyright: ignore
    """Kinds of tables."""
    problems: Count = 80
    """Problems of each kind, family and seed."""
    seeds: Numbers = (0,)
    """Seeds of the tables."""

    def __post_init__(self):
        check(self)
        if not EXTENDED:
            raise UsageError(
                "long double is no wider than double on this processor, and the references need "
                "it; run the experiment on x86"
            )


class Verdict(NamedTuple):
    """Of one certificate: its kind, and bound / error where it is right and not zero."""

    kind: str
    ratio: float = float("nan")
    regular: bool = False


@partial(program, effort=0)
def answers(name: str, batch: Any, static: Any) -> Any:
    """(certificate, face) of each problem of a batch."""

    def one(arrays):
        objective, z = eqx.combine(arrays, static)
        return certify(objective, z), KINDS[name].face(objective, z)

    return jax.lax.map(one, batch)


@np.errstate(over="ignore")  # a reference of a singular problem may leave the range of double
def judge(kind: Kind, objective: Any, z: Any, certificate: Certificate, face: Any) -> Verdict:
    """The verdict on a certificate of one problem."""
    if int(certificate.result) not in (CONVERGED, DEGENERATE):
        return Verdict("unsolved")
    true, slack, condition = exact_gradient(kind, objective, z, face)
    known = bool(np.all(np.isfinite(true.astype(float))))
    if bool(certificate.degenerate) or int(certificate.result) == DEGENERATE:
        return Verdict("degenerate", regular=known and slack > 1e-8 and condition < 1e6)
    size = float(np.linalg.norm(true.astype(float)))
    error = float(np.linalg.norm((flat(certificate.gradient) - true).astype(float)))
    bound = float(certificate.error_bound)
    # a constraint that the set meets with equality is met to the rounding of the reference
    wrong = slack < -np.finfo(float).eps
    if not known or wrong or not error <= bound < np.inf:
        return Verdict("missed")
    if bool(certificate.zero):
        return Verdict("right")
    return Verdict("right", bound / max(error, np.finfo(float).eps * size))


def verdicts(name: str, family: str, seed: int, problems: int) -> list[Verdict]:
    """The verdicts on problems of one kind, family and seed."""
    kind, draw = KINDS[name], FAMILIES[family]
    cases = [
        kind.pose(draw(np.random.default_rng([seed, number, *family.encode()])))
        for number in range(problems)
    ]
    parts = [eqx.partition(case, eqx.is_array) for case in cases]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[arrays for arrays, _ in parts])
    answer = jax.device_get(answers(name, batch, parts[0][1]))
    return [
        judge(kind, *case, *jax.tree.map(lambda leaf, i=i: leaf[i], answer))
        for i, case in enumerate(cases)
    ]


def make_rows(options: Options, kind: str, family: str, seed: int) -> dict[str, Any]:
    """The row of one kind, family and seed."""
    all_of = verdicts(kind, family, seed, options.problems)
    count = Counter(verdict.kind for verdict in all_of)
    ratios = [v.ratio for v in all_of if v.ratio == v.ratio]
    quantile = np.quantile(ratios, [0.5, 0.9]) if ratios else [None, None]
    row = {
        "kind": kind, "family": family, "seed": seed, "problems": len(all_of),
        "right": count["right"], "missed": count["missed"], "degenerate": count["degenerate"],
        "regular": sum(v.regular for v in all_of), "unsolved": count["unsolved"],
        "ratio": quantile[0], "ratio_90": quantile[1],
    }  # fmt: skip
    return {"rows": [row]}


def run(options: Options, report: Report) -> None:
    """One row per kind, family and seed."""
    units = [
        {"kind": kind, "family": family, "seed": seed}
        for kind in options.kinds
        for family in options.families
        for seed in options.seeds
    ]
    report.each(make_rows, options, units, "certificate-fuzz")
    _summary(report)


def _summary(report: Report) -> None:
    total = {
        name: sum(row[name] for row in report.rows)
        for name in ("problems", "right", "missed", "degenerate", "regular", "unsolved")
    }
    report.note(
        "{problems} problems: {right} right, {missed} missed, {degenerate} reported degenerate "
        "({regular} of them regular), {unsolved} reported unsolved".format(**total)
    )
    plain = [row["ratio_90"] for row in report.rows if row["family"] in REGULAR]
    plain = [ratio for ratio in plain if ratio is not None]
    if plain:
        report.note(
            f"bound / error at the 90th percentile, in regular families ({', '.join(REGULAR)}): "
            f"at most {max(plain):.3g}"
        )
