"""Label flips under a budget (Xiao et al., ECAI 2012; Paudice et al., 2018): at random, greedily,
or ranked by hypergradient and verified.

Needs to know: the training rows, the learner and its strengths, and validation rows (random flips:
nothing). Needs to touch: labels of some training rows. What stops it while
it does not know of it: label sanitisation by nearest neighbours, `defenses.Relabel`.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from bilevel import Data, argmin
from bilevel._solution import CONVERGED, SENTENCES
from bilevel.batch import batch
from bilevel.learners import AbstractLearner
from bilevel.losses import Logistic

from .capabilities import FlipLabels
from .goals import AbstractGoal, indiscriminate


class LabelFlips(eqx.Module):
    """Which labels were flipped, in order. The first m of them are the attack of budget m.

    - `rows`: indices of the training rows.
    - `values`: the goal after each flip, of the retrained learner; NaN if it could not be trained.
    - `trainings`: how many times the learner was trained to choose the flips up to each.
    - `result`: code of a training that failed; 0 if all did well, `message` is its sentence.
    """

    rows: Int[Array, " budget"]
    values: Float[Array, " budget"]
    trainings: Int[Array, " budget"]
    result: Int[Array, ""]

    @property
    def message(self) -> str:
        return SENTENCES[int(jnp.max(self.result))]

    def flip(self, data: Data, budget: int | None = None) -> Data:
        """The training rows with the first `budget` of the flips, or all."""
        rows = self.rows[:budget]
        return eqx.tree_at(lambda d: d.y, data, data.y.at[rows].multiply(-1, unique_indices=True))


class Trial(eqx.Module):
    """What is trained on which rows, and how it is judged. z (k,) is how much of each of the rows
    that may be flipped is.
    """

    learner: AbstractLearner
    goal: AbstractGoal
    data: Data
    reach: FlipLabels

    def train(self, data: Data, warm: PyTree) -> tuple[Array, tuple[PyTree, Array]]:
        """The goal of the model trained on such rows, (its warm start, its code)."""
        learner = self.learner
        solution = argmin(learner.problem(data), warm, solver=learner.solver, throw=False)
        value = self.goal.score(learner.model(data, solution.value))
        return value, (solution.warm, solution.result)

    def retrain(self, z: Array, warm: PyTree) -> tuple[Array, PyTree, Array]:
        """The same for whole flips: z of zeros and ones."""
        y = self.data.y.at[self.reach.rows].multiply(1 - 2 * z, unique_indices=True)
        value, (warm, code) = self.train(eqx.tree_at(lambda d: d.y, self.data, y), warm)
        return jnp.where(code == CONVERGED, value, jnp.nan), warm, code

    def slopes(self, z: Array, warm: PyTree) -> tuple[Array, PyTree, Array]:
        """Hypergradient of the goal in z, warm start, code."""
        mixed = jax.grad(lambda z: self.train(self.reach.mix(z, self.data), warm), has_aux=True)
        slopes, (warm, code) = mixed(z)
        return slopes, warm, code

    def cold(self, data: Data) -> PyTree:
        return self.learner.solver.cold(self.learner.problem(data))


def flip_random(
    key: PRNGKeyArray,
    train: Data,
    budget: int,
    validation: Data,
    learner: AbstractLearner,
    *,
    goal: AbstractGoal | None = None,
    rows: Int[Array, " k"] | np.ndarray | None = None,
) -> LabelFlips:
    """Flip rows drawn at random, each once. No training is needed to choose them.

    The arguments are those of `flip_greedy`; the learner and `validation` serve `values` alone.
    """
    return _random(key, _trial(train, budget, validation, learner, goal, rows))


def flip_greedy(
    train: Data,
    budget: int,
    validation: Data,
    learner: AbstractLearner,
    *,
    goal: AbstractGoal | None = None,
    rows: Int[Array, " k"] | np.ndarray | None = None,
) -> LabelFlips:
    """Flip the label that raises the goal most, and again: each round trains the learner once for
    every row that may be flipped (Paudice et al. 2018, algorithm 1).

    - `train`: rows whose labels, where they may be flipped, are -1 and +1.
    - `budget`: how many labels to flip. All are flipped, though a flip may help the learner:
      `values` tells.
    - `goal`: the logistic loss on `validation` unless given.
    - `rows`: indices of those that may be flipped (default: all).

    ValueError for a budget above their number and for other labels.
    """
    return _greedy(_trial(train, budget, validation, learner, goal, rows))


def flip_by_hypergradient(
    train: Data,
    budget: int,
    validation: Data,
    learner: AbstractLearner,
    *,
    goal: AbstractGoal | None = None,
    rows: Int[Array, " k"] | np.ndarray | None = None,
    verify: int = 5,
    ranking: AbstractLearner | None = None,
) -> LabelFlips:
    """As `flip_greedy`, but a round trains on no more than the `verify` most promising flips.

    They are those of the highest derivative of the goal in the share of a row that is flipped
    (see `capabilities.FlipLabels`), at the labels flipped so far: one training and one adjoint
    solve for all rows. A round costs `verify` + 1 trainings.

    `ranking` is the learner whose derivative that is (default: `learner`). The derivative foretells
    a whole flip well if the learner is smooth. An SVM's active set changes on the way: rank for
    `SVM(C)` by `Logistic(1 / (C * n))`. The value that counts is always that of `learner`.
    """
    trial = _trial(train, budget, validation, learner, goal, rows)
    ranked = trial if ranking is None else _trial(train, budget, validation, ranking, goal, rows)
    if isinstance(verify, bool) or not isinstance(verify, int) or verify < 1:
        raise ValueError(f"verify: got {verify!r}, expected how many flips to try a round, >= 1")
    return _by_hypergradient(trial, ranked, min(verify, trial.reach.rows.shape[0]))


def _trial(train, budget, validation, learner, goal, rows) -> Trial:
    if goal is None:
        goal = indiscriminate(validation.x, validation.y, Logistic())
    reach = FlipLabels(np.arange(train.rows) if rows is None else rows, budget)
    learner.check(train)
    goal.check(train)
    reach.check(train)
    return Trial(learner, goal, train, reach)


@eqx.filter_jit
def _random(key: PRNGKeyArray, trial: Trial) -> LabelFlips:
    order = jax.random.permutation(key, trial.reach.rows.shape[0])[: trial.reach.budget]

    def flip(state, i):
        z, warm = state
        z = z.at[i].set(1)
        value, warm, code = trial.retrain(z, warm)
        return (z, warm), (value, code)

    _, (values, codes) = lax.scan(flip, (_none(trial), trial.cold(trial.data)), order)
    chosen = trial.reach.rows[order]
    return LabelFlips(chosen, values, jnp.zeros_like(order), jnp.max(codes))


@eqx.filter_jit
def _greedy(trial: Trial) -> LabelFlips:
    everything = jnp.arange(trial.reach.rows.shape[0])

    def propose(z, state):
        del z
        return everything, state, jnp.int32(CONVERGED)

    return _rounds(trial, propose, jnp.int32(0), len(everything))


@eqx.filter_jit
def _by_hypergradient(trial: Trial, ranked: Trial, verify: int) -> LabelFlips:
    def propose(z, warm):
        slopes, warm, code = ranked.slopes(z, warm)
        return lax.top_k(_rank(slopes, z), verify)[1], warm, code

    start = ranked.cold(ranked.reach.mix(_none(ranked), ranked.data))
    return _rounds(trial, propose, start, verify + 1)


def _none(trial: Trial) -> Array:
    return jnp.zeros(trial.reach.rows.shape[0], trial.data.x.dtype)


def _rank(scores: Array, z: Array) -> Array:
    """Scores to choose by: last the flips already made, before them those without a score."""
    scores = jnp.where(jnp.isnan(scores), jnp.finfo(scores.dtype).min, scores)
    return jnp.where(z == 1, -jnp.inf, scores)


def _rounds(trial: Trial, propose: Callable, start: PyTree, trainings: int) -> LabelFlips:
    """Of the flips that `propose(z, state) -> (candidates, state, code)` names, the best, as often
    as the budget allows. `trainings` of them in a round.
    """

    def round_(carry, _):
        z, warm, state = carry
        candidates, state, code = propose(z, state)
        values, warms, codes = batch(lambda i: trial.retrain(z.at[i].set(1), warm))(candidates)
        best = jnp.argmax(_rank(values, z[candidates]))
        chosen = candidates[best]
        warm = jax.tree.map(lambda leaf: leaf[best], warms)
        carry = z.at[chosen].set(1), warm, state
        return carry, (chosen, values[best], jnp.maximum(code, codes[best]))

    begin = _none(trial), trial.cold(trial.data), start
    _, (chosen, values, codes) = lax.scan(round_, begin, length=trial.reach.budget)
    spent = trainings * (1 + jnp.arange(trial.reach.budget))
    return LabelFlips(trial.reach.rows[chosen], values, spent, jnp.max(codes))
