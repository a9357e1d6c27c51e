"""What the solvers of smooth problems share: conditions, and a step that insists on descent."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from .._solver import AbstractSolver
from .._tree import dot, norm
from ..problems import Smooth


def move(w: PyTree, t: Array, direction: PyTree) -> PyTree:
    return jax.tree.map(lambda a, d: a + t * d, w, direction)


def descend(
    value_and_grad: Callable[[PyTree], tuple[Array, PyTree]],
    w: PyTree,
    value: Array,
    gradient: PyTree,
    direction: PyTree,
) -> tuple[PyTree, Array, PyTree, Array]:
    """Halve the step until the value falls enough (Armijo), or, where its differences drown in
    rounding, until it does not rise and either the gradient shrinks or no fall was to be seen.

    Returns (w, value, gradient, step length).
    """
    slope = dot(gradient, direction)
    eps = float(jnp.finfo(value.dtype).eps)
    noise = 8 * eps * jnp.abs(value)
    size = norm(gradient)

    def good(new_value, new_gradient, t):
        fell = new_value <= value + 1e-4 * t * slope
        level = (new_value <= value + noise) & (
            (norm(new_gradient) <= size) | (-t * slope <= noise)
        )
        # sums that cancel are noisier than their value tells: then the gradient decides
        close = (-t * slope <= eps**0.5 * jnp.abs(value)) & (norm(new_gradient) <= 0.5 * size)
        return (fell | level | close) & jnp.isfinite(new_value)

    def body(state):
        t, *_ = state
        t = jnp.where(state[3], t, t / 2)
        new = move(w, t, direction)
        new_value, new_gradient = value_and_grad(new)
        accepted = good(new_value, new_gradient, t)
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

    def cold(self, problem: Smooth) -> PyTree:
        return problem.start

    def conditions(self, problem: Smooth, unknowns: PyTree, frozen: PyTree) -> PyTree:
        return jax.grad(problem.objective)(unknowns, problem.args)

    def value(self, problem: Smooth, unknowns: PyTree, frozen: PyTree) -> PyTree:
        return unknowns

    def slack(self, problem: Smooth, unknowns: PyTree, frozen: PyTree) -> Array:
        return jnp.zeros(0, jax.tree.leaves(unknowns)[0].dtype)
