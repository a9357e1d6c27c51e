"""What restarts buy: one poison digit from many starts, in one batched program.

The objective is not concave in the poison, so that an attack ends in a local optimum. Starts are
digits of the attacked class among the training and validation rows; all climb the loss of the
learner on validation digits. An attacker with k of them keeps the best by that loss. The mean over
all sets of k starts is exact: sorted, the i-th value is the best in C(i - 1, k - 1) of C(n, k)
sets. Test errors are those of scikit-learn's models, trained anew for every start; beside the error
of the poison that the attacker keeps stands that of the best by test digits, a bound that no
attacker reaches. The control is the same choice among the starts as they are, not moved.
"""

import dataclasses
import math
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np

import bilevel
from attacks import indiscriminate, poison_classifier
from benchmarks.ascents import CLASSIFIERS as ASCENT
from benchmarks.clock import warm
from benchmarks.data import Rows, Split, drawn_splits, mnist, parse_pair
from benchmarks.options import SOME, Count, Numbers, check, refuse
from benchmarks.report import Report, band
from benchmarks.rows import where
from benchmarks.twins import CLASSIFIERS, DEFAULT, errors
from bilevel import Data

NEAR = 0.99
"""Of the rise of the loss by the best start: so much counts as an optimum that is as good."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Learners, starts, splits."""

    learners: Annotated[tuple[Literal["svm", "logistic"], ...], SOME] = ("svm", "logistic")
    """Who is poisoned; the SVM is linear."""
    starts: Count = 256
    """Starts on each split."""
    splits: Numbers = tuple(range(10))
    """Numbers of the splits into training, validation and test digits."""
    pair: str = "0v4"
    """The attacker's digit and the attacked one."""
    steps: Count = 70
    """Steps of an attack."""

    def __post_init__(self):
        check(self)
        parse_pair(self.pair)


def best_of(values: np.ndarray, by: np.ndarray, k: int) -> float:
    """Mean, over all sets of k of the n numbers, of the value (n,) that is highest by (n,)."""
    n = len(values)
    sets = [math.comb(i, k - 1) / math.comb(n, k) for i in range(n)]
    return float(np.dot(values[np.argsort(by, kind="stable")], sets))


def begin(options: Options, number: int) -> tuple[Split, np.ndarray]:
    """A split and its starts (n, 784), in random order."""
    split = drawn_splits(mnist(), options.pair, (number,), 0)[number]
    pool = np.concatenate([rows.x[rows.y < 0] for rows in (split.train, split.validation)])
    if options.starts > len(pool):
        refuse("starts", options.starts, f"at most {len(pool)}, the attacked digits of {number}")
    return split, np.random.default_rng([1, number]).permutation(pool)[: options.starts]


def make_rows(options: Options, learner: str, number: int) -> dict[str, list]:
    """The rows of all numbers of starts on a split."""
    split, starts = begin(options, number)
    train, held = Data(*split.train), Data(*split.validation)
    ours = CLASSIFIERS[learner].ours(DEFAULT, train.rows + 1)
    goal = indiscriminate(held.x, held.y, ours.loss)

    def attack(start):
        return poison_classifier(
            train, start, jnp.ones(1), held, ours, goal=goal, steps=options.steps, ascent=ASCENT
        )

    many = bilevel.batch(lambda start: attack(start).climb())
    still = bilevel.batch(lambda start: attack(start).attack(start))
    z = jnp.asarray(starts)[:, None]
    result, cpu, _ = warm(lambda: many(z))
    poison = {"": np.asarray(result.z), "start_": np.asarray(z)}
    value = {"": np.asarray(result.value), "start_": np.asarray(still(z))}

    def test_error(poison: np.ndarray) -> float:
        theirs = CLASSIFIERS[learner].theirs(DEFAULT)
        return errors(theirs, split, Rows(poison, np.ones(len(poison))))[1]

    wrong = {name: np.array([test_error(each) for each in z]) for name, z in poison.items()}
    model = CLASSIFIERS[learner].ours(DEFAULT, train.rows).fit(train).model
    clean = float(jnp.mean(ours.loss(held.y, model.decision(held.x))))
    rise = value[""] - clean
    shared = {
        "clean_loss": clean, "clean_test_err": test_error(starts[:0]),
        "as_good": float(np.mean(rise >= NEAR * rise.max())),
        "cpu_seconds": cpu / options.starts,
    }  # fmt: skip
    return {"rows": [
        {
            "learner": learner, "split": number, "starts": k,
            **{f"{name}loss": best_of(v, v, k) for name, v in value.items()},
            **{f"{name}test_err": best_of(wrong[name], v, k) for name, v in value.items()},
            **{f"{name}bound_err": best_of(e, e, k) for name, e in wrong.items()},
            **shared,
        }
        for k in numbers(options.starts)
    ]}  # fmt: skip


def numbers(starts: int) -> list[int]:
    """Of starts: powers of two, and all."""
    return sorted({*(2**i for i in range(starts.bit_length())), starts})


def run(options: Options, report: Report) -> None:
    """One row per learner, split and number of starts."""
    units = [{"learner": kind, "number": s} for kind in options.learners for s in options.splits]
    report.each(make_rows, options, units, f"restarts, {options.starts} starts")
    for kind in options.learners:
        _note(kind, options.starts, report)
    if report.out is not None:
        from benchmarks.pictures.restarts import draw

        report.figure("restarts", draw(report.rows))


def _note(learner: str, most: int, report: Report) -> None:
    one, best = (where(report.rows, learner=learner, starts=k) for k in (1, most))

    def of(rows: list[Any], cell: str, times: float = 100, digits: int = 1) -> str:
        return band([times * row[cell] for row in rows], digits)

    def gain(cell: str, times: float = 100, digits: int = 1) -> str:
        each = zip(one, best, strict=True)
        return band([times * (last[cell] - first[cell]) for first, last in each], digits)

    reached = [
        100 * (first["loss"] - first["clean_loss"]) / (last["loss"] - last["clean_loss"])
        for first, last in zip(one, best, strict=True)
    ]
    report.note(
        f"{learner}, validation loss: clean {of(one, 'clean_loss', 1, 3)}; of one start "
        f"{of(one, 'loss', 1, 3)}, of the best of {most} {of(best, 'loss', 1, 3)}; not moved "
        f"{of(one, 'start_loss', 1, 3)} and {of(best, 'start_loss', 1, 3)}. One start has "
        f"{band(reached)} % of the rise of the best; {of(one, 'as_good')} % of the starts have "
        f"{100 * NEAR:g} % of it"
    )
    report.note(
        f"{learner}, test error in per cent: clean {of(one, 'clean_test_err')}; of one start "
        f"{of(one, 'test_err')}, of the best of {most} by the validation loss "
        f"{of(best, 'test_err')}: {gain('test_err')} points for the restarts; by the test digits "
        f"{of(best, 'bound_err')}. Not moved: {of(one, 'start_test_err')}, "
        f"{of(best, 'start_test_err')}, {of(best, 'start_bound_err')}. "
        f"{of(one, 'cpu_seconds', 1e3, 0)} CPU ms a start; {len(one)} splits"
    )
