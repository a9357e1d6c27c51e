"""Label flips within a budget (Xiao et al., ECAI 2012; Paudice et al., 2018): random, greedy, or
ranked by hypergradient and verified.

The attacker knows the training rows, the learner and its strengths, and validation rows (nothing
for random flips). The attacker changes labels of some training rows. Defense: label sanitisation by
nearest neighbours, `defenses.Relabel`, unless the attack adapts to it.
"""

from collections.abc import Callable
from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from bilevel import Data, batch
from bilevel.learners import AbstractLearner
from bilevel.losses import Logistic
from bilevel.results import CONVERGED, sentence
from bilevel.tools import program

from .._compose import Attack, compose
from .._world import World
from ..capabilities import FlipLabels
from ..goals import AbstractGoal, indiscriminate


class LabelFlips(eqx.Module):
    """Flipped labels, in order. The first m of them are the attack of budget m.

    - `rows`: indices of the training rows.
    - `values`: the goal of the retrained learner after each flip; NaN if its training failed.
    - `trainings`: number of trainings to choose the flips up to each.
    - `result`: code of a training that failed, 0 if none did; `message` is its sentence.
    """

    rows: Int[Array, " budget"]
    values: Float[Array, " budget"]
    trainings: Int[Array, " budget"]
    result: Int[Array, ""]

    @property
    def message(self) -> str:
        """The sentence of `result`."""
        return sentence(jnp.max(self.result))

    def flip(self, data: Data, budget: int | None = None) -> Data:
        """The training rows `data` with the first `budget` flips; by default with all."""
        rows = self.rows[:budget]
        return eqx.tree_at(lambda d: d.y, data, data.y.at[rows].multiply(-1, unique_indices=True))


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
    """Flip random labels, each at most once. Their choice needs no training.

    - `key`: typed key of the draw, and of the randomness of the learner.

    The other arguments and errors are those of `flip_greedy`; `learner` and `validation` are used
    for `values` only.
    """
    return _random(key, _attack(train, budget, validation, learner, goal, rows, key))


def flip_greedy(
    train: Data,
    budget: int,
    validation: Data,
    learner: AbstractLearner,
    *,
    goal: AbstractGoal | None = None,
    rows: Int[Array, " k"] | np.ndarray | None = None,
    key: PRNGKeyArray | None = None,
) -> LabelFlips:
    """In each round, flip the label that raises the goal by the largest amount. A round trains the
    learner once for every row that may be flipped (Paudice et al. 2018, algorithm 1).

    - `train`: the clean training rows; labels that may be flipped are -1 and +1.
    - `budget`: number of labels to flip. All are flipped, even if a flip lowers the goal; see
      `values`.
    - `validation`: rows of the default goal.
    - `learner`: the victim.
    - `goal`: by default the logistic loss on `validation`.
    - `rows`: indices (k,) of the rows that may be flipped; by default all.
    - `key`: typed key of the randomness of the learner, for one that has some (a network).

    Raises `ValueError` for a budget above the number of rows and for other labels.
    """
    return _greedy(_attack(train, budget, validation, learner, goal, rows, key))


def flip_by_hypergradient(
    train: Data,
    budget: int,
    validation: Data,
    learner: AbstractLearner,
    *,
    goal: AbstractGoal | None = None,
    rows: Int[Array, " k"] | np.ndarray | None = None,
    key: PRNGKeyArray | None = None,
    verify: int = 5,
    ranking: AbstractLearner | None = None,
) -> LabelFlips:
    """`flip_greedy` with trainings for the most promising flips only.

    A round ranks flips by the derivative of the goal in the flipped share of a row (see
    `capabilities.FlipLabels`), at the labels flipped so far. This takes one training and one
    adjoint solve for all rows. A round costs `verify` + 1 trainings.

    - `verify`: number of flips that a round tries by training, >= 1.
    - `ranking`: learner of the derivative, by default the smooth surrogate of `learner`. The
      derivative predicts a whole flip well if the learner is smooth; an SVM's active set changes
      during a flip. The values of flips are always those of `learner`.

    The other arguments and errors are those of `flip_greedy`. Raises `ValueError` for verify < 1.
    """
    attack = _attack(train, budget, validation, learner, goal, rows, key)
    ranking = learner.surrogate(train) if ranking is None else ranking
    ranked = _attack(train, budget, validation, ranking, goal, rows, key).prepared()
    if isinstance(verify, bool) or not isinstance(verify, int) or verify < 1:
        raise ValueError(f"verify: got {verify!r}, expected a number of flips per round, >= 1")
    return _by_hypergradient(attack, ranked, min(verify, _flips(attack).rows.shape[0]))


def _attack(train, budget, validation, learner, goal, rows, key) -> Attack:
    if goal is None:
        goal = indiscriminate(validation.x, validation.y, Logistic())
    reach = FlipLabels(np.arange(train.rows) if rows is None else rows, budget)
    return compose(learner, reach, goal, train, key=key)


def _flips(attack: Attack) -> FlipLabels:
    return cast(FlipLabels, attack.reach)


def _retrain(attack: Attack, z: Array, warm: PyTree) -> tuple[Array, PyTree, Array]:
    """(The goal, a warm start, a code) for whole flips, z of zeros and ones. Rows are relabelled
    without copies, so that the training sets have the size of the clean one.
    """
    # Without the prepared parts, which depend on the labels.
    attack = Attack(attack.learner, attack.reach, attack.goal, attack.data, attack.key)
    world = World(_flips(attack).flipped(z, attack.data))
    value, (warm, info) = attack.solve(attack.posed(world), warm)
    return jnp.where(info.result == CONVERGED, value, jnp.nan), warm, info.result


@program
def _random(key: PRNGKeyArray, attack: Attack) -> LabelFlips:
    order = jax.random.permutation(key, _flips(attack).rows.shape[0])[: _flips(attack).budget]

    def flip(state, i):
        z, warm = state
        z = z.at[i].set(1)
        value, warm, code = _retrain(attack, z, warm)
        return (z, warm), (value, code)

    start = _no_flips(attack), _cold(attack)
    _, (values, codes) = lax.scan(flip, start, order)
    chosen = _flips(attack).rows[order]
    return LabelFlips(chosen, values, jnp.zeros_like(order), jnp.max(codes))


@program
def _greedy(attack: Attack) -> LabelFlips:
    everything = jnp.arange(_flips(attack).rows.shape[0])

    def propose(z, state):
        del z
        return everything, state, jnp.int32(CONVERGED)

    return _rounds(attack, propose, jnp.int32(0), len(everything))


@program
def _by_hypergradient(attack: Attack, ranked: Attack, verify: int) -> LabelFlips:
    def propose(z, warm):
        slopes, (warm, info) = jax.grad(lambda z: ranked.evaluate(z, warm), has_aux=True)(z)
        return lax.top_k(_rank(slopes, z), verify)[1], warm, info.result

    return _rounds(attack, propose, ranked.cold(_no_flips(ranked)), verify + 1)


def _cold(attack: Attack) -> PyTree:
    """The cold start of a training on rows without copies."""
    return attack.learner.cold(attack.data, key=attack.training_key)


def _no_flips(attack: Attack) -> Array:
    return jnp.zeros(_flips(attack).rows.shape[0], attack.data.x.dtype)


def _rank(scores: Array, z: Array) -> Array:
    """Scores for a ranking, with flips that are already made last, after those without a score."""
    scores = jnp.where(jnp.isnan(scores), jnp.finfo(scores.dtype).min, scores)
    return jnp.where(z == 1, -jnp.inf, scores)


def _rounds(attack: Attack, propose: Callable, start: PyTree, trainings: int) -> LabelFlips:
    """Per round, the best flip of the candidates of `propose(z, state) -> (candidates, state,
    code)`; as many rounds as the budget. A round takes `trainings` trainings.
    """
    budget = _flips(attack).budget

    def round_(carry, _):
        z, warm, state = carry
        candidates, state, code = propose(z, state)
        values, warms, codes = batch(lambda i: _retrain(attack, z.at[i].set(1), warm))(candidates)
        best = jnp.argmax(_rank(values, z[candidates]))
        chosen = candidates[best]
        warm = jax.tree.map(lambda leaf: leaf[best], warms)
        carry = z.at[chosen].set(1), warm, state
        return carry, (chosen, values[best], jnp.maximum(code, jnp.max(codes)))

    begin = _no_flips(attack), _cold(attack), start
    _, (chosen, values, codes) = lax.scan(round_, begin, length=budget)
    spent = trainings * (1 + jnp.arange(budget))
    return LabelFlips(_flips(attack).rows[chosen], values, spent, jnp.max(codes))
