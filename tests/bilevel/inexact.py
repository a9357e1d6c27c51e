"""Solvers that stop short of the solution and do not know it: what a certificate must notice."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from bilevel import AbstractSolver


class Inexact(AbstractSolver):
    """A solver that stops `off` (relative) short of the solution, and does not know it."""

    exact: AbstractSolver
    off: Array

    def cold(self, problem):
        return self.exact.cold(problem)

    def run(self, problem, warm):
        point = self.exact.run(problem, warm)

        def shake(leaf):
            return leaf * (1 + self.off * jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype) + 1)
                           .reshape(leaf.shape))  # fmt: skip

        return eqx.tree_at(lambda p: p.unknowns, point, jax.tree.map(shake, point.unknowns))

    def conditions(self, problem, unknowns, frozen):
        return self.exact.conditions(problem, unknowns, frozen)

    def value(self, problem, unknowns, frozen):
        return self.exact.value(problem, unknowns, frozen)

    def backsolve(self, problem, frozen, rhs):
        return self.exact.backsolve(problem, frozen, rhs)

    def slack(self, problem, unknowns, frozen):
        return self.exact.slack(problem, unknowns, frozen)
