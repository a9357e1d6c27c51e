"""Poison crafted on one learner, judged on others: does an attacker need to know the learner?

Demontis et al., "Why do adversarial attacks transfer?", USENIX Security 2019. The attacker trains
a surrogate on separate digits and poisons that; the same poison goes into the target's training
set. Targets are scikit-learn estimators and a small network, trained anew. Where a target is one of
our learners too, the alignment R of the two hypergradients, the size S of the target's and the
variability V of the surrogate's objective are measured at the start of the poison, before it moves.
All attacks raise the logistic loss, so that S and V of different learners are numbers of one scale.
"""

import dataclasses
import importlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from operator import itemgetter
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

import bilevel
from attacks import Box, Insert, compose, indiscriminate
from attacks.transfer import alignment, loss_variability, sizes
from benchmarks.ascents import CLASSIFIERS as ASCENT
from benchmarks.clock import warm
from benchmarks.data import TRAIN, VALIDATION, Rows, drawn_splits, mnist, mnist_full, parse_pair
from benchmarks.options import SOME, Count, Positive, at_least, check
from benchmarks.report import Report, UsageError, band
from benchmarks.rows import Row, distinct, where
from benchmarks.twins import CLASSIFIERS, Strengths, misclassified, retrained
from bilevel import Data, losses
from bilevel.results import ZERO_GRADIENT, sentence

from ._network import NETWORK, NetworkClassifier

DOMAIN = Box(0.0, 1.0)
TWINS = {**CLASSIFIERS, "network": NETWORK}
Surrogate = Literal["svm", "ridge", "logistic", "rbf-svm", "network"]
Columns = tuple[list[float], list[float]]
OTHERS: dict[str, Callable[[int], Any]] = {
    "knn": lambda seed: KNeighborsClassifier(),
    "forest": lambda seed: RandomForestClassifier(random_state=seed),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Surrogates, targets and strengths."""

    surrogates: Annotated[tuple[Surrogate, ...], SOME] = ("svm", "ridge", "logistic", "rbf-svm")
    """Learners that the poison is crafted on: svm, ridge, logistic, rbf-svm, network."""
    targets: Annotated[tuple[str, ...], SOME] = (*CLASSIFIERS, *OTHERS)
    """Learners that it is tried on: those, knn, forest, network, or any scikit-learn classifier as
    module:Class."""
    pair: str = "8v9"
    """The attacker's digit and the attacked one."""
    points: Count = 20
    """Poison points, beside 100 clean training rows."""
    seeds: Count = 10
    """Number of random splits; the attacks of one surrogate on all of them are one program."""
    steps: Count = 70
    """Largest number of steps of the attack."""
    resamples: Annotated[int, at_least(2)] = 20
    """Bootstrap training sets for V."""
    C: Positive = 1.0
    """C of SVMs and of logistic regression, as scikit-learn counts it."""
    alpha: Positive = 1.0
    """Strength of ridge, as scikit-learn counts it."""
    gamma: Positive = 0.01
    """Coefficient of the RBF kernel."""
    softer: Positive = 1.0
    """Regularise surrogates so many times more than targets."""
    full: bool = False
    """All of MNIST and 2,000 test digits, instead of 5,000 digits and 400."""
    seed: int = 0
    """Seed of the splits."""

    @property
    def strengths(self) -> Strengths:
        return Strengths(self.C, self.alpha, self.gamma)

    def __post_init__(self):
        check(self)
        parse_pair(self.pair)
        for name in self.targets:
            judge(name, self, 0)


def judge(name: str, options: Options, seed: int) -> Any:
    """A fresh scikit-learn estimator: one of the table, or any other as module:Class."""
    if name == "network":
        return NetworkClassifier(options.strengths, seed)
    if name in TWINS:
        return TWINS[name].theirs(options.strengths)
    if name in OTHERS:
        return OTHERS[name](seed)
    module, _, kind = name.partition(":")
    try:
        estimator = getattr(importlib.import_module(module), kind)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f"--targets: got {name}, expected some of {', '.join((*TWINS, *OTHERS))}, or a "
            "classifier that needs no arguments, as sklearn.naive_bayes:GaussianNB"
        ) from error
    if not isinstance(estimator, ClassifierMixin):
        raise UsageError(f"--targets: {name} is no scikit-learn classifier")
    return estimator


class Split(NamedTuple):
    """Rows of one seed. The attacker's own are `surrogate` and `validation`."""

    target: Rows
    surrogate: Rows
    validation: Rows
    test: Rows
    start: np.ndarray


def splits(options: Options) -> list[Split]:
    """Target, surrogate and validation rows have none in common; starts are surrogate rows."""
    digits = mnist_full() if options.full else mnist()
    drawn = drawn_splits(digits, options.pair, tuple(range(options.seeds)), options.seed)
    out = []
    for number, split in drawn.items():
        x, y = split.validation
        if len(y) < VALIDATION:
            raise UsageError(f"--pair {options.pair}: the data hold too few of these digits")
        held = Rows(x[:TRAIN], y[:TRAIN])
        attacked = np.random.default_rng([options.seed, number]).permutation(
            np.flatnonzero(held.y == -1)
        )
        if options.points > len(attacked):
            raise UsageError(
                f"--points: got {options.points}, split {number} has {len(attacked)} starts"
            )
        start = held.x[attacked[: options.points]]
        out.append(Split(split.train, held, Rows(x[TRAIN:], y[TRAIN:]), split.test, start))
    return out


def errors(name: str, options: Options, seed: int, split: Split, poison: np.ndarray) -> float:
    """Share of errors on test rows of a target trained with the poison."""
    added = Rows(poison, np.ones(len(poison)))
    model = retrained(judge(name, options, seed), split.target, added)
    return misclassified(model, split.test)


class Programs(NamedTuple):
    """What is computed of one learner, on the rows of all seeds at once."""

    craft: Callable
    """(strengths, train, validation, start) -> poison, how the attack ended"""
    gradient: Callable
    """(strengths, train, validation, poison) -> hypergradient"""
    variability: Callable
    """(strengths, train, validation, poison, weights) -> V"""


def programs(name: str, options: Options) -> Programs:
    """Rows of training and validation are pairs (x, y), with an axis of seeds in front."""
    twin, labels = TWINS[name], jnp.ones(options.points)

    def attack(strengths, train, validation):
        learner = twin.ours(strengths, TRAIN + options.points)
        x, y = validation
        goal = indiscriminate(x, y, losses.Logistic())
        return compose(learner, Insert(labels, DOMAIN), goal, Data(*train), key=jax.random.key(0))

    def craft(strengths, train, validation, start):
        objective = attack(strengths, train, validation)
        result = bilevel.maximize(objective, start, steps=options.steps, optimizer=ASCENT)
        return result.z, result.status

    def gradient(strengths, train, validation, z):
        return jax.grad(attack(strengths, train, validation))(z)

    def variability(strengths, train, validation, z, weights):
        return loss_variability(attack(strengths, train, validation), z, weights)

    def over_seeds(function):
        return jax.jit(lambda strengths, *rows: bilevel.batch(partial(function, strengths))(*rows))

    return Programs(over_seeds(craft), over_seeds(gradient), over_seeds(variability))


def bootstrap(options: Options) -> jax.Array:
    """Training sets drawn with replacement, as weights (seeds, resamples, rows)."""
    rng = np.random.default_rng([2, options.seed])
    shares = np.full(TRAIN, 1 / TRAIN)
    return jnp.asarray(rng.multinomial(TRAIN, shares, (options.seeds, options.resamples)), float)


class Shared(NamedTuple):
    """What all surrogates have in common.

    - `every`: the splits; `target`, `surrogate`, `validation` are rows (x, y) of all seeds.
    - `made`: the programs by learner. `theirs`: the targets' hypergradients at the start.
    - `control`: by target and seed, errors without poison and with the start as poison.
    """

    every: list[Split]
    target: tuple[jax.Array, jax.Array]
    surrogate: tuple[jax.Array, jax.Array]
    validation: tuple[jax.Array, jax.Array]
    start: jax.Array
    made: dict[str, Programs]
    theirs: dict[str, jax.Array]
    control: dict[tuple[str, int], list[float]]


@cache
def shared(options: Options) -> Shared:
    """Once in each process."""
    every = splits(options)
    target, surrogate, validation = (
        (_stack(getattr(s, part).x for s in every), _stack(getattr(s, part).y for s in every))
        for part in ("target", "surrogate", "validation")
    )
    start = _stack(s.start for s in every)
    twins = [name for name in options.targets if name in TWINS]
    made = {n: programs(n, options) for n in dict.fromkeys((*options.surrogates, *twins))}
    theirs = {
        name: made[name].gradient(options.strengths, target, validation, start) for name in twins
    }
    control = {
        (name, seed): [
            errors(name, options, seed, split, split.start[:count]) for count in (0, options.points)
        ]
        for name in options.targets
        for seed, split in enumerate(every)
    }
    return Shared(every, target, surrogate, validation, start, made, theirs, control)


def make_rows(options: Options, surrogate: str) -> dict[str, list]:
    """The rows of all targets and seeds, whose poison is crafted by one program."""
    of = shared(options)
    strengths, soft = options.strengths, options.strengths.softer(options.softer)
    program = of.made[surrogate]
    craft = partial(program.craft, soft, of.surrogate, of.validation, of.start)
    (poison, status), cpu, compiling = warm(craft)
    notes = [
        f"crafted on {surrogate}, seed {seed}: {sentence(status[seed])}"
        for seed in np.flatnonzero(np.asarray(status) >= ZERO_GRADIENT)
    ]
    V = program.variability(soft, of.surrogate, of.validation, of.start, bootstrap(options))
    before, after = (
        program.gradient(soft, of.surrogate, of.validation, z) for z in (of.start, poison)
    )
    measures: dict[str, dict[str, jax.Array]] = {}
    for t, gradient in of.theirs.items():
        at_start = _aligned(before, gradient)
        at_poison = of.made[t].gradient(strengths, of.target, of.validation, poison)
        measures[t] = {
            "R": at_start.joint, "R_rows": at_start.mean, "R_end": _aligned(after, at_poison).joint,
            "S": _sized(gradient).joint,
        }  # fmt: skip
    rows = []
    for t, seed in itertools.product(options.targets, range(options.seeds)):
        clean, flipped = of.control[t, seed]
        err = errors(t, options, seed, of.every[seed], np.asarray(poison[seed]))
        known = {k: float(v[seed]) for k, v in measures.get(t, {}).items()}
        rows.append({
            "surrogate": surrogate, "target": t, "seed": seed, "clean_test_err": clean,
            "flip_test_err": flipped, "test_err": err,
            **{k: known.get(k) for k in ("R", "R_rows", "R_end", "S")}, "V": float(V[seed]),
            "cpu_seconds": cpu / options.seeds, "compile_seconds": compiling,
        })  # fmt: skip
    return {"rows": rows, "notes": notes}


def run(options: Options, report: Report) -> None:
    """One row per surrogate, target and seed."""
    units = [{"surrogate": name} for name in options.surrogates]
    report.each(make_rows, options, units, f"transfer {options.pair}")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.transfer import draw

        share = options.points / (options.points + TRAIN)
        report.figure("transfer", draw(report.rows, parse_pair(options.pair), share))


_aligned = jax.jit(jax.vmap(alignment))
_sized = jax.jit(jax.vmap(sizes))


def _stack(arrays: Iterable[np.ndarray]) -> jax.Array:
    return jnp.asarray(np.stack(list(arrays)))


def damage(row: Row, against: str = "clean_test_err") -> float:
    """By how much the poison raises the target's test error."""
    return row["test_err"] - row[against]


def _vary(a: Sequence[float], b: Sequence[float]) -> bool:
    return len(a) >= 3 and np.ptp(a) > 0 and np.ptp(b) > 0


def correlations(a: Sequence[float], b: Sequence[float]) -> str:
    """Pearson's and Spearman's, as people read them; none for fewer than 3 pairs, or constants."""
    if not _vary(a, b):
        return f"undefined for {len(a)} pairs"
    pearson, spearman = (np.asarray(f(a, b))[0] for f in (stats.pearsonr, stats.spearmanr))
    return f"Pearson {pearson:.2f}, Spearman {spearman:.2f} ({len(a)} pairs)"


def ranks(rows: Sequence[Row], columns: Callable[[Sequence[Row]], Columns]) -> str:
    """Spearman's correlation of two columns in each seed, as a band."""
    seeds = [columns(where(rows, seed=seed)) for seed in distinct(rows, "seed")]
    if not all(_vary(*pair) for pair in seeds):
        return "undefined in some seed"
    return band([float(np.asarray(stats.spearmanr(*pair))[0]) for pair in seeds], 2)


def _overall(rows: Sequence[Row], name: str) -> Columns:
    """This measure and the damage."""
    return [row[name] for row in rows], [damage(row) for row in rows]


def _within(rows: Sequence[Row], name: str) -> Columns:
    """This measure and the damage, both less their means for a target and seed: what
    distinguishes the surrogates.
    """
    a, b = [], []
    for target, seed in dict.fromkeys((r["target"], r["seed"]) for r in rows):
        group = [r for r in rows if (r["target"], r["seed"]) == (target, seed)]
        for values, kept in (([r[name] for r in group], a), ([damage(r) for r in group], b)):
            kept += list(np.asarray(values) - np.mean(values))
    return a, b


def _notes(options: Options, report: Report) -> None:
    rows = report.rows

    def of(name: str, figure: Callable[[Row], float]) -> list[float]:
        """Per seed, the mean over targets, in per cent."""
        mine = where(rows, surrogate=name)
        return [
            100 * float(np.mean([figure(row) for row in where(mine, seed=seed)]))
            for seed in distinct(mine, "seed")
        ]

    for name in options.surrogates:
        poisoned, clean, control = (
            band(of(name, itemgetter(cell)))
            for cell in ("test_err", "clean_test_err", "flip_test_err")
        )
        report.note(
            f"poison of {name}: test error {poisoned} %, mean of the targets (clean {clean} %, "
            f"control of the same digits not moved {control} %); above the control by "
            f"{band(of(name, partial(damage, against='flip_test_err')))} points"
        )
    best = max(options.surrogates, key=lambda name: np.mean(of(name, damage)))
    report.note(f"best surrogate on average: {best}")
    report.note(f"each: {options.seeds} seeds")
    known = [row for row in rows if row["R"] is not None and row["R_end"] is not None]
    if not known:
        return
    for what, columns in (
        ("R at the start", partial(_overall, name="R")),
        ("R at the final poison", partial(_overall, name="R_end")),
        ("S, the size of the target's gradient,", partial(_overall, name="S")),
        ("V of the surrogate", partial(_overall, name="V")),
        ("R at the start, among surrogates of one target,", partial(_within, name="R")),
    ):
        report.note(
            f"{what} with the rise of the test error: {correlations(*columns(known))}; Spearman's "
            f"within a seed {ranks(known, columns)}"
        )
