"""Back-gradient poisoning of a small dense network, digits 1 and 7 of MNIST.

Munoz-Gonzalez et al., AISec 2017, with the exact derivative of the training path:
points are added one by one, each starts as a validation digit with the other label and climbs the
validation loss of the network. Two controls: the same digits, mislabelled and not moved; and
training from other initial weights than those of the attacker.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attacks import Recipe, one_by_one, poison_network, training_key
from benchmarks.data import mnist
from benchmarks.options import Count, Positive, check
from benchmarks.report import Report, UsageError
from bilevel import Ascent, Data, losses
from bilevel.derivatives import Unroll
from bilevel.learners import Network
from bilevel.networks import MLP
from bilevel.solvers import Descent

from ._victims import Digits, dealt, errors, with_rows

FRESH = 5
"""Trainings from other initial weights."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Amount of poison, sizes and the victim's training."""

    points: Count = 20
    """Poison digits, added one by one."""
    every: Count = 5
    """Errors are reported after every so many points."""
    splits: Count = 10
    """Random splits of 1,000 digits."""
    train: Count = 100
    """Clean training digits."""
    validation: Count = 400
    """Validation digits: the attacker raises the loss on them."""
    hidden: Count = 10
    """Units of the hidden layer."""
    rate: Positive = 0.1
    """Step length of the victim's gradient descent."""
    length: Count = 200
    """Steps of the victim's gradient descent."""
    steps: Count = 20
    """Steps of the attack for each point."""

    def __post_init__(self):
        check(self)
        if self.train + self.validation >= 1000:
            raise UsageError(
                f"--train, --validation: got {self.train}, {self.validation}, expected fewer than "
                "1,000 in all: the other digits are test digits"
            )


def ones_and_sevens() -> Digits:
    """Digits 1, labelled +1, and 7, labelled -1; 500 of each."""
    digits = mnist()
    rows = np.isin(digits.labels, (1, 7))
    x = (digits.images[rows] / 255.0).astype(np.float32)
    return Digits(x, np.where(digits.labels[rows] == 1, 1, -1).astype(np.int32))


def victim(options: Options) -> Network:
    """The network of the paper: one hidden layer of tanh units, trained on all rows at once."""
    return Network(
        MLP((options.hidden,), 1),
        losses.Logistic(),
        solver=Descent(optax.sgd(options.rate), options.length),
        derivative=Unroll(2),
    )


def start_rows(options: Options, validation: Digits, split: int) -> Digits:
    """Validation digits with the other label."""
    rows = np.random.default_rng([split, 1]).permutation(len(validation.y))[: options.points]
    return Digits(validation.x[rows], -validation.y[rows])


def run(options: Options, report: Report) -> None:
    """One row per split and number of points."""
    learner = victim(options)
    for split in report.track(range(options.splits), "mlp-mnist"):
        counts = sorted({0, *range(options.every, options.points, options.every), options.points})
        if report.done(split=split, points=counts[-1]):
            continue
        train, validation, test = dealt(
            ones_and_sevens(), (options.train, options.validation), split
        )
        data, start = train.data(), start_rows(options, validation, split)
        key, of_fresh = jax.random.split(jax.random.key(split))

        def pose(data: Data, start, labels, validation=validation, key=key) -> Recipe:
            return poison_network(
                data, start, labels, validation.data(), learner, key, steps=options.steps,
                ascent=Ascent(first=2.0, last=0.2),
            )  # fmt: skip

        done = one_by_one(data, jnp.asarray(start.x), jnp.asarray(start.y), pose)
        known = training_key(key)[None]
        fresh = jax.random.split(of_fresh, FRESH)
        for count in counts:
            share = np.arange(options.points) < count
            poisoned = with_rows(data, done.x, done.y, share)
            flipped = with_rows(data, jnp.asarray(start.x), done.y, share)
            report.row(
                split=split, points=count,
                test_err=float(errors(learner, poisoned, known, test)[0]),
                flip_err=float(errors(learner, flipped, known, test)[0]),
                fresh_err=float(np.mean(errors(learner, poisoned, fresh, test))),
                fresh_flip_err=float(np.mean(errors(learner, flipped, fresh, test))),
                val_loss=float(done.values[count - 1]) if count else None,
            )  # fmt: skip
    _notes(report)
    if report.out is not None:
        from benchmarks.pictures.mlp_mnist import draw

        report.figure("mlp-mnist", draw(report.rows))


def _notes(report: Report) -> None:
    for count in sorted({row["points"] for row in report.rows}):
        rows = [row for row in report.rows if row["points"] == count]
        parts = []
        for name, words in (
            ("test_err", "poison"), ("flip_err", "not moved"),
            ("fresh_err", "poison, other initial weights"),
            ("fresh_flip_err", "not moved, other initial weights"),
        ):  # fmt: skip
            values = 100 * np.array([row[name] for row in rows])
            parts.append(f"{words} {values.mean():.1f} +- {values.std():.1f} %")
        report.note(f"{count} points: test error " + ", ".join(parts) + f"; {len(rows)} splits")
