"""F2SA: first derivatives only, by a penalty on the inner suboptimality."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._tree import concrete, tree_sub
from ._method import AbstractMethod, Triple, draw, require_count, walk


class F2SA(AbstractMethod):
    """Fully first-order stochastic approximation: Kwon, Kwon, Wright & Nowak, "A fully first-order
    method for stochastic bilevel optimization", ICML 2023, algorithm 1.

    It descends min_y F(z, y) + lambda (G(z, y) - min_w G(z, w)). The gradient of this in z,
    dF/dz(z, y) + lambda (dG/dz(z, y) - dG/dz(z, w)), differs from the hypergradient by
    O(1 / lambda).

    - `multiplier`: lambda at the first step, > 0. `growth`: increment of lambda per step.
    - `inner_steps`: stochastic gradient steps of w and of y per step, >= 1.

    `Triple.adjoint` has y, the minimiser of the penalised objective, which starts at w;
    lambda (y - w) corresponds to the v of other methods. Directions of y are those of
    F / lambda + G, so that its step size has the scale of the inner one for any lambda. Steps of w
    and y share their mini-batches of inner rows, and so do both inner gradients in z: lambda
    multiplies differences, in which most of the noise cancels. Raises `ValueError` for values out
    of range.
    """

    multiplier: float | Float[Array, ""] = 10.0
    growth: float | Float[Array, ""] = 0.0
    inner_steps: int = 10

    def __check_init__(self):
        require_count("inner_steps", self.inner_steps)
        if concrete(self.multiplier) and not np.all(np.asarray(self.multiplier) > 0):
            raise ValueError(f"multiplier: got {self.multiplier}, expected a positive number")

    def init(self, problem, z, w):
        return w, jnp.asarray(self.multiplier, jax.tree.leaves(w)[0].dtype)

    def directions(self, problem, at, memory, rates, key):
        w, y, z = at
        walk_key, z_key = jax.random.split(key)

        def rows(key):
            inner_key, outer_key = jax.random.split(key)
            inner_rows = draw(problem.inner_data, problem.inner_batch, inner_key)
            return inner_rows, draw(problem.outer_data, problem.outer_batch, outer_key)

        def descent(w, key):
            return jax.grad(problem.inner, argnums=1)(z, w, rows(key)[0])

        def penalised(y, key):
            inner_rows, outer_rows = rows(key)

            def objective(y):
                outer = problem.outer(z, y, outer_rows)
                return outer / memory.astype(outer.dtype) + problem.inner(z, y, inner_rows)

            return jax.grad(objective)(y)

        in_w, w = walk(descent, w, rates.inner, self.inner_steps, walk_key)
        in_y, y = walk(penalised, y, rates.adjoint, self.inner_steps, walk_key)
        inner_rows, outer_rows = rows(z_key)
        in_outer = jax.grad(problem.outer)(z, y, outer_rows)
        in_inner = jax.grad(problem.inner)
        gap = tree_sub(in_inner(z, y, inner_rows), in_inner(z, w, inner_rows))
        in_z = jax.tree.map(lambda a, b: a + memory.astype(b.dtype) * b, in_outer, gap)
        return Triple(in_w, in_y, in_z), memory + jnp.asarray(self.growth, memory.dtype)
