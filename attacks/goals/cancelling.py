"""Stationarity: the gradient of the training loss at a given model."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from bilevel.learners import AbstractDeepModel, AbstractModel
from bilevel.tools import dot

from ._goal import AbstractGoal


class Cancelling(AbstractGoal):
    """-1/2 |gradient of the training loss in the model's parameters|^2, at the given model.

    With `learners.Fixed(model)` the attacker seeks rows whose gradients cancel those of the clean
    rows: training from that model then stays there (Lu et al., ICML 2023). No training
    is unrolled. At a score of 0 the model is stationary.

    - `loss(y, f)`: of the victim's training, whose objective is its weighted mean over the rows.
    - `l2`: strength of the victim's 1/2 |w|^2, for all parameters or a pytree prefix of them.
    """

    loss: Callable[[Array, Array], Array]
    l2: PyTree = 0.0

    def check(self, data):
        check_labels = getattr(self.loss, "check", None)
        if check_labels is not None:
            check_labels(data.y, "y")

    def score(self, model, world, *, key=None):
        slope = gradient(model, world.train, self.loss, self.l2, key)
        return -0.5 * dot(slope, slope)


def gradient(model, data, loss: Callable, l2: PyTree = 0.0, key=None) -> PyTree:
    """Gradient of the weighted mean loss of `data`, with 1/2 l2 |w|^2, in the parameters of a
    model; a pytree with their structure.
    """
    parameters, rest = eqx.partition(_parameters(model), eqx.is_inexact_array)

    def mean(parameters) -> Float[Array, ""]:
        whole = _with(model, eqx.combine(parameters, rest))
        losses = loss(data.y, whole.decision(data.x, key=key))
        squares = jax.tree.map(
            lambda l2, part: jnp.asarray(l2, losses.dtype) * dot(part, part), l2, parameters
        )
        penalty = 0.5 * sum(jax.tree.leaves(squares))
        return jnp.sum(data.weight * losses) / jnp.sum(data.weight) + penalty

    return jax.grad(mean)(parameters)


def _parameters(model: AbstractModel) -> PyTree:
    """Of a network its parameters; of another model all its arrays."""
    return model.parameters if isinstance(model, AbstractDeepModel) else model


def _with(model: AbstractModel, parameters: PyTree) -> AbstractModel:
    if isinstance(model, AbstractDeepModel):
        return eqx.tree_at(lambda m: m.parameters, model, parameters)
    return parameters
