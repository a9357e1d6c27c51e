"""Three answers to one question: how does the validation loss change as the poison moves?

Finite differences of the retrained SVM are the referee. Beside them stand our hypergradient with
its certificate, and the formula that papers print, which is right only for poison points at
alpha = C. Poison points on MNIST are placed to be error vectors (alpha = C), on the margin
(0 < alpha < C), reserve points (alpha = 0), a mix, and exact copies of training rows.
"""

import dataclasses
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from attacks import Attack, Box, Insert, compose, indiscriminate
from benchmarks.data import Rows, Split, drawn_splits, mnist, parse_pair
from benchmarks.options import Numbers, Positive, between, check
from benchmarks.report import Report
from bilevel import Certificate, Data, argmin, certify
from bilevel.learners import SVM
from bilevel.results import CONVERGED

from ._finite_differences import differentiate

KINDS = ("error", "margin", "mixed", "duplicate", "reserve")
MIX = ("error", "margin", "reserve")


@dataclasses.dataclass(frozen=True)
class Options:
    """Digits, numbers of points, splits and the SVM."""

    pair: str = "0v4"
    """The attacker's digit and the attacked one."""
    points: Annotated[tuple[int, ...], between(1, 20)] = (1, 5)
    """Numbers of poison points."""
    splits: Numbers = tuple(range(10))
    """Numbers of the splits into training and validation digits."""
    C: Positive = 1.0
    """The SVM's C."""
    seed: int = 0
    """Seed of the splits and of the directions."""

    def __post_init__(self):
        check(self)
        parse_pair(self.pair)


@eqx.filter_jit
def multipliers(attack: Attack, candidates: jax.Array) -> jax.Array:
    """The alphas of the poison points, for each candidate poison (k, m, d)."""

    def solve(z):
        alpha, _ = argmin(attack.pose(z).problem, solver=attack.solver, throw=False).value
        return alpha[-z.shape[0] :]

    return lax.map(solve, candidates)


def place(attack: Attack, split: Split, kinds: tuple[str, ...], C: float) -> np.ndarray:
    """Poison whose points are of these kinds.

    Copies of attacked digits are error vectors, the middle of the attacker's class is reserve, and
    on the way from one to the other lies the margin.
    """
    attackers = split.train.x[split.train.y > 0]
    inside = (attackers[: len(kinds)] + attackers.mean(axis=0)) / 2
    outside = split.start[: len(kinds)]
    z = np.where((np.array(kinds) == "error")[:, None], outside, inside)
    for point, kind in enumerate(kinds):
        if kind == "margin":
            placed = [p for p in range(point + 1) if kinds[p] == "margin"]
            z = _to_the_margin(attack, z, point, placed, outside[point], inside[point], C)
    return z


def _to_the_margin(attack, z, point, placed, start, end, C) -> np.ndarray:
    """Move one point between start and end to where the placed ones are farthest from 0 and C."""
    candidates = np.repeat(z[None], 64, axis=0)
    candidates[:, point] = start + np.linspace(0, 1, 64)[:, None] * (end - start)
    alpha = np.asarray(multipliers(attack, jnp.asarray(candidates)))[:, placed]
    return candidates[np.argmax(np.minimum(alpha, C - alpha).min(axis=1))]


def duplicates(split: Split, count: int, C: float) -> tuple[np.ndarray, np.ndarray]:
    """The training rows deepest on the margin, and their labels.

    A row and its copy share their alpha in no unique way.
    """
    svm = SVM(C)
    alpha = np.asarray(argmin(svm.training(Data(*split.train)).problem, solver=svm.solver).value[0])
    rows = np.argsort(-np.minimum(alpha, C - alpha))[:count]
    return split.train.x[rows], split.train.y[rows]


def printed_formula(attack: Attack, validation: Rows, z: np.ndarray, C: float) -> np.ndarray:
    """The gradient as papers and slides print it, for a linear SVM and the mean hinge loss.

    It lets the alphas of the margin set respond to a poison point x_c through its kernel values,
    alpha_c K(x_s, x_c). But when x_c is itself on the margin, its own condition y_c f(x_c) = 1
    moves too, by d f(x_c) / d x_c = w, and that term is missing.
    """
    data = attack.reach.inject(jnp.asarray(z), attack.data)
    alpha, _ = argmin(attack.pose(jnp.asarray(z)).problem, solver=attack.solver).value
    x, y, alpha = np.asarray(data.x), np.asarray(data.y), np.asarray(alpha)
    w = (alpha * y) @ x
    margin = (alpha > 0) & (alpha < C)
    bias = np.mean(y[margin] - x[margin] @ w)
    violated = validation.y * (validation.x @ w + bias) < 1
    loss_in_f = -validation.y * violated / len(violated)
    loss_in_w = loss_in_f @ validation.x
    s, ones = x[margin], np.ones((margin.sum(), 1))
    kkt = np.block([[s @ s.T, ones], [ones.T, np.zeros((1, 1))]])
    adjoint = np.linalg.lstsq(kkt, np.append(s @ loss_in_w, loss_in_f.sum()), rcond=None)[0][:-1]
    return (alpha * y)[-len(z) :, None] * (loss_in_w - adjoint @ s)


def examine(
    attack: Attack, z: np.ndarray, printed: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """Ours, the printed formula and finite differences at one poison, as cells of a row.

    Slopes are compared along our gradient, along the difference of the two (where they disagree
    most) and along two random directions.
    """
    certificate = certify(attack, jnp.asarray(z))
    ours = np.asarray(certificate.gradient)
    directions = [ours, ours - printed, *rng.normal(size=(2, *z.shape))]
    directions = [d / np.linalg.norm(d) for d in directions if np.linalg.norm(d) > 1e-12]
    slopes = differentiate(attack, z, directions)
    size = float(np.linalg.norm(ours))
    bound = float(certificate.error_bound)
    return {
        "gradient": size,
        "difference_noise": slopes.noise,
        "ours_error": slopes.error(ours),
        "certified_error": bound / size if size > 0 else bound,
        "printed_error": slopes.error(printed),
        "printed_cosine": _cosine(ours, printed),
        "certificate": _verdict(certificate),
        "set_margin": certificate.margin,
        "kink_margin": certificate.kink_margin,
        "one_sided": slopes.one_sided,
        "jump": slopes.jump,
        "unsolved": slopes.failures,
    }


def _verdict(certificate: Certificate) -> str:
    if int(certificate.result) != CONVERGED:
        return "not solved"
    if bool(certificate.degenerate):
        return "degenerate"
    return "exactly zero" if bool(certificate.zero) else "regular"


def _cosine(a: np.ndarray, b: np.ndarray) -> float | None:
    sizes = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.sum(a * b) / sizes) if sizes > 0 else None


def make_rows(options: Options, split: int, points: int, kind: str) -> dict[str, list]:
    """The row of one split, number of points and kind."""
    parts = drawn_splits(mnist(), options.pair, (split,), options.seed)[split]
    attack, z = _case(parts, points, kind, options.C)
    alpha = np.asarray(multipliers(attack, jnp.asarray(z)[None]))[0]
    rng = np.random.default_rng([options.seed, split, points])
    printed = printed_formula(attack, parts.validation, z, options.C)
    cells = examine(attack, z, printed, rng)
    key = {"split": split, "points": points, "kind": kind}
    return {"rows": [{**key, "least_alpha": alpha.min(), "most_alpha": alpha.max(), **cells}]}


def run(options: Options, report: Report) -> None:
    """One row per split, number of points and kind."""
    units = [
        {"split": number, "points": points, "kind": kind}
        for points in options.points
        for number in options.splits
        for kind in KINDS
        if kind != "mixed" or points > 1
    ]
    report.each(make_rows, options, units, "svm-gradient")
    _summary(report)
    if report.out is not None:
        from benchmarks.pictures.svm_gradient import draw

        report.figure("svm-gradient", draw(report.rows))


def _case(split: Split, points: int, kind: str, C: float) -> tuple[Attack, np.ndarray]:
    def attack(labels) -> Attack:
        reach = Insert(labels, Box(0.0, 1.0))
        goal = indiscriminate(*split.validation)
        return compose(SVM(C), reach, goal, Data(*split.train))

    plain = attack(np.ones(points))
    if kind == "duplicate":
        z, labels = duplicates(split, points, C)
        return attack(labels), z
    kinds = tuple(MIX[i % 3] for i in range(points)) if kind == "mixed" else (kind,) * points
    return plain, place(plain, split, kinds, C)


def _summary(report: Report) -> None:
    measured = [row for row in report.rows if row["ours_error"] is not None]
    for kind in KINDS:
        rows = [row for row in measured if row["kind"] == kind and row["gradient"] > 0]
        if rows:
            printed = [row["printed_error"] for row in rows]
            report.note(
                f"{kind}: relative error at most {max(row['ours_error'] for row in rows):.1e} "
                f"(ours), {min(printed):.1e} to {max(printed):.1e} (printed formula), "
                f"{len(rows)} cases"
            )
    zero = [row for row in measured if row["certificate"] == "exactly zero"]
    if zero:
        most = max(row["ours_error"] for row in zero)
        report.note(f"exactly zero: absolute error at most {most:.1e}, {len(zero)} cases")
    bound = [r for r in measured if r["certified_error"] is not None and r not in zero]
    kept = [r["ours_error"] <= r["certified_error"] + r["difference_noise"] for r in bound]
    report.note(
        f"error within the certified bound and the noise of the differences: {sum(kept)} of "
        f"{len(kept)} cases that are not zero and have a bound"
    )
    lost = len(report.rows) - len(measured)
    if lost:
        report.note(f"{lost} cases could not be measured: retraining failed at too many steps")
