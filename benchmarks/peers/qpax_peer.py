"""qpax (Tracy & Manchester 2024): an interior point method; smoothed derivatives.

It differentiates not the solution but that of a relaxed problem, whose complementarity products
equal `target_kappa`. The default, 1e-3, is what its gradients are off by; nothing stands in the
way of 1e-20 in float64. Both of its loops then run to `max_iter`, for the first cannot meet
`solver_tol`: it keeps slacks and multipliers above 1.5e-8.
"""

from typing import Any

import jax.numpy as jnp

from . import Dual, Method, load


def _solver(**settings: Any):
    qpax = load("qpax")

    def solve(problem: Dual):
        Q, labels, C = problem
        n = labels.shape[0]
        identity = jnp.eye(n)
        box = jnp.concatenate([-identity, identity])
        limits = jnp.concatenate([jnp.zeros(n), jnp.full(n, C)])
        a = qpax.solve_qp_primal(
            Q, -jnp.ones(n), labels[None], jnp.zeros(1), box, limits, **settings
        )
        return a, None  # whether it converged is dropped on the way

    return solve


def duals() -> list[Method]:
    """Methods for `Dual` problems."""
    tight = {"solver_tol": 1e-15, "target_kappa": 1e-20, "max_iter": 10}
    name = "solver_tol=1e-15, target_kappa=1e-20, max_iter=10"
    return [Method("default", _solver()), Method(name, _solver(**tight))]


def logistics() -> list[Method]:
    """None: it has only quadratic programs."""
    return []


def lassos() -> list[Method]:
    """None: as a quadratic program in 2d variables a LASSO is beyond a dense interior point."""
    return []
