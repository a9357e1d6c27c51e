"""AmIGO: a few warm-started steps of w, then of v, then one step of z."""

import jax
import jax.numpy as jnp

from .._tree import tree_add
from ._method import (
    AbstractMethod,
    Triple,
    curvature,
    draw,
    inner_products,
    outer_gradients,
    require_count,
    walk,
)


class AmIGO(AbstractMethod):
    """Amortized implicit gradient optimization: Arbel & Mairal, "Amortized implicit
    differentiation for stochastic bilevel optimization", ICLR 2022, algorithms 1 to 3.

    - `inner_steps`: stochastic gradient steps on G from the last w.
    - `adjoint_steps`: stochastic gradient steps on 1/2 v'(d2G/dw2) v + v'(dF/dw) at the new w, from
      the last v. Each step has a new mini-batch for the Hessian; all have one for dF/dw.

    The outer direction is taken at the new w and v, with the mini-batch of dF/dw and another one of
    the inner rows. Raises `ValueError` for numbers of steps below 1.
    """

    inner_steps: int = 10
    adjoint_steps: int = 10

    def __check_init__(self):
        require_count("inner_steps", self.inner_steps)
        require_count("adjoint_steps", self.adjoint_steps)

    def init(self, problem, z, w):
        return jax.tree.map(jnp.zeros_like, w), ()

    def directions(self, problem, at, memory, rates, key):
        w, v, z = at
        inner_key, adjoint_key, cross_key, outer_key = jax.random.split(key, 4)

        def rows(key):
            return draw(problem.inner_data, problem.inner_batch, key)

        def descent(w, key):
            return jax.grad(problem.inner, argnums=1)(z, w, rows(key))

        in_w, w = walk(descent, w, rates.inner, self.inner_steps, inner_key)
        outer_rows = draw(problem.outer_data, problem.outer_batch, outer_key)
        outer_z, outer_w = outer_gradients(problem.outer, z, w, outer_rows)

        def residual(v, key):
            return tree_add(curvature(problem.inner, z, w, v, rows(key)), outer_w)

        in_v, v = walk(residual, v, rates.adjoint, self.adjoint_steps, adjoint_key)
        _, _, cross = inner_products(problem.inner, z, w, v, rows(cross_key))
        return Triple(in_w, in_v, tree_add(outer_z, cross)), memory
