"""Comparison of directional derivatives by reverse mode with central differences."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PRNGKeyArray, PyTree

from .._program import compiled

STEPS = tuple(10.0 ** (-k / 2) for k in range(4, 17))
"""Steps relative to the size of the argument. A wrong derivative disagrees at all of them."""


def numbers(tree: PyTree) -> Array:
    """The floating arrays of a tree in one vector of the widest dtype among them."""
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    if not leaves:
        return jnp.zeros(0)
    dtype = jnp.result_type(*[jnp.zeros((), leaf.dtype) for leaf in leaves])
    return jnp.concatenate([leaf.astype(dtype).ravel() for leaf in leaves])


def difference(
    function: Callable[[PyTree], PyTree],
    x: PyTree,
    key: PRNGKeyArray,
    slope: Callable[[PyTree, PyTree], Array] | None = None,
) -> float:
    """Relative difference between the derivative of `function` at x and its central differences,
    for a random direction and a random cotangent; zero if rounding exceeds every slope.

    `slope(x, direction)` replaces the derivative by reverse mode (for a scalar function).
    """
    leaves, structure = jax.tree.flatten(x)
    moving = [eqx.is_inexact_array(leaf) and leaf.size > 0 for leaf in leaves]
    if not any(moving):
        return 0.0

    # Drawn outside of the program: each of a dozen would compile a generator of its own.
    moved = [leaf for leaf, m in zip(leaves, moving, strict=True) if m]

    def whole(moved):
        """x, of which all other leaves stay as they are."""
        parts = iter(moved)
        return structure.unflatten(
            [next(parts) if m else leaf for leaf, m in zip(leaves, moving, strict=True)]
        )

    result = jax.eval_shape(lambda moved: numbers(function(whole(moved))), moved)
    first, second = jax.random.split(key)
    shape = (sum(leaf.size for leaf in moved),)
    unit = jax.random.normal(first, shape, jnp.result_type(*moved))
    cotangent = jax.random.normal(second, result.shape, result.dtype)

    @partial(compiled, effort=0)
    def measure(moved, unit, cotangent):
        flat, unravel = ravel_pytree(moved)

        def tree(flat):
            return whole(unravel(flat))

        def run(flat):
            return numbers(function(tree(flat)))

        sizes = ravel_pytree([jnp.full(leaf.shape, _size(leaf)) for leaf in moved])[0]
        direction = unit * sizes
        base, pull = jax.vjp(run, flat) if slope is None else (run(flat), None)
        if pull is None:
            cotangent = jnp.ones_like(base)
            expected = slope(tree(flat), tree(direction))  # pyright: ignore
        else:
            expected = jnp.vdot(pull(cotangent)[0], direction)

        steps = jnp.asarray(STEPS, flat.dtype)
        ahead, behind = jnp.split(
            lax.map(lambda h: run(flat + h * direction), jnp.concatenate([steps, -steps])), 2
        )
        slopes = (ahead - behind) @ cotangent / (2 * steps)
        noise = 20 * jnp.finfo(base.dtype).eps * jnp.vdot(jnp.abs(cotangent), jnp.abs(base)) / steps
        gap = jnp.abs(slopes - expected)
        scale = jnp.maximum(jnp.abs(slopes), jnp.abs(expected))
        # The bound on rounding counts as error, unless it exceeds the slope at every step.
        errors = jnp.maximum(gap, noise) / jnp.where(scale > 0, scale, 1)
        nothing = jnp.all(scale <= noise)
        return jnp.where(nothing, 0, jnp.min(errors))

    return float(measure(moved, unit, cotangent))


def _size(leaf: Array) -> Array:
    """The unit of steps of a leaf: its root mean square, or one if that is zero."""
    size = jnp.sqrt(jnp.mean(leaf * leaf))
    return jnp.where(size > 0, size, 1)


def narrowed(function: Callable[..., Any], *arguments: Any) -> str | None:
    """`float64 -> float32`, for example, if the function casts to fewer bits; otherwise None."""
    arrays, static = eqx.partition(arguments, eqx.is_array)
    return _narrowing(jax.make_jaxpr(lambda a: numbers(function(*eqx.combine(a, static))))(arrays))


def _narrowing(program: Any) -> str | None:
    if isinstance(program, ClosedJaxpr):
        program = program.jaxpr
    if isinstance(program, list | tuple):
        return next(filter(None, map(_narrowing, program)), None)
    if not isinstance(program, Jaxpr):
        return None
    for equation in program.eqns:
        if equation.primitive.name == "convert_element_type":
            old, new = equation.invars[0].aval.dtype, equation.outvars[0].aval.dtype  # pyright: ignore
            floating = all(jnp.issubdtype(dtype, jnp.floating) for dtype in (old, new))
            if floating and old.itemsize > new.itemsize:
                return f"{old} -> {new}"
        inner = _narrowing(list(equation.params.values()))
        if inner is not None:
            return inner
    return None
