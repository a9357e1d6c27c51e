"""Certificates of derivatives along a path, and of objectives without an inner problem."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from ._bilevel import AbstractBilevel, AbstractObjective
from ._certificate import Certificate
from ._rounding import Noise
from ._tree import norm, tree_sub
from .derivatives import Implicit, Unroll
from .results import CONVERGED

SAFETY = 3.0
"""Factor on the first-order estimates; the tests compare the bound with exact gradients."""

DIRECTIONS, PROBES = 8, 3
"""Numbers of random directions that test a gradient, and of perturbations that sample rounding."""


def certify_path(objective: AbstractObjective, z: PyTree) -> Certificate:
    """Compare the gradient by `objective.derivative` with forward mode through the path.

    Forward mode along a random unit direction u gives the exact slope of the path; its difference
    to the gradient's is e'u, where e is the error of the gradient. In n dimensions |e|^2 is n times
    the mean of (e'u)^2. With up to `DIRECTIONS` variables u runs over all coordinate directions,
    and |e| is exact.
    """

    def evaluated(objective, z):
        def value(z):
            value, (_, info) = objective.evaluate(z)
            return value, info

        (value, info), gradient = jax.value_and_grad(value, has_aux=True)(z)
        return value, info, gradient

    def case(seed):
        """The gradient, with every array it is computed from perturbed in the last digit."""
        dtype = jax.tree.leaves(z)[0].dtype
        eps = jnp.where(seed == 0, 0, jnp.finfo(dtype).eps).astype(dtype)
        noise = Noise(seed, eps)
        return evaluated(noise.arrays(objective), noise.arrays(z))

    seeds = jnp.arange(1 + PROBES, dtype=jnp.uint32)
    values, infos, gradients = jax.lax.map(case, seeds)
    value, info, gradient = jax.tree.map(lambda leaf: leaf[0], (values, infos, gradients))
    moved = jax.vmap(lambda g: norm(tree_sub(g, gradient)))(gradients)
    path = exact_path(objective)
    flat, unravel = ravel_pytree(gradient)
    n, dtype = flat.size, flat.dtype
    if n <= DIRECTIONS:
        directions = jnp.eye(n, dtype=dtype)
    else:
        directions = jax.random.normal(jax.random.key(0), (DIRECTIONS, n), dtype)
        directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)

    def slope(direction):
        return jax.jvp(lambda z: path.evaluate(z)[0], (z,), (unravel(direction),))[1]

    slopes = jax.lax.map(slope, directions)
    sampled = jnp.sqrt(n * jnp.mean((directions @ flat - slopes) ** 2))
    exact_size = jnp.sqrt(n * jnp.mean(slopes**2))
    eps = jnp.finfo(dtype).eps
    rounding = jnp.max(moved) + eps * norm(gradient)
    bound = SAFETY * (sampled + rounding)
    solved = info.result == CONVERGED
    unlimited, nan = jnp.asarray(jnp.inf, dtype), jnp.asarray(jnp.nan, dtype)
    residual = info.stats.get("residual", nan) if isinstance(info.stats, dict) else nan
    return Certificate(
        value=value,
        gradient=gradient,
        error_bound=jnp.where(solved, bound, jnp.inf),
        inner_error=jnp.zeros((), dtype),
        adjoint_error=sampled,
        rounding_error=rounding,
        inner_residual=residual,
        adjoint_residual=sampled / jnp.maximum(norm(gradient), jnp.finfo(dtype).tiny),
        condition=nan,
        margin=unlimited,
        kink_margin=nan,
        reach=nan,
        degenerate=jnp.bool_(False),
        undetermined=jnp.bool_(False),
        # Not merely below the bound: an approximate derivative can be as wrong as it is large.
        zero=solved & (jnp.maximum(norm(gradient), exact_size) <= SAFETY * rounding),
        result=info.result,
        truth="the path" if isinstance(path, AbstractBilevel) else "the function",
        precision=str(dtype),
    )


def exact_path(objective: AbstractObjective) -> AbstractObjective:
    """The same objective with the exact derivative of its path, if it has an inner problem."""
    if isinstance(objective, AbstractBilevel) and not isinstance(objective.derivative, Implicit):
        return objective.using(objective.solver, Unroll())
    return objective
