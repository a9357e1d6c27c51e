"""The cells of the arena: one learner behind one defense, against every attack."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import bilevel
from benchmarks.twins import CLASSIFIERS, DEFAULT
from bilevel import Data
from bilevel.learners import AbstractLearner

from ._arena_attacks import CONTROLS, Field, Rows, made
from ._arena_defenses import DEFENSES


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
        fitted = victim.fit(data, throw=False)
        model, seen = fitted.model, data if fitted.report is None else fitted.report.data
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
        outputs = run(*map(jnp.asarray, (*flat, *each)))
        return Verdict(*(np.asarray(a).reshape(*shape, *a.shape[1:]) for a in outputs))

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
    plain = CLASSIFIERS[kind].ours(DEFAULT, field.options.train)
    verdict = judge(field, plain)
    poison = {name: made(name, field, plain, plain) for name in field.options.attacks}
    return Baseline(
        plain, verdict(field.clean), poison, {name: verdict(rows) for name, rows in poison.items()}
    )


def meet(field: Field, kind: str, name: str, base: Baseline) -> list[dict]:
    """All cells of a learner and a defense."""
    options = field.options
    hard = DEFENSES[name](base.plain, options.contamination)
    verdict = judge(field, hard)
    cost = verdict(field.clean)
    cells = []
    for attack in options.attacks:
        rows = base.poison[attack]
        unaware = verdict(rows)
        gone, lost = removed(field, rows, unaware)
        aware, aware_gone = unaware, gone
        if attack not in CONTROLS:
            adapted = made(attack, field, hard, base.plain)
            aware = verdict(adapted)
            aware_gone, _ = removed(field, adapted, aware)
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
