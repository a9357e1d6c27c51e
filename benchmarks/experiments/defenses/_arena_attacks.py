"""The training sets that the attacks of the arena make, for all rates and seeds at once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import bilevel
from attacks import flip_by_hypergradient, flip_random, poison_classifier
from benchmarks.data import Parts
from bilevel import Ascent, Data
from bilevel.learners import AbstractLearner
from defenses import AbstractDefense

from ._arena_options import Options

ASCENT = Ascent(first=1.0, last=0.02)
"""Lengths of the steps of inserted rows; features are in [0, 1]."""
CONTROLS = ("not-moved", "random-flips")
"""Attacks that choose nothing, and so have nothing to adapt to a defense."""


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

    def used(self) -> np.ndarray:
        """Which slots hold a row, (rates, slots)."""
        return np.arange(self.slots)[None, :] < np.array(self.options.budgets)[:, None]

    def held(self, name: str) -> tuple[Array, Array]:
        rows = [getattr(p, name) for p in self.parts]
        return jnp.asarray(np.stack([r.x for r in rows])), jnp.asarray(
            np.stack([r.y for r in rows])
        )


def inserted(field: Field, victim: AbstractLearner) -> Rows:
    """Rows optimised against the victim, at all rates and seeds in one program; against a
    defended learner by its smooth surrogate, if it has one.
    """
    options, rows = field.options, field.clean
    n, seeds = options.train, options.seeds
    weight = field.used()
    starts, labels = zip(*(field.starts(seed) for seed in range(seeds)), strict=True)
    validation = field.held("validation")

    def attack(x, y, start, labels, x_val, y_val, weight):
        train, held = Data(x, y), Data(x_val, y_val)
        learner = victim.surrogate(train) if isinstance(victim, AbstractDefense) else victim
        recipe = poison_classifier(
            train, start, labels, held, learner, weight=weight, steps=options.steps, ascent=ASCENT
        )
        return recipe.climb().z

    many = jax.jit(bilevel.batch(attack))

    def over_seeds(weight):
        each = jnp.broadcast_to(weight, (seeds, field.slots))
        return many(
            jnp.asarray(rows.x[0, :, :n]), jnp.asarray(rows.y[0, :, :n]),
            jnp.asarray(np.stack(starts)), jnp.asarray(np.stack(labels)), *validation, each,
        )  # fmt: skip

    optimised = np.stack([over_seeds(jnp.asarray(w, float)) for w in weight])
    x = rows.x.copy()
    x[:, :, n:] = optimised
    return not_moved(field)._replace(x=x)


def not_moved(field: Field) -> Rows:
    """The rows that the others start from, with the label of the other class."""
    full = field.clean.weight.copy()
    full[:, :, field.options.train :] = field.used()[:, None, :]
    return field.clean._replace(weight=full)


def flipped(field: Field, victim: AbstractLearner, plain: AbstractLearner, chance: bool) -> Rows:
    """Labels flipped at random, or ranked by the plain learner's hypergradient and verified on the
    victim:
    the defenses that change labels or draw rows have no derivative in labels.
    """
    options, y = field.options, field.clean.y.copy()
    for seed, parts in enumerate(field.parts):
        train, held = (Data(r.x, r.y) for r in (parts.train, parts.validation))
        if chance:
            key = jax.random.key(seed)
            flips = flip_random(key, train, field.slots, held, victim)
        else:
            ranking = plain.surrogate(train)
            flips = flip_by_hypergradient(
                train, field.slots, held, victim, verify=5, ranking=ranking
            )
        for i, budget in enumerate(options.budgets):
            y[i, seed, : options.train] = flips.flip(train, budget).y
    return Rows(field.clean.x, y, field.clean.weight)


def made(name: str, field: Field, victim: AbstractLearner, plain: AbstractLearner) -> Rows:
    """The training sets that an attack on the victim makes."""
    if name == "insert":
        return inserted(field, victim)
    if name == "not-moved":
        return not_moved(field)
    return flipped(field, victim, plain, chance=name == "random-flips")
