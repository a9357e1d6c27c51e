"""Base of the solvers of fixed points: their condition, and its linear systems."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._solver import AbstractSolver
from .._tree import tree_sub
from ..linear import GMRES
from ..problems import FixedPoint


class AbstractEquilibrium(AbstractSolver):
    """The condition w - map(w, args) = 0, whose Jacobian need not be symmetric.

    GMRES solves its systems by products, so that no matrix is formed.
    """

    symmetric = False
    solves = FixedPoint

    def cold(self, problem: FixedPoint) -> PyTree:
        return problem.start

    def conditions(self, problem: FixedPoint, unknowns: PyTree, frozen: PyTree) -> PyTree:
        return tree_sub(unknowns, problem.map(unknowns, problem.args))

    def value(self, problem: FixedPoint, unknowns: PyTree, frozen: PyTree) -> PyTree:
        return unknowns

    def backsolve(self, problem: FixedPoint, frozen: PyTree, rhs: PyTree) -> PyTree:
        _, product = jax.linearize(lambda w: self.conditions(problem, w, None), frozen)
        return GMRES(precondition=False).solve(product, lambda r: r, rhs)

    def backsolve_transposed(self, problem: FixedPoint, frozen: PyTree, rhs: PyTree) -> PyTree:
        _, pull = jax.vjp(lambda w: self.conditions(problem, w, None), frozen)
        return GMRES(precondition=False).solve(lambda v: pull(v)[0], lambda r: r, rhs)

    def slack(self, problem: FixedPoint, unknowns: PyTree, frozen: PyTree) -> Array:
        return jnp.zeros(0, jax.tree.leaves(unknowns)[0].dtype)
