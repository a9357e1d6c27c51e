"""The attacker's dilemma: the stronger poison is, the more it stands out.

The targets of poison stay within a radius of what a model of the clean rows predicts. Three
attackers differ in one line, the learner that they attack: ridge alone, ridge behind TRIM, or
behind its smooth surrogate. Shown are the test error with and without TRIM, and the share of poison
that TRIM removes, against the radius.
"""

import dataclasses
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np

import bilevel
from attacks import XY, InsertNear
from benchmarks.data import house, pharm
from benchmarks.experiments.regression._poisoned_regression import domain, poison_rows
from benchmarks.options import SOME, Count, Positives, Share, check
from benchmarks.report import Report, band
from bilevel import Data
from bilevel.learners import Ridge
from defenses import Trim

from ._ridge_behind_trim import PAPER, attack, attacked, cross_validated, outcome

Attacker = Literal["plain", "hard", "soft"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Data, attackers, radii and sizes."""

    sets: Annotated[tuple[Literal["house", "pharm"], ...], SOME] = ("house", "pharm")
    """Which rows."""
    radii: Positives = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
    """How far targets may be from what a model of the clean rows predicts; in [0, 1]."""
    attackers: Annotated[tuple[Attacker, ...], SOME] = (
        "plain",
        "hard",
        "soft",
    )
    """Learner that is attacked: ridge alone, behind TRIM, or behind TRIM's smooth surrogate."""
    strength: Literal["cross-validated", "paper"] = "cross-validated"
    """Ridge's alpha: by folds of the clean rows and the one-standard-error rule, or .1."""
    rate: Share = 0.2
    """Share of poison among all training rows; TRIM gets it too."""
    seeds: Count = 10
    """Number of random splits."""
    train: Count = 200
    """Clean training rows."""
    validation: Count = 250
    """Validation rows: the attacker raises the loss on them."""
    test: Count = 500
    """Held-out test rows."""
    steps: Count = 40
    """Steps of the attack."""

    def __post_init__(self):
        check(self)


def program(options: Options, name: str, where):
    """Attack and verdict for stacked splits, starts, strengths and radii."""
    count = poison_rows(options.rate, options.train)
    total = options.train + count

    def one(train, held, test, start, alpha, radius):
        train, held, test = Data(*train), Data(*held), Data(*test)
        learner = Ridge(alpha / total)
        reference = Ridge(alpha / options.train).fit(train, throw=False).model
        reach = InsertNear(count, where, reference, radius)
        victim = attacked(name, learner, options.rate, train)
        poison = attack(victim, reach, train, held, start, options.steps)
        data = reach.inject(poison, train)
        share = count / total
        return outcome(learner, Trim(learner, share), data, options.train, held, test)

    return jax.jit(bilevel.batch(one))


def run(options: Options, report: Report) -> None:
    """One row per set, attacker, radius and split."""
    units = [{"name": name, "attacker": a} for name in options.sets for a in options.attackers]
    report.each(make_rows, options, units, "dilemma")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.dilemma import draw

        report.figure("dilemma", draw(report.rows, options.rate, options.strength))


def make_rows(options: Options, name: str, attacker: str) -> dict[str, list]:
    """The rows of all radii and splits, by one program."""
    table = house() if name == "house" else pharm()
    parts = [
        table.split(options.train, options.validation, options.test, seed)
        for seed in range(options.seeds)
    ]
    where, count = domain(parts[0].train), poison_rows(options.rate, options.train)
    alphas = [cross_validated(p) if options.strength == "cross-validated" else PAPER for p in parts]
    clean = []
    for p, alpha in zip(parts, alphas, strict=True):
        rows = (Data(t.x, t.y) for t in p)
        train, held, test = rows
        learner = Ridge(alpha / options.train)
        clean.append(outcome(learner, Trim(learner, options.rate), train, train.rows, held, test))

    def stack(arrays):
        return jnp.asarray(np.stack(list(arrays)))

    held = [
        (stack(getattr(p, k).x for p in parts), stack(getattr(p, k).y for p in parts))
        for k in ("train", "validation", "test")
    ]
    starts = []
    for seed, p in enumerate(parts):
        rng = np.random.default_rng([1, seed])
        chosen = rng.choice(options.train, count)
        y = np.where(p.train.y[chosen] > 0.5, -1.0, 1.0)  # away from the target it has
        starts.append(XY(where.place(jnp.asarray(p.train.x[chosen])), jnp.asarray(y)))
    start = XY(stack(s.x for s in starts), stack(s.y for s in starts))
    many = program(options, attacker, where)
    made = []
    for radius in options.radii:
        outcomes = many(*held, start, jnp.asarray(alphas), jnp.full(options.seeds, radius))
        for seed in range(options.seeds):
            made.append({
                "set": name, "attacker": attacker, "radius": radius, "seed": seed,
                "alpha": alphas[seed],
                "clean_test_mse": float(clean[seed].plain),
                "trimmed_clean_test_mse": float(clean[seed].trimmed),
                "test_mse": float(outcomes.plain[seed]),
                "trimmed_test_mse": float(outcomes.trimmed[seed]),
                "poison_removed": float(outcomes.removed[seed]),
                "clean_lost": float(outcomes.lost[seed]),
            })  # fmt: skip
    return {"rows": made}


def _notes(options: Options, report: Report) -> None:
    for name in options.sets:
        for attacker in options.attackers:
            for radius in options.radii:
                key = (name, attacker, radius)
                rows = [r for r in report.rows if (r["set"], r["attacker"], r["radius"]) == key]
                errors = ", ".join(
                    f"{what} {band([r[cell] / r['clean_test_mse'] for r in rows], 2)}"
                    for what, cell in (("no defense", "test_mse"), ("TRIM", "trimmed_test_mse"))
                )
                hurts = sum(r["trimmed_test_mse"] > r["test_mse"] for r in rows)
                removed = 100 * np.mean([r["poison_removed"] for r in rows])
                report.note(
                    f"{name}, {attacker}, radius {radius:g}: test MSE over that of clean rows: "
                    f"{errors}; TRIM is worse than none in {hurts} of {len(rows)} splits, removes "
                    f"{removed:.0f} % of the poison"
                )
        rows = [r for r in report.rows if r["set"] == name]
        cost = band([r["trimmed_clean_test_mse"] / r["clean_test_mse"] for r in rows], 2)
        report.note(f"{name}: TRIM on clean rows alone: {cost} of the clean test MSE")
