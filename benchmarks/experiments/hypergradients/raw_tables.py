"""Learners, hypergradients and attacks on tables as they are: unscaled, one-hot, tied, with a rare
class.

Per learner and table: how many draws scikit-learn solves, how many of these we solve with an
objective at most 1e-8 above its own, how many hypergradients agree with exact ones along a random
direction within their bound or are reported degenerate, and how many attacks run to their end. All
but `adult` and `compas` need no files. Columns of zeros are added, so that tables share programs.
"""

import dataclasses
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import attacks
from benchmarks.data.raw import FILED, RAW, Raw
from benchmarks.fuzz.learners import Found, Poisoned, Solution, exactly
from benchmarks.fuzz.twinned import TWINS, ours_at, theirs_at, trained
from benchmarks.options import SOME, Count, check
from benchmarks.report import Report
from bilevel import Certificate, Data, SolveError, certify
from bilevel.learners import Lasso, Logistic, Ridge
from bilevel.results import CONVERGED, INNER_FAILED, NOT_FINITE
from bilevel.tools import program

Learner = Literal["svm-linear", "svm-rbf", "ridge", "huber", "lasso", "logistic", "softmax"]
Table = Literal[
    "credit", "offset", "mixed-scales", "categories", "rare-class", "near-copies", "tied",
    "dictionary", "tumours", "adult", "compas",
]  # fmt: skip
Victim = Literal["svm-linear", "ridge", "lasso", "logistic"]
VICTIMS = ("svm-linear", "ridge", "lasso", "logistic")
POISON, WIDTH, VALIDATION = 2, 64, 100


@dataclasses.dataclass(frozen=True)
class Options:
    """Which learners on which tables."""

    learners: Annotated[tuple[Learner, ...], SOME] = tuple(TWINS)  # pyright: ignore
    tables: Annotated[tuple[Table, ...], SOME] = tuple(  # pyright: ignore
        name for name in RAW if name not in FILED
    )
    """Tables; `adult` is downloaded, `compas` is read from BILEVEL_DATA."""
    rows: Count = 500
    """Training rows."""
    draws: Count = 20
    """Draws of each table."""
    victims: tuple[Victim, ...] = VICTIMS  # pyright: ignore
    """Learners to poison, by `poison_svm` and `poison_classifier`; none by an empty list."""
    steps: Count = 20
    """Steps of an attack."""

    def __post_init__(self):
        if self.victims:
            check(self)


class Answer(NamedTuple):
    """What we find, its result, a certificate, and the derivative along a direction."""

    found: Found
    result: Any
    certificate: Certificate
    slope: Any


@partial(program, effort=0)
def answered(objective: Poisoned, z: Any, direction: Any) -> Answer:
    """One training, and its hypergradient."""
    fitted = objective.learner.fit(objective.changed(z)[1], throw=False)
    certificate = certify(objective, z)
    slopes = [jnp.sum(g * d) for g, d in zip(certificate.gradient, direction, strict=True)]
    return Answer(Found(fitted.model, fitted.warm, None), fitted.result, certificate, sum(slopes))


def exact_slope(solution: Solution, objective: Poisoned, z: Any, direction: Any, found: Found):
    """(the derivative by a complex step in extended precision, the slack of our face)."""
    step = np.longdouble(1e-60)
    moved = tuple(
        np.asarray(a, np.longdouble) + 1j * step * np.asarray(d, np.longdouble)
        for a, d in zip(z, direction, strict=True)
    )
    reference = exactly(solution, objective, found)(moved)
    return float(np.imag(reference.value) / step), reference.slack


def padded(table: Raw) -> Raw:
    """With columns of zeros up to a multiple of `WIDTH`."""
    more = -table.x.shape[1] % WIDTH
    return Raw(np.pad(table.x, ((0, 0), (0, more))), table.y)


def drawn(name: str, rows: int, draw: int) -> tuple[Raw, Raw, np.random.Generator]:
    """(training rows, validation rows, generator)."""
    rng = np.random.default_rng([draw, *name.encode()])
    table = padded(RAW[name](rng, rows + VALIDATION))
    rows = min(rows, len(table.y) - VALIDATION)
    return Raw(*(a[:rows] for a in table)), Raw(*(a[rows:] for a in table)), rng


def solved(learner: str, train: Raw, validation: Raw, rng) -> dict[str, int]:
    """Counts of one draw: what scikit-learn solves, what we solve, whether the slope is right."""
    twin = TWINS[learner]
    y = twin.targets(train.y, rng)
    known, theirs = trained(twin, train.x, y)
    ours = twin.ours(known, train.x)
    data = Data(train.x, y)
    # the decisions on validation rows shall be those of their targets, in some units
    f_val = twin.targets(validation.y, rng)
    f_val = np.eye(3)[f_val] if learner == "softmax" else f_val.astype(float)
    objective = Poisoned(ours, data, jnp.asarray(validation.x), jnp.asarray(f_val))
    z = objective.point(POISON)
    spread = np.std(train.x, axis=0)
    direction = (
        jnp.asarray(0.1 * spread * rng.normal(size=z[0].shape)),
        jnp.asarray(0.1 * rng.normal(size=POISON)),
        0.1 * z[2] * rng.normal(),
    )
    answer = jax.device_get(answered(objective, z, direction))
    at = ours_at(learner, answer.found.model, train.x)
    best = float(twin.objective(*at, y, ours))
    reached = True
    if known is not None:
        there = float(twin.objective(*theirs_at(learner, known, train.x), y, ours))
        reached = best <= there + 1e-8 * abs(there)
    good = int(answer.result) == CONVERGED and reached
    certificate, size = answer.certificate, np.sqrt(sum(np.sum(d**2) for d in direction))
    degenerate = bool(certificate.degenerate)
    true, slack = exact_slope(twin.solution(ours, train.x), objective, z, direction, answer.found)
    error = abs(float(answer.slope) - true)
    right = bool(slack >= 0 and error <= certificate.error_bound * size)
    return {
        "theirs": int(theirs), "ours": int(good), "lost": int(theirs and not good),
        "right": int(good and right and not degenerate), "degenerate": int(good and degenerate),
        "wrong": int(good and not right and not degenerate),
    }  # fmt: skip


def attack(victim: str, train: Raw, validation: Raw, rng, steps: int) -> bool:
    """Whether five points climb to the end, to a value that is not below that of their start."""
    chosen = rng.choice(np.flatnonzero(train.y > 0), 5)
    start, labels = jnp.asarray(train.x[chosen]), -jnp.ones(5)
    domain = attacks.Box(jnp.asarray(train.x.min(0)), jnp.asarray(train.x.max(0)))
    data, held = Data(train.x, train.y), Data(validation.x, validation.y)
    if victim == "svm-linear":
        recipe = attacks.poison_svm(data, start, labels, held, domain=domain, steps=steps)
    else:
        learner = {"ridge": Ridge, "lasso": Lasso, "logistic": Logistic}[victim]
        strength = 0.01 if victim == "lasso" else 1 / len(train.y)
        recipe = attacks.poison_classifier(
            data, start, labels, held, learner(strength), domain=domain, steps=steps
        )
    try:
        first = float(recipe.attack(recipe.start))
        result = recipe.climb()
    except SolveError:
        return False
    failed = int(result.status) in (INNER_FAILED, NOT_FINITE)
    return not failed and bool(np.isfinite(result.value) and result.value >= first)


def make_rows(options: Options, table: str, learner: str) -> dict[str, list]:
    """The row of a table and learner, or victim."""
    counts: dict[str, int] = {"draws": options.draws}
    for draw in range(options.draws):
        train, validation, rng = drawn(table, options.rows, draw)
        if learner.startswith("poison"):
            victim = learner.removeprefix("poison ")
            ended = attack(victim, train, validation, rng, options.steps)
            found = {"ended": int(ended)}
        else:
            found = solved(learner, train, validation, rng)
        counts = {k: counts.get(k, 0) + found.get(k, 0) for k in (*counts, *found)}
    return {"rows": [{"table": table, "learner": learner, **counts}]}


def run(options: Options, report: Report) -> None:
    """One row per learner and table, then one per victim and table."""
    victims = [f"poison {victim}" for victim in options.victims]
    units = [
        {"table": name, "learner": learner}
        for learners in (options.learners, victims)
        for name in options.tables
        for learner in learners
    ]
    report.each(make_rows, options, units, "raw-tables")
    total = {
        name: sum(row.get(name, 0) for row in report.rows)
        for name in ("theirs", "lost", "right", "degenerate", "wrong", "ended")
    }
    report.note(
        "scikit-learn solves {theirs}; of these we do not reach the objective of {lost}. "
        "Hypergradients: {right} right, {degenerate} reported degenerate, {wrong} wrong. "
        "Attacks that ran to their end: {ended}".format(**total)
    )
