"""Poison that makes a chosen model stationary (Lu, Kamath & Yu, ICML 2023).

The attacker knows the training rows and the victim's model, corrupts that model in its parameters
(Sun et al. 2020), and seeks rows whose gradients cancel those of the clean rows there. The attacker
does not train. Rows may be labelled as the attacker likes. Defenses: outlier filters in `defenses`.
"""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree, Shaped

from bilevel import Ascent, Data
from bilevel.learners import AbstractModel, Fixed
from bilevel.tools import norm, program

from .._compose import compose
from ..capabilities import Insert
from ..domains import AbstractDomain, Box
from ..goals import Cancelling
from ._recipe import Recipe, recipe

Model = TypeVar("Model", bound=AbstractModel)


def cancel_gradients(
    train: Data,
    start: Float[ArrayLike, "m ..."],
    labels: Shaped[ArrayLike, " m"],
    model: AbstractModel,
    loss: Callable[[Array, Array], Array],
    *,
    l2: PyTree = 0.0,
    weight: Float[ArrayLike, " m"] | None = None,
    domain: AbstractDomain | None = None,
    steps: int = 200,
    ascent: Ascent = Ascent(),
) -> Recipe:
    """Insert m rows at which `model` is as stationary as possible; its value is
    -1/2 |gradient of the training loss|^2.

    - `train`: the clean training rows.
    - `start` (m, ...): usually clean rows.
    - `labels` (m,): the attacker's labels.
    - `model`: the model that training shall stay at; `corrupted` makes one.
    - `loss(y, f)`, `l2`: of the victim's training.
    - `weight` (m,): of the inserted rows, by default ones.
    - `domain`: of the rows, by default [0, 1] in every pixel.
    - `steps`: number of evaluations of value and gradient. `ascent`: lengths of the steps.

    Raises `ValueError` for parts that do not match and for a start outside the domain.
    """
    reach = Insert(labels, Box(0.0, 1.0) if domain is None else domain, weight)
    goal = Cancelling(loss, l2)
    return recipe(compose(Fixed(model, loss), reach, goal, train), start, ascent, steps)


def corrupted(
    model: Model,
    data: Data,
    loss: Callable[[Array, Array], Array],
    size: Float[Array, ""] | float,
    steps: int = 20,
) -> Model:
    """A model near `model` with a large loss on `data`: steepest ascent in the parameters, within a
    ball (GradPC, Sun et al. 2020).

    - `data`: rows whose weighted mean loss rises, usually validation rows.
    - `size`: radius of the ball, in units of the norm of the parameters.
    - `steps`: number of steps, each of 1/10 of the radius or less, and projected.
    """
    return _climbed(model, data, loss, size, steps)


@program
def _climbed(
    model: AbstractModel,
    data: Data,
    loss: Callable[[Array, Array], Array],
    size: Float[Array, ""] | float,
    steps: int,
) -> AbstractModel:
    moving, rest = eqx.partition(model, eqx.is_inexact_array)
    radius = size * norm(moving)

    def mean(model):
        losses = loss(data.y, model.decision(data.x))
        return jnp.sum(data.weight * losses) / jnp.sum(data.weight)

    def step(_, moved):
        at = eqx.combine(jax.tree.map(jnp.add, moving, moved), rest)
        slope = eqx.filter_grad(mean)(at)
        pace = radius / (10 * jnp.maximum(norm(slope), 1e-30))
        moved = jax.tree.map(lambda m, g: m + pace.astype(g.dtype) * g, moved, slope)
        inside = jnp.minimum(1, radius / jnp.maximum(norm(moved), 1e-30))
        return jax.tree.map(lambda m: inside.astype(m.dtype) * m, moved)

    moved = jax.lax.fori_loop(0, steps, step, jax.tree.map(jnp.zeros_like, moving))
    return eqx.combine(jax.tree.map(jnp.add, moving, moved), rest)
