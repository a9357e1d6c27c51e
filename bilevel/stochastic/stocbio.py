"""StocBiO: warm-started steps of w, and the adjoint by a truncated Neumann series."""

import jax
from jax import lax

from .._tree import tree_add
from ._method import (
    AbstractMethod,
    Triple,
    curvature,
    draw,
    inner_products,
    outer_gradients,
    require_count,
    step_back,
    walk,
)


class StocBiO(AbstractMethod):
    """Stochastic bilevel optimizer: Ji, Yang & Liang, "Bilevel optimization: convergence analysis
    and enhanced design", ICML 2021, algorithms 2 and 3.

    - `inner_steps`: stochastic gradient steps on G from the last w.
    - `terms`: products in the series v = -eta sum_i (I - eta d2G/dw2)^i dF/dw, i = 0 to `terms`,
      each with a new mini-batch; eta is the step size of the adjoint, below 2 / L. The bias of the
      series is (1 - eta mu)^(terms + 1) and does not vanish with more steps.

    The series is computed again at each step, and `Triple.adjoint` is empty. All mini-batches of
    inner rows have one size (in the paper they shrink along the series). Raises `ValueError` for
    numbers below 1.
    """

    inner_steps: int = 10
    terms: int = 10

    def __check_init__(self):
        require_count("inner_steps", self.inner_steps)
        require_count("terms", self.terms)

    def init(self, problem, z, w):
        return (), ()

    def directions(self, problem, at, memory, rates, key):
        w, _, z = at
        inner_key, series_key, cross_key, outer_key = jax.random.split(key, 4)

        def rows(key):
            return draw(problem.inner_data, problem.inner_batch, key)

        def descent(w, key):
            return jax.grad(problem.inner, argnums=1)(z, w, rows(key))

        in_w, w = walk(descent, w, rates.inner, self.inner_steps, inner_key)
        outer_rows = draw(problem.outer_data, problem.outer_batch, outer_key)
        outer_z, outer_w = outer_gradients(problem.outer, z, w, outer_rows)

        def more(index, carry):
            term, total = carry
            batch = rows(jax.random.fold_in(series_key, index))
            term = step_back(term, rates.adjoint, curvature(problem.inner, z, w, term, batch))
            return term, tree_add(total, term)

        _, total = lax.fori_loop(0, self.terms, more, (outer_w, outer_w))
        v = jax.tree.map(lambda leaf: -rates.adjoint.astype(leaf.dtype) * leaf, total)
        _, _, cross = inner_products(problem.inner, z, w, v, rows(cross_key))
        return Triple(in_w, (), tree_add(outer_z, cross)), memory
