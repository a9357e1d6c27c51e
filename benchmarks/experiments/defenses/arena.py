"""The arena: every attack against every defense, unaware of it and adapted to it.

An adapted attack is the same composition with the defended learner in the learner's place: its
smooth surrogate where there is one, scored with the hard defense. The adapted attacker keeps, by
his validation rows, the better of what he made with and without knowing the defense. Poison is
shuffled into the rows; the defender's share of contamination is fixed before any poison is seen.
"""

import dataclasses
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import bilevel
import defenses
from attacks import poison_classifier
from attacks.label_flips import flip_by_hypergradient, flip_random
from benchmarks.data import Parts, breast_cancer, spambase
from benchmarks.report import Report, UsageError, summary
from bilevel import Data
from bilevel.learners import SVM, AbstractLearner, Logistic, Ridge
from defenses import AbstractDefense, scores

Wrap = Callable[[AbstractLearner, float], AbstractDefense]


class Entry(NamedTuple):
    """A defense, and what the attacker who knows it differentiates in its place."""

    hard: Wrap
    surrogate: Wrap


def entry(hard: Wrap, surrogate: Wrap | None = None) -> Entry:
    """One without a surrogate stands for itself."""
    return Entry(hard, hard if surrogate is None else surrogate)


def filtered(score: scores.AbstractScore) -> Entry:
    """The filter by this score."""
    return entry(
        lambda learner, share: defenses.Filter(learner, score, share),
        lambda learner, share: defenses.SoftFilter(learner, score, share),
    )


DEFENSES = {
    "filter": filtered(scores.Distance()),
    "slab": filtered(scores.Slab()),
    "neighbours": filtered(scores.Neighbours()),
    "residual": filtered(scores.Residual()),
    "trim": entry(defenses.Trim, defenses.SoftTrim),
    "sever": entry(defenses.Sever, defenses.SoftSever),
    "relabel": entry(
        lambda learner, _: defenses.Relabel(learner),
        lambda learner, _: defenses.SoftRelabel(learner),
    ),
    "roni": entry(lambda learner, _: defenses.Roni(learner)),
    "micro-models": entry(
        lambda learner, _: defenses.MicroModels(learner),
        lambda learner, _: defenses.SoftMicroModels(learner),
    ),
}
Defense = Literal[
    "filter", "slab", "neighbours", "residual", "trim", "sever", "relabel", "roni", "micro-models"
]
KEY = ("attack", "defense", "learner", "rate", "seed")
Attack = Literal["insert", "flips", "random-flips"]
Kind = Literal["logistic", "ridge", "svm"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Who meets whom, how often."""

    attacks: tuple[Attack, ...] = ("insert", "flips", "random-flips")
    """Optimised rows inserted, labels flipped by hypergradient, labels flipped at random."""
    defenses: tuple[Defense, ...] = ("roni", "sever", "trim", "relabel", "filter")
    """Which defenses, each around every learner; the slow ones first keep all cores busy."""
    learners: tuple[Kind, ...] = ("logistic", "ridge", "svm")
    """Which classifiers."""
    rates: tuple[float, ...] = (0.05, 0.1, 0.15)
    """Poison as a share of the clean training rows."""
    seeds: int = 5
    """Number of random splits."""
    data: Literal["breast-cancer", "spam"] = "breast-cancer"
    """Which rows."""
    train: int = 100
    """Clean training rows."""
    validation: int = 200
    """Rows that the attacker judges by."""
    test: int = 269
    """Rows of which nobody knows."""
    contamination: float = 0.15
    """The share of rows that defenses drop, where they need to be told."""
    steps: int = 40
    """Steps of the optimised attack."""

    def __post_init__(self):
        if not self.rates or not all(0 < rate < 1 for rate in self.rates):
            raise UsageError(f"--rates: got {self.rates}, expected shares between 0 and 1")
        if not 0 <= self.contamination < 1:
            raise UsageError(f"--contamination: got {self.contamination}, expected a share < 1")
        for name in ("attacks", "defenses", "learners"):
            if not getattr(self, name):
                raise UsageError(f"--{name}: got none, expected one or more")
        for name in ("seeds", "train", "validation", "test", "steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name}: got {getattr(self, name)}, expected 1 or more")

    @property
    def budgets(self) -> list[int]:
        return [max(1, round(rate * self.train)) for rate in self.rates]


def learner(kind: str, rows: int) -> AbstractLearner:
    """With the strengths that scikit-learn comes with, C = 1 and alpha = 1."""
    if kind == "svm":
        return SVM(1.0)
    return Ridge(1 / rows) if kind == "ridge" else Logistic(1 / rows)


class Rows(NamedTuple):
    """Training sets of all rates and seeds, (rates, seeds, n, ...): clean rows, then slots."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray


class Field:
    """The splits, and the poison-free training sets with empty slots behind them."""

    def __init__(self, options: Options, parts: list[Parts]):
        self.options, self.parts = options, parts
        self.slots = max(options.budgets)
        shape = (len(options.rates), options.seeds)
        spare = np.stack([self.starts(seed)[0] for seed in range(options.seeds)])
        x = np.concatenate([np.stack([p.train.x for p in parts]), spare], axis=1)
        y = np.concatenate(
            [np.stack([p.train.y for p in parts]), np.ones((options.seeds, self.slots))], axis=1
        )
        weight = np.concatenate([np.ones(options.train), np.zeros(self.slots)])
        self.clean = Rows(
            np.broadcast_to(x, (*shape, *x.shape[1:])).copy(),
            np.broadcast_to(y, (*shape, *y.shape[1:])).copy(),
            np.broadcast_to(weight, (*shape, weight.size)).copy(),
        )

    def starts(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the class -1, to be inserted as +1."""
        train = self.parts[seed].train
        rows = np.random.default_rng([1, seed]).choice(np.flatnonzero(train.y < 0), self.slots)
        return train.x[rows], np.ones(self.slots)

    def held(self, name: str) -> tuple[Array, Array]:
        rows = [getattr(p, name) for p in self.parts]
        return jnp.asarray(np.stack([r.x for r in rows])), jnp.asarray(
            np.stack([r.y for r in rows])
        )


def inserted(field: Field, victim: AbstractLearner) -> Rows:
    """Rows optimised against the victim, at all rates and seeds in one program."""
    options, rows = field.options, field.clean
    n, seeds = options.train, options.seeds
    weight = np.arange(field.slots)[None, :] < np.array(options.budgets)[:, None]
    starts, labels = zip(*(field.starts(seed) for seed in range(seeds)), strict=True)
    validation = field.held("validation")

    def attack(x, y, start, labels, x_val, y_val, weight):
        result = poison_classifier(
            Data(x, y), start, labels, Data(x_val, y_val), victim, weight=weight,
            steps=options.steps, first_step=1.0,
        )  # fmt: skip
        return result.z

    many = jax.jit(bilevel.batch(attack))

    def over_seeds(weight):
        each = jnp.broadcast_to(weight, (seeds, field.slots))
        return many(
            jnp.asarray(rows.x[0, :, :n]), jnp.asarray(rows.y[0, :, :n]),
            jnp.asarray(np.stack(starts)), jnp.asarray(np.stack(labels)), *validation, each,
        )  # fmt: skip

    found = np.stack([over_seeds(jnp.asarray(w, float)) for w in weight])
    x, full = rows.x.copy(), rows.weight.copy()
    x[:, :, n:], full[:, :, n:] = found, weight[:, None, :]
    return Rows(x, rows.y, full)


def flipped(field: Field, victim: AbstractLearner, plain: AbstractLearner, chance: bool) -> Rows:
    """Labels flipped at random, or by hypergradient of the plain learner, verified on the victim:
    the defenses that change labels or draw rows have no derivative in labels.
    """
    options, y = field.options, field.clean.y.copy()
    smooth = Logistic(1 / options.train) if isinstance(plain, SVM) else plain
    for seed, parts in enumerate(field.parts):
        train, held = (Data(r.x, r.y) for r in (parts.train, parts.validation))
        if chance:
            key = jax.random.key(seed)
            flips = flip_random(key, train, field.slots, held, victim)
        else:
            flips = flip_by_hypergradient(
                train, field.slots, held, victim, verify=5, ranking=smooth
            )
        for i, budget in enumerate(options.budgets):
            y[i, seed, : options.train] = flips.flip(train, budget).y
    return Rows(field.clean.x, y, field.clean.weight)


def made(name: str, field: Field, victim: AbstractLearner, plain: AbstractLearner) -> Rows:
    """The training sets that an attack on the victim makes."""
    if name == "insert":
        return inserted(field, victim)
    return flipped(field, victim, plain, chance=name == "random-flips")


class Verdict(NamedTuple):
    """Errors on validation and test rows, what is left of each row, its label then."""

    val: np.ndarray
    test: np.ndarray
    weight: np.ndarray
    y: np.ndarray


def judge(field: Field, victim: AbstractLearner) -> Callable[[Rows], Verdict]:
    """A program that trains the victim on training sets of all rates and seeds, their rows in
    random order.
    """
    order = np.random.default_rng(0).permutation(field.clean.y.shape[-1])
    back = np.argsort(order)

    def one(x, y, weight, x_val, y_val, x_test, y_test):
        data = Data(x[order], y[order], weight[order])
        model = victim.solve(data, throw=False).value
        seen = victim.inspect(data).data if isinstance(victim, AbstractDefense) else data
        errors = [
            jnp.mean((~(a * model.decision(b) > 0)).astype(float))  # NaN is wrong
            for a, b in ((y_val, x_val), (y_test, x_test))
        ]
        return *errors, seen.weight[back], seen.y[back]

    run = jax.jit(bilevel.batch(one))
    held = [np.asarray(a) for name in ("validation", "test") for a in field.held(name)]

    def verdict(rows: Rows) -> Verdict:
        shape = rows.y.shape[:2]
        flat = [a.reshape(-1, *a.shape[2:]) for a in rows]
        each = [np.broadcast_to(a, (shape[0], *a.shape)).reshape(-1, *a.shape[1:]) for a in held]
        found = run(*map(jnp.asarray, (*flat, *each)))
        return Verdict(*(np.asarray(a).reshape(*shape, *a.shape[1:]) for a in found))

    return verdict


def removed(field: Field, rows: Rows, verdict: Verdict) -> tuple[np.ndarray, np.ndarray]:
    """Shares of poison and of clean rows that were dropped or relabelled, (rates, seeds)."""
    used, clean = rows.weight > 0, np.arange(rows.y.shape[-1]) < field.options.train
    poison = used & (~clean | (rows.y != field.clean.y))
    gone = (verdict.weight <= 0) | (verdict.y != rows.y)
    shares = (np.sum(m & gone, -1) / np.sum(m, -1) for m in (poison, used & ~poison))
    return next(shares), next(shares)


class Baseline(NamedTuple):
    """The undefended learner, and the poison made against it."""

    plain: AbstractLearner
    clean: Verdict
    poison: dict[str, Rows]
    verdicts: dict[str, Verdict]


def baseline(field: Field, kind: str) -> Baseline:
    """Every attack on an undefended learner."""
    plain = learner(kind, field.options.train)
    verdict = judge(field, plain)
    poison = {name: made(name, field, plain, plain) for name in field.options.attacks}
    return Baseline(
        plain, verdict(field.clean), poison, {name: verdict(rows) for name, rows in poison.items()}
    )


def meet(field: Field, kind: str, name: str, base: Baseline) -> list[dict]:
    """All cells of a learner and a defense."""
    options = field.options
    hard, surrogate = (wrap(base.plain, options.contamination) for wrap in DEFENSES[name])
    verdict = judge(field, hard)
    cost = verdict(field.clean)
    cells = []
    for attack in options.attacks:
        rows = base.poison[attack]
        unaware = verdict(rows)
        gone, lost = removed(field, rows, unaware)
        aware, aware_gone = unaware, gone
        if attack != "random-flips":
            victim = surrogate if attack == "insert" else hard
            adapted = made(attack, field, victim, base.plain)
            found = verdict(adapted)
            better = found.val > unaware.val
            aware = found._replace(
                val=np.maximum(found.val, unaware.val),
                test=np.where(better, found.test, unaware.test),
            )
            aware_gone = np.where(better, removed(field, adapted, found)[0], gone)
        for i, rate in enumerate(options.rates):
            for seed in range(options.seeds):
                at = i, seed
                cells.append({
                    "attack": attack, "defense": name, "learner": kind, "rate": rate, "seed": seed,
                    "clean_err": base.clean.test[at], "clean_defended_err": cost.test[at],
                    "undefended_err": base.verdicts[attack].test[at],
                    "unaware_err": unaware.test[at], "adapted_err": aware.test[at],
                    "poison_removed": gone[at], "clean_lost": lost[at],
                    "adapted_poison_removed": aware_gone[at],
                })  # fmt: skip
    return cells


def run(options: Options, report: Report) -> None:
    """One row per attack, defense, learner, rate and seed; errors are of test rows."""
    table = spambase() if options.data == "spam" else breast_cancer()
    field = Field(
        options,
        [
            table.split(options.train, options.validation, options.test, seed)
            for seed in range(options.seeds)
        ],
    )
    count = len(options.attacks) * len(options.rates) * options.seeds
    todo = [
        (kind, name)
        for kind in options.learners
        for name in options.defenses
        if sum((r["learner"], r["defense"]) == (kind, name) for r in report.rows) < count
    ]
    # Threads, because most of the time goes into compiling and running, outside of Python.
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        kinds = dict.fromkeys(kind for kind, _ in todo)
        bases = {kind: pool.submit(baseline, field, kind) for kind in kinds}
        waiting = [pool.submit(lambda k, n: meet(field, k, n, bases[k].result()), *t) for t in todo]
        for future in report.track(waiting, f"arena, {options.data}"):
            for cells in future.result():
                if not report.done(**{name: cells[name] for name in KEY}):
                    report.row(**cells)
    finally:  # who interrupts waits for the cells that run, not for all
        pool.shutdown(cancel_futures=True)
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.arena import draw

        groups = options.attacks, options.learners, options.defenses
        report.figure("arena", draw(report.rows, *groups))


def _notes(options: Options, report: Report) -> None:
    most = max(options.rates)
    for name in options.defenses:
        for attack in options.attacks:
            parts = []
            for kind in options.learners:
                key = (attack, name, kind, most)
                rows = [
                    r
                    for r in report.rows
                    if (r["attack"], r["defense"], r["learner"], r["rate"]) == key
                ]
                said = ", ".join(
                    f"{what} {summary([100 * r[cell] for r in rows])}"
                    for what, cell in (
                        ("undefended", "undefended_err"), ("unaware", "unaware_err"),
                        ("adapted", "adapted_err"),
                    )
                )  # fmt: skip
                parts.append(f"{kind}: {said}")
            report.note(f"{name} against {attack}, {100 * most:.0f} %: {'; '.join(parts)}")
        rows = [r for r in report.rows if r["defense"] == name]
        cost = 100 * np.mean([r["clean_defended_err"] - r["clean_err"] for r in rows])
        report.note(f"{name} costs {cost:.2g} points of test error where there is no poison")
    report.note(f"test error in per cent, mean of {options.seeds} splits (worst)")
