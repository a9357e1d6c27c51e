"""SOBA: one stochastic gradient step for each of the three variables at once."""

import jax
import jax.numpy as jnp

from .._tree import tree_add
from ._method import AbstractMethod, Triple, draw, inner_products, outer_gradients


class SOBA(AbstractMethod):
    """Stochastic bilevel algorithm: Dagréou, Ablin, Vaiter & Moreau, "A framework for bilevel
    optimization that enables stochastic and global variance reduction algorithms", NeurIPS 2022.

    The directions dG/dw, (d2G/dw2) v + dF/dw and dF/dz + (d2G/dz dw) v are taken at the same point
    on one mini-batch of each level. They are linear in the rows, hence unbiased. Their noise does
    not vanish, so that step sizes must fall for convergence.
    """

    def init(self, problem, z, w):
        return jax.tree.map(jnp.zeros_like, w), ()

    def directions(self, problem, at, memory, rates, key):
        w, v, z = at
        inner_key, outer_key = jax.random.split(key)
        rows = draw(problem.inner_data, problem.inner_batch, inner_key)
        outer_rows = draw(problem.outer_data, problem.outer_batch, outer_key)
        in_w, curved, cross = inner_products(problem.inner, z, w, v, rows)
        outer_z, outer_w = outer_gradients(problem.outer, z, w, outer_rows)
        return Triple(in_w, tree_add(curved, outer_w), tree_add(outer_z, cross)), memory
