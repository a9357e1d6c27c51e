"""What models of the parts of the data make of the rows of the others."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from bilevel import Data, batch
from bilevel.learners import AbstractLearner

from ..ensemble._parts import split


def disputed(
    learner: AbstractLearner,
    data: Data,
    places: Int[Array, " n"],
    parts: Data,
    doubt: Callable[[Array, Array], Array],
    key: PRNGKeyArray | None,
) -> tuple[Float[Array, " n"], Int[Array, ""]]:
    """(mean of doubt(y, f) over the models that were not trained on the row, worst code of them).

    - `places` (n,): the part of each row. `parts`: the rows of each, a stack of `models`.
    """
    y, models = data.targets(), parts.weight.shape[0]

    def of_part(part: Data, key: PRNGKeyArray | None) -> tuple[Array, Array]:
        fitted = learner.fit(part, key=key, throw=False)
        return doubt(y, fitted.model.decision(data.x)), fitted.result

    doubts, codes = batch(of_part)(parts, split(key, models))
    other = places[None, :] != jnp.arange(models, dtype=places.dtype)[:, None]
    return mean_dispute(doubts, other), jnp.max(codes)


def mean_dispute(doubts, other):
    """Mean over the models (m, n) of those that are others than the row's own; 0 without any."""
    xp = doubts.__array_namespace__()
    counted = xp.astype(other, doubts.dtype)
    many = xp.sum(counted, axis=0)
    return xp.sum(counted * doubts, axis=0) / xp.where(many > 0, many, xp.ones_like(many))


def wrong_side(y: Float[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
    """1 where a decision has another sign than its label, else 0."""
    return ((f > 0) != (y > 0)).astype(f.dtype)
