"""What the experiments on small dense networks share: points that are added one by one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attacks import Greedy, Recipe, one_by_one, poison_network, training_key
from benchmarks.data import mnist, spambase
from benchmarks.options import Count, Positive, check
from benchmarks.report import Report, UsageError, band, checkpoint
from bilevel import Ascent, Data, losses
from bilevel.derivatives import Unroll
from bilevel.learners import Network
from bilevel.networks import MLP
from bilevel.solvers import Descent

from ._victims import Rows, dealt, errors, with_rows

FRESH = 5
"""Trainings from other initial weights."""


def ones_and_sevens() -> Rows:
    """Digits 1, labelled +1, and 7, labelled -1; 500 of each."""
    digits = mnist()
    rows = np.isin(digits.labels, (1, 7))
    x = (digits.images[rows] / 255.0).astype(np.float32)
    return Rows(x, np.where(digits.labels[rows] == 1, 1, -1).astype(np.int32))


def mails() -> Rows:
    """Spam, labelled +1, and other mails, labelled -1."""
    table = spambase()
    return Rows(table.x.astype(np.float32), table.y.astype(np.int32))


TABLES = {"mlp-mnist": ones_and_sevens, "mlp-spambase": mails}


@dataclasses.dataclass(frozen=True)
class Options:
    """Amount of poison, sizes and the victim's training."""

    points: Count = 20
    """Poison rows, added one by one."""
    every: Count = 5
    """Errors are reported after every so many points."""
    splits: Count = 10
    """Random splits."""
    train: Count = 100
    """Clean training rows."""
    validation: Count = 400
    """Validation rows: the attacker raises the loss on them."""
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
        if self.points > self.validation:
            raise UsageError(
                f"--points: got {self.points}, expected at most {self.validation}, the number of "
                "--validation: poison starts from validation rows"
            )


def victim(options: Options) -> Network:
    """The network of the paper: one hidden layer of tanh units, trained on all rows at once."""
    return Network(
        MLP((options.hidden,), 1),
        losses.Logistic(),
        solver=Descent(optax.sgd(options.rate), options.length),
        derivative=Unroll(2),
    )


def start_rows(options: Options, validation: Rows, split: int) -> Rows:
    """Validation rows with the other label."""
    rows = np.random.default_rng([split, 1]).permutation(len(validation.y))[: options.points]
    return Rows(validation.x[rows], -validation.y[rows])


def make_rows(options: Options, data: str, split: int) -> dict[str, list]:
    """The rows of all numbers of points on a split."""
    learner = victim(options)
    train, validation, test = dealt(TABLES[data](), (options.train, options.validation), split)
    rows, start = train.data(), start_rows(options, validation, split)
    key, of_fresh = jax.random.split(jax.random.key(split))

    def pose(data: Data, start, labels) -> Recipe:
        return poison_network(
            data, start, labels, validation.data(), learner, key, steps=options.steps,
            ascent=Ascent(first=2.0, last=0.2),
        )  # fmt: skip

    x, y = jnp.asarray(start.x), jnp.asarray(start.y)
    kept = checkpoint(options, data=data, split=split)
    if kept is None:
        done = one_by_one(rows, x, y, pose)
    else:
        none = Greedy(x[:0], y[:0], jnp.zeros(0, x.dtype), x[:0])
        done = one_by_one(rows, x, y, pose, done=kept.load(none), after=kept.save)
    known, fresh = training_key(key)[None], jax.random.split(of_fresh, FRESH)
    made = []
    for count in numbers(options):
        share = np.arange(options.points) < count
        poisoned = with_rows(rows, done.x, done.y, share)
        flipped = with_rows(rows, jnp.asarray(start.x), done.y, share)
        made.append({
            "split": split, "points": count,
            "test_err": float(errors(learner, poisoned, known, test)[0]),
            "flip_err": float(errors(learner, flipped, known, test)[0]),
            "fresh_err": float(np.mean(errors(learner, poisoned, fresh, test))),
            "fresh_flip_err": float(np.mean(errors(learner, flipped, fresh, test))),
            "val_loss": float(done.values[count - 1]) if count else None,
        })  # fmt: skip
    if kept is not None:
        kept.remove()
    return {"rows": made}


def numbers(options: Options) -> list[int]:
    """Of points at which errors are reported."""
    return sorted({0, *range(options.every, options.points, options.every), options.points})


def run_on(data: str, options: Options, report: Report) -> None:
    """One row per split and number of points."""
    rows = len(TABLES[data]().y)
    if options.train + options.validation >= rows:
        raise UsageError(
            f"--train, --validation: got {options.train}, {options.validation}, expected fewer "
            f"than {rows:,} in all: the other rows are test rows"
        )
    units = [{"data": data, "split": split} for split in range(options.splits)]
    report.each(make_rows, options, units, data)
    _notes(report)
    if report.out is not None:
        from benchmarks.pictures.one_by_one import draw

        report.figure(data, draw(report.rows))


def _notes(report: Report) -> None:
    for count in sorted({row["points"] for row in report.rows}):
        rows = [row for row in report.rows if row["points"] == count]
        parts = []
        for name, words in (
            ("test_err", "poison"), ("flip_err", "not moved"),
            ("fresh_err", "poison, other initial weights"),
            ("fresh_flip_err", "not moved, other initial weights"),
        ):  # fmt: skip
            parts.append(f"{words} {band([100 * row[name] for row in rows])} %")
        report.note(f"{count} points: test error " + ", ".join(parts) + f"; {len(rows)} splits")
