"""What the experiments on robust regression share: strengths, peers, and attackers of TRIM."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from sklearn import linear_model
from sklearn.model_selection import KFold, cross_val_score

from attacks import XY, AbstractCapability, Recipe, compose, indiscriminate
from benchmarks.ascents import REGRESSIONS as ASCENT
from benchmarks.data import Parts
from bilevel import Data
from bilevel.learners import AbstractLearner
from bilevel.losses import Squares
from defenses import Trim

ALPHAS = np.logspace(-2, 2, 9)
PAPER = 0.1
"""Strength of ridge in the paper, as scikit-learn counts it."""


def cross_validated(parts: Parts) -> float:
    """The largest strength of ridge that is within one standard error of the best on ten folds of
    the clean training rows (the rule of Breiman et al. 1984): of equals, the stiffest learner.
    """
    folds = KFold(10, shuffle=True, random_state=0)
    x, y = parts.train.x, parts.train.y
    errors = -np.array([
        cross_val_score(linear_model.Ridge(a), x, y, cv=folds, scoring="neg_mean_squared_error")
        for a in ALPHAS
    ])  # fmt: skip
    means = errors.mean(axis=1)
    best = int(np.argmin(means))
    spread = errors[best].std(ddof=1) / np.sqrt(errors.shape[1])
    return float(np.max(ALPHAS[means <= means[best] + spread]))


def mean_square(model, x: Array, y: Array) -> Array:
    return jnp.mean((model.decision(x) - y) ** 2)


class Outcome(NamedTuple):
    """Test errors with and without TRIM, validation error with it, shares of poison and of clean
    rows that it drops.
    """

    plain: Array
    trimmed: Array
    trimmed_val: Array
    removed: Array
    lost: Array


@eqx.filter_jit
def outcome(learner: AbstractLearner, trim: Trim, data: Data, clean: int, held: Data, test: Data):
    """Of training rows of which the first `clean` are clean; TRIM sees them in another order."""
    order = np.random.default_rng(0).permutation(data.rows)
    shuffled = Data(data.x[order], data.y[order], data.weight[order])
    trimmed = trim.fit(shuffled, throw=False)
    model, plain = trimmed.model, learner.fit(data, throw=False).model
    gone = (~trimmed.report.kept[np.argsort(order)]).astype(data.y.dtype)
    return Outcome(
        mean_square(plain, test.x, test.y), mean_square(model, test.x, test.y),
        mean_square(model, held.x, held.y),
        jnp.sum(gone[clean:]) / max(data.rows - clean, 1), jnp.mean(gone[:clean]),
    )  # fmt: skip


def attacked(attacker: str, learner: AbstractLearner, share: float, data: Data) -> AbstractLearner:
    """What is attacked: the undefended learner (plain), the one behind TRIM (hard), or behind its
    smooth surrogate (soft).
    """
    if attacker == "plain":
        return learner
    defended = Trim(learner, share)
    return defended if attacker == "hard" else defended.surrogate(data)


def attack(
    victim: AbstractLearner, reach: AbstractCapability, train: Data, held: Data, start: XY,
    steps: int,
) -> XY:  # fmt: skip
    """Poison that raises the victim's validation error; the victim is the one line that changes."""
    goal = indiscriminate(held.x, held.y, Squares())
    return Recipe(compose(victim, reach, goal, train), start, ASCENT, steps).climb().z
