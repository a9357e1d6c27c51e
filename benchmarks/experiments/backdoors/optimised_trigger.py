"""What does optimising a trigger through the training buy? Logistic regression, MNIST, 3 and 7.

A few copies of 7s with a square over the digit are labelled 3. The square is white, or random, or
optimised: from the random one, against the model of the clean digits, as an adversarial patch, and
stamped then; from the random one through the training on the copies that it is stamped on (bilevel:
the exact hypergradient of the retrained model); or so from the adversarial one (`continued`). Mask
and copies are equal. Controls are victims of clean digits that are shown the same square: what of
the success is no backdoor.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attacks import AllToOne, Attack, Stamp, backdoor, compose, stamp, victims
from attacks.triggers import Patch, square
from benchmarks.data import mnist
from benchmarks.options import Count, Positive, Share, check
from benchmarks.report import Report, UsageError, band
from benchmarks.rows import column
from bilevel import Ascent, Data, maximize
from bilevel.learners import AbstractLearner, Fixed, Logistic

LABELS = AllToOne(1.0)
ASCENT = Ascent(first=0.3, last=0.02)
"""Lengths of the steps; pixels are in [0, 1]."""
KINDS = ("white", "random", "adversarial", "optimised", "continued")


@dataclasses.dataclass(frozen=True)
class Options:
    """The trigger, the share of copies, and sizes."""

    share: Share = 0.01
    """Stamped copies, in units of the clean training digits."""
    size: Count = 5
    """Pixels of a side of the square."""
    distance: Count = 12
    """Of the square from the lower right corner: over the digit."""
    l2: Positive = 0.01
    """Penalty of the victim."""
    steps: Count = 20
    """Steps of the ascent."""
    seeds: Count = 10
    """Random splits and starts."""
    train: Count = 500
    """Clean training digits."""
    validation: Count = 200
    """Digits for which the attacker optimises; the others are test digits."""

    def __post_init__(self):
        check(self)
        if self.train + self.validation > 900:
            raise UsageError(
                f"--train, --validation: got {self.train}, {self.validation}, expected at most 900 "
                "of 1,000 digits"
            )


class Case(NamedTuple):
    """Digits of the three roles, and the capability, with the random square."""

    train: Data
    validation: Data
    test: Data
    reach: Stamp


def case(options: Options, seed: int) -> Case:
    """Random digits: +1 for 3, -1 for 7."""
    digits, rng = mnist(), np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(np.isin(digits.labels, (3, 7))))
    x, y = digits.images[rows] / 255.0, np.where(digits.labels[rows] == 3, 1.0, -1.0)
    ends = np.cumsum([options.train, options.validation])
    train, validation, test = (Data(x[part], y[part]) for part in np.split(np.arange(len(y)), ends))
    mask = square((28, 28, 1), options.size, distance=options.distance).mask
    trigger = Patch(mask.ravel(), rng.uniform(size=mask.size))
    return Case(
        train, validation, test, stamp(jax.random.key(seed), trigger, train, options.share, LABELS)
    )


def composed(of: Case, learner: AbstractLearner) -> Attack:
    """Validation 7s with the square are to be 3s, and all others to stay."""
    sources = np.asarray(LABELS.applies(of.validation.y))
    wanted = LABELS.labels(of.validation.y[sources])
    goal = backdoor(
        of.validation.x[sources], wanted, of.validation.x, of.validation.y, learner.loss
    )
    return compose(learner, of.reach, goal, of.train)


def patterns(options: Options, of: Case) -> dict[str, jax.Array]:
    """The square of each kind; pixels outside do not count."""
    learner = Logistic(options.l2)
    through, fixed = composed(of, learner), composed(of, Fixed(learner.fit(of.train).model))

    def climbed(attack: Attack, start: jax.Array) -> jax.Array:
        return maximize(attack, start, steps=options.steps, optimizer=ASCENT).z

    start = of.reach.example(of.train)
    adversarial = climbed(fixed, start)
    return {
        "white": jnp.ones_like(start), "random": start, "adversarial": adversarial,
        "optimised": climbed(through, start), "continued": climbed(through, adversarial),
    }  # fmt: skip


def error(attack: Attack, z: jax.Array) -> float:
    """Relative difference of the hypergradient, along a random direction, and of differences."""
    along = jnp.asarray(np.random.default_rng(1).normal(size=z.shape))
    slope = float(jnp.sum(jax.grad(attack)(z) * along))
    near, far = (float(attack(z + h * along) - attack(z - h * along)) for h in (1e-4, 2e-4))
    return abs(slope / ((8 * near - far) / 12e-4) - 1)


def make_rows(options: Options, seed: int) -> dict[str, Any]:
    """A row for each kind of square."""
    of = case(options, seed)
    attack = composed(of, Logistic(options.l2))
    found, rows = patterns(options, of), []
    for kind in KINDS:
        judged = victims(attack, found[kind], of.test, LABELS)
        rows.append({
            "seed": seed, "kind": kind, "success": judged.attacked.success.mean,
            "clean_success": judged.clean.success.mean,
            "test_err": 1 - judged.attacked.accuracy.mean,
            "clean_test_err": 1 - judged.clean.accuracy.mean,
            "gradient_gap": error(attack, found["random"]) if kind == "optimised" else None,
        })  # fmt: skip
    return {"rows": rows}


def run(options: Options, report: Report) -> None:
    """A row for each seed and kind of square."""
    units = [{"seed": seed} for seed in range(options.seeds)]
    report.each(make_rows, options, units, "optimised-trigger")
    _notes(report)
    if report.out is not None:
        from benchmarks.pictures.optimised_trigger import draw, squares

        report.figure("optimised-trigger", draw(report.rows))
        of = case(options, 0)
        found = patterns(options, of)
        shown = {kind: of.reach.present(found[kind], of.test.x[:6]) for kind in KINDS}
        report.figure("optimised-trigger-squares", squares(shown))


def _notes(report: Report) -> None:
    success = {kind: np.array(column(report.rows, "success", kind=kind)) for kind in KINDS}
    for kind in KINDS:
        clean = np.array(column(report.rows, "clean_success", kind=kind))
        both, shown, more = (
            band(list(a), 2) for a in (success[kind], clean, success[kind] - clean)
        )
        err = band([100 * e for e in column(report.rows, "test_err", kind=kind)])
        report.note(
            f"{kind}: attack success {both}, of clean victims {shown}, the difference {more}; "
            f"clean error {err} %"
        )
    for one, other in (
        ("optimised", "white"), ("optimised", "random"), ("optimised", "adversarial"),
        ("continued", "adversarial"),
    ):  # fmt: skip
        better, equal = (
            int(np.sum(f(success[one], success[other]))) for f in (np.greater, np.equal)
        )
        report.note(
            f"{one} above {other} in {better} of {len(success[one])} seeds, equal in {equal}"
        )
    gaps = column(report.rows, "gradient_gap", kind="optimised")
    report.note(f"hypergradient and differences: relative difference at most {max(gaps):.1e}")
