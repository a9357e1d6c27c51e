"""Base of the solvers of smooth problems: optimality conditions, and a line search."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from ..._solver import AbstractSolver
from ..._tree import dot, norm
from ...problems import Smooth

KICKS = 2
"""How often a solve leaves a point where the gradient vanishes and the curvature is negative."""


def kick(w: Array) -> Array:
    """A small step (d,) in a fixed direction that no structure of a problem knows."""
    direction = jnp.sin(1 + jnp.arange(w.size, dtype=w.dtype) ** 2)
    size = jnp.sqrt(jnp.sum(w * w)) + 1
    return float(jnp.finfo(w.dtype).eps) ** 0.25 * size * direction / jnp.sqrt(w.size)


def move(w: PyTree, t: Array, direction: PyTree) -> PyTree:
    """Return w + t direction."""
    return jax.tree.map(lambda a, d: a + t * d, w, direction)


def descends(value: Array, new_value: Array, fall: Array, size: Array, new_size: Array) -> Array:
    """Whether to accept a step: the value falls enough (Armijo), or, if its change is below
    rounding, it does not rise and either the gradient shrinks or the expected fall is below
    rounding too.

    `fall` is the change that the slope predicts; `size` and `new_size` are norms of gradients.
    """
    eps = float(jnp.finfo(value.dtype).eps)
    noise = 8 * eps * jnp.abs(value)
    fell = new_value <= value + 1e-4 * fall
    level = (new_value <= value + noise) & ((new_size <= size) | (-fall <= noise))
    # The noise of sums that cancel is larger than `noise`; then the gradient decides.
    close = (-fall <= eps**0.5 * jnp.abs(value)) & (new_size <= 0.5 * size)
    return (fell | level | close) & jnp.isfinite(new_value)


def descend(
    value_and_grad: Callable[[PyTree], tuple[Array, PyTree]],
    w: PyTree,
    value: Array,
    gradient: PyTree,
    direction: PyTree,
) -> tuple[PyTree, Array, PyTree, Array]:
    """Halve the step until it `descends`. Returns (w, value, gradient, step length); the length is
    zero if no step was accepted.
    """
    slope, size = dot(gradient, direction), norm(gradient)

    def body(state):
        t, *_ = state
        t = jnp.where(state[3], t, t / 2)
        new = move(w, t, direction)
        new_value, new_gradient = value_and_grad(new)
        accepted = descends(value, new_value, t * slope, size, norm(new_gradient))
        return t, new, (new_value, new_gradient), jnp.bool_(False), accepted

    def go(state):
        return ~state[4] & (state[0] > 1e-10)

    start = (jnp.ones_like(value), w, (value, gradient), jnp.bool_(True), jnp.bool_(False))
    t, new, (new_value, new_gradient), _, accepted = lax.while_loop(go, body, start)

    def pick(a, b):
        return jax.tree.map(lambda x, y: jnp.where(accepted, x, y), a, b)

    return (
        pick(new, w),
        pick(new_value, value),
        pick(new_gradient, gradient),
        jnp.where(accepted, t, 0),
    )


class AbstractSmoothSolver(AbstractSolver):
    """The condition of an unconstrained smooth minimum: the gradient vanishes."""

    solves = Smooth

    def cold(self, problem: Smooth) -> PyTree:
        return problem.start

    def conditions(self, problem: Smooth, unknowns: PyTree, frozen: PyTree) -> PyTree:
        return jax.grad(problem.objective)(unknowns, problem.args)

    def value(self, problem: Smooth, unknowns: PyTree, frozen: PyTree) -> PyTree:
        return unknowns

    def slack(self, problem: Smooth, unknowns: PyTree, frozen: PyTree) -> Array:
        return jnp.zeros(0, jax.tree.leaves(unknowns)[0].dtype)
