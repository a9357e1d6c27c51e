"""Rows that lead training to a chosen model, and how many it takes at least (Suya et al., "Model-
targeted poisoning attacks with provable convergence", ICML 2021).

The attacker knows the training rows and the learner, which is convex, and inserts rows of a pool
with the pool's labels. Nothing is climbed: each row is the one on which the model trained so far
loses most beside the wanted one. Among defenses are those that limit a row's influence.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Shaped

from bilevel import Data, append
from bilevel.learners import (
    AbstractLearner,
    AbstractModel,
    Huber,
    Logistic,
    OnFeatures,
    OnFeaturesModel,
    Ridge,
    Softmax,
)
from bilevel.tools import program, require_count

REGULAR = Ridge, Huber, Logistic, Softmax
"""Learners of a mean loss and a penalty of squares."""

ROUNDING = 1e3
"""Of sums of losses, with that of a solved training, in units of the dtype."""


class Approach(eqx.Module):
    """Rows that were inserted one after another.

    - `x` (m, ...), `y` (m,): the rows; `rows` (m,): their indices in the pool.
    - `gap` (m + 1,): the largest loss of a pool row by the model of the first k rows, above that by
      the wanted model. With the gap the difference of the two models on all rows goes to 0.
    - `fewest`: no attacker with the same pool reaches the wanted model exactly with fewer rows.
      Infinite if none of them do. Of rows in single precision rounding takes most of it.
    - `model`: of all m rows.
    """

    x: Float[Array, "m ..."]
    y: Shaped[Array, " m"]
    rows: Int[Array, " m"]
    gap: Float[Array, " k"]
    fewest: Float[Array, ""]
    model: AbstractModel


def approach_model(
    train: Data, wanted: AbstractModel, learner: AbstractLearner, pool: Data, count: int
) -> Approach:
    """Insert `count` rows that bring the trained model near `wanted`.

    - `train`: the clean training rows.
    - `wanted`: a model of the learner's class, for example trained on rows with other labels.
    - `learner`: `Ridge`, `Huber`, `Logistic` or `Softmax`, or `OnFeatures` around one.
    - `pool` (k rows): what may be inserted, any number of times: rows with labels, such as all
      validation rows with each label. Rows of weight zero are left out.

    The lower bound: where training ends at `wanted`, its objective is not above that of any other
    model; solved for the number of rows it holds for every model, and the best over the models on
    the way is taken. Raises `ValueError` for another learner, `SolveError` for a failed training.
    """
    _penalty(learner, wanted)
    learner.check(append(train, pool.x, pool.y, pool.weight))
    return _approached(train, wanted, learner, pool, require_count("count", count))


@program
def _approached(
    train: Data, wanted: AbstractModel, learner: AbstractLearner, pool: Data, count: int
) -> Approach:
    def losses(model: AbstractModel, data: Data) -> Float[Array, " n"]:
        return learner.loss(data.y, model.decision(data.x))

    def measured(model: AbstractModel) -> tuple[Array, Array, Array]:
        """The pool row of the largest gap, the gap, and the bound that this model gives."""
        here, there = losses(model, pool), losses(wanted, pool)
        apart = jnp.where(pool.weight > 0, here - there, -jnp.inf)
        row, gap = jnp.argmax(apart), jnp.max(apart)
        old, new = _penalty(learner, model), _penalty(learner, wanted)
        terms = losses(wanted, train) + new, losses(model, train) + old
        # `wanted` is worse by so much on the clean rows, and a row makes up for at most `each`. At
        # the wanted model both are rounding, which must not raise the bound.
        rounding = ROUNDING * float(jnp.finfo(here.dtype).eps)
        worse = terms[0] - terms[1] - rounding * (terms[0] + terms[1])
        clean = train.weight.astype(worse.dtype) @ worse
        each = gap - (new - old) + rounding * (jnp.max(here + there) + new + old)
        fewest = jnp.where(each > 0, clean / jnp.where(each > 0, each, 1), jnp.inf)
        return row, gap, jnp.where(clean > 0, fewest, 0).astype(float)

    def step(state, slot):
        data, warm, most = state
        fitted = learner.fit(data, warm)
        row, gap, fewest = measured(fitted.model)
        slot = train.rows + slot
        data = Data(
            data.x.at[slot].set(pool.x[row]),
            data.y.at[slot].set(pool.y[row].astype(data.y.dtype)),
            data.weight.at[slot].set(1),
        )
        return (data, fitted.warm, jnp.maximum(most, fewest)), (row, gap)

    first = jnp.zeros(count, jnp.int32)  # slots of weight zero
    slots = append(train, pool.x[first], pool.y[first], jnp.zeros(count, train.weight.dtype))
    start = slots, learner.cold(slots), jnp.zeros(())
    (data, warm, most), (rows, gaps) = lax.scan(step, start, jnp.arange(count))
    model = learner.fit(data, warm).model
    _, gap, fewest = measured(model)
    x, y = data.x[train.rows :], data.y[train.rows :]
    return Approach(x, y, rows, jnp.append(gaps, gap), jnp.maximum(most, fewest), model)


def _penalty(learner: AbstractLearner, model: AbstractModel) -> Float[Array, ""]:
    """The penalty of a model in the learner's objective, beside the mean loss."""
    if isinstance(learner, OnFeatures) and isinstance(model, OnFeaturesModel):
        return _penalty(learner.learner, model.head)
    leaves = jax.tree.leaves(model)
    if not isinstance(learner, REGULAR) or len(leaves) != 2:
        raise ValueError(
            f"learner: got a {type(learner).__name__} and a {type(model).__name__}, expected one "
            f"of {', '.join(kind.__name__ for kind in REGULAR)}, or OnFeatures around one, and a "
            "model that it trains"
        )
    weights, bias = leaves
    l2, l2_bias = (a.astype(weights.dtype) for a in (learner.l2, learner.l2_bias))
    return 0.5 * (l2 * jnp.sum(weights**2) + l2_bias * jnp.sum(bias**2))
