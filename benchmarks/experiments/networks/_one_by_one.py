"""What the experiments on small dense networks share: points that are added one by one."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attacks import Greedy, Recipe, one_by_one, poison_network, training_key
from benchmarks.options import Count, Positive, check
from benchmarks.report import Report, UsageError, band
from bilevel import Ascent, Checkpoint, Data, losses
from bilevel.derivatives import Unroll
from bilevel.learners import Network
from bilevel.networks import MLP
from bilevel.solvers import Descent

from ._victims import Rows, dealt, errors, with_rows

FRESH = 5
"""Trainings from other initial weights."""


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


def run_on(load: Callable[[], Rows], name: str, options: Options, report: Report) -> None:
    """One row per split and number of points."""
    every, learner = load(), victim(options)
    if options.train + options.validation >= len(every.y):
        raise UsageError(
            f"--train, --validation: got {options.train}, {options.validation}, expected fewer "
            f"than {len(every.y):,} in all: the other rows are test rows"
        )
    counts = sorted({0, *range(options.every, options.points, options.every), options.points})
    with report.progress(options.splits * options.points, f"{name}, poison rows") as advance:
        for split in range(options.splits):
            train, validation, test = dealt(every, (options.train, options.validation), split)
            data, start = train.data(), start_rows(options, validation, split)
            key, of_fresh = jax.random.split(jax.random.key(split))

            def pose(data: Data, start, labels, validation=validation, key=key) -> Recipe:
                return poison_network(
                    data, start, labels, validation.data(), learner, key, steps=options.steps,
                    ascent=Ascent(first=2.0, last=0.2),
                )  # fmt: skip

            checkpoint = report.checkpoint(f"split{split}")
            if report.done(split=split, points=counts[-1]):
                for _ in range(options.points):
                    advance()
                continue
            done = added(data, start, pose, checkpoint, advance)
            known = training_key(key)[None]
            fresh = jax.random.split(of_fresh, FRESH)
            for count in counts:
                if report.done(split=split, points=count):
                    continue
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
            if checkpoint is not None:
                checkpoint.remove()
    _notes(report)
    if report.out is not None:
        from benchmarks.pictures.one_by_one import draw

        report.figure(name, draw(report.rows))


def added(
    data: Data,
    start: Rows,
    pose: Callable[[Data, jax.Array, jax.Array], Recipe],
    checkpoint: Checkpoint | None,
    advance: Callable[[], None],
) -> Greedy:
    """The rows of `start`, added one by one from where an interrupted run stopped."""
    x, y = jnp.asarray(start.x), jnp.asarray(start.y)
    done = Greedy(x[:0], y[:0], jnp.zeros(0, x.dtype))
    if checkpoint is not None:
        done = checkpoint.load(done) or done
    for _ in done.y:
        advance()

    def after(done: Greedy) -> None:
        if checkpoint is not None:
            checkpoint.save(done)
        advance()

    return one_by_one(data, x, y, pose, done=done, after=after)


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
