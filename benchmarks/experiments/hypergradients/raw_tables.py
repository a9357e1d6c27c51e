"""Learners, hypergradients and attacks on tables as they are: unscaled, one-hot, tied, with a rare
class.

Per learner and table: how many draws scikit-learn solves, how many of these we solve with an
objective no higher than 1e-8 of it, how many hypergradients agree with central differences or are
reported degenerate, and how many attacks run to their end. All but `adult` and `compas` need no
files. Columns of zeros are added, so that tables share compiled programs.
"""

import dataclasses
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import attacks
from benchmarks.data.raw import FILED, RAW, Raw
from benchmarks.fuzz.learners import Poisoned
from benchmarks.fuzz.twinned import TWINS, ours_at, theirs_at, trained
from benchmarks.options import SOME, Count, Positive, check
from benchmarks.report import Report
from bilevel import Data, SolveError, certify
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
    tolerance: Positive = 1e-4
    """Of a central difference beside the hypergradient, relative."""

    def __post_init__(self):
        if self.victims:
            check(self)


class Answer(NamedTuple):
    """Our model and its result, a certificate, and central differences along a direction."""

    model: Any
    result: Any
    certificate: Any
    slope: Any
    differences: Any


STEPS = 10.0 ** -np.arange(3, 9)


@partial(program, effort=0)
def answered(objective: Poisoned, z: Any, direction: Any) -> Answer:
    """One training, its certificate, and the objective at both sides of z."""
    fitted = objective.learner.fit(objective.changed(z)[1], throw=False)
    certificate = certify(objective, z)
    slope = sum(
        jnp.sum(g * d)
        for g, d in zip(jax.tree.leaves(certificate.gradient), direction, strict=True)
    )

    def value(step):
        return objective.evaluate(jax.tree.map(lambda a, d: a + step * d, z, direction))[0]

    ends = jax.lax.map(value, jnp.concatenate([STEPS, -STEPS]))
    differences = (ends[: STEPS.size] - ends[STEPS.size :]) / (2 * STEPS)
    return Answer(fitted.model, fitted.result, certificate, slope, differences)


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


def solved(learner: str, train: Raw, validation: Raw, rng, tolerance: float) -> dict[str, int]:
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
    at = ours_at(learner, answer.model, train.x)
    best = float(twin.objective(*at, y, ours))
    reached = True
    if known is not None:
        there = float(twin.objective(*theirs_at(learner, known, train.x), y, ours))
        reached = best <= there + 1e-8 * abs(there)
    good = int(answer.result) == CONVERGED and reached
    size = abs(answer.slope) + 1e-6 * abs(answer.certificate.value)
    error = np.min(np.abs(answer.differences - answer.slope)) / size
    degenerate = bool(answer.certificate.degenerate)
    right = bool(error <= tolerance)
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


def run(options: Options, report: Report) -> None:
    """One row per learner and table, then one per victim and table."""
    parts = [(name, learner) for name in options.tables for learner in options.learners]
    parts += [(name, f"poison {victim}") for name in options.tables for victim in options.victims]
    for name, learner in report.track(parts, "raw-tables"):
        key = {"table": name, "learner": learner}
        if report.done(**key):
            continue
        counts: dict[str, int] = {"draws": options.draws}
        for draw in range(options.draws):
            train, validation, rng = drawn(name, options.rows, draw)
            if learner.startswith("poison"):
                victim = learner.removeprefix("poison ")
                ended = attack(victim, train, validation, rng, options.steps)
                found = {"ended": int(ended)}
            else:
                found = solved(learner, train, validation, rng, options.tolerance)
            counts = {k: counts.get(k, 0) + found.get(k, 0) for k in (*counts, *found)}
        report.row(**key, **counts)
    total = {
        name: sum(row.get(name, 0) for row in report.rows)
        for name in ("theirs", "lost", "right", "degenerate", "wrong", "ended")
    }
    report.note(
        "scikit-learn solves {theirs}; of these we do not reach the objective of {lost}. "
        "Hypergradients: {right} right, {degenerate} reported degenerate, {wrong} wrong. "
        "Attacks that ran to their end: {ended}".format(**total)
    )
