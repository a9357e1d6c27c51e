"""This library, under the same rules as the others."""

from functools import partial
from typing import Any

import jax.numpy as jnp

from bilevel import argmin
from bilevel.penalties import L1
from bilevel.problems import BoxQP, PenalisedLeastSquares, Smooth
from bilevel.results import CONVERGED
from bilevel.solvers import LBFGS, ActiveSet, WorkingSet

from . import Dual, Method, Sparse, Training, hessian, loss


def _active_set(problem: Dual):
    zero = jnp.zeros_like(problem.labels)
    qp = BoxQP(problem.Q, zero - 1, zero, zero + problem.C, problem.labels, jnp.zeros(()))
    solution = argmin(qp, solver=ActiveSet(), throw=False)
    return solution.value[0], solution.result == CONVERGED


def _smooth(problem: Training, solver: LBFGS, curvature: Any):
    start = jnp.zeros(problem.columns.shape[0])
    smooth = Smooth(loss, start, problem, hessian=curvature)
    solution = argmin(smooth, solver=solver, throw=False)
    return solution.value, solution.result == CONVERGED


def _working_set(problem: Sparse):
    inner = PenalisedLeastSquares(problem.rows, problem.targets, L1(problem.lam))
    solution = argmin(inner, solver=WorkingSet(), throw=False)
    return solution.value, solution.result == CONVERGED


def duals() -> list[Method]:
    """Methods for `Dual` problems."""
    return [Method("ActiveSet() (default)", _active_set)]


def logistics() -> list[Method]:
    """Methods for `Training` problems."""
    rough = partial(hessian, dtype=jnp.float32)  # only steers: derivatives never trust it
    return [
        Method("LBFGS() (default)", partial(_smooth, solver=LBFGS(), curvature=None)),
        Method("LBFGS(), X'DX given", partial(_smooth, solver=LBFGS(), curvature=hessian)),
        Method(
            "LBFGS(rtol=.03), X'DX given in float32",
            partial(_smooth, solver=LBFGS(rtol=0.03), curvature=rough),
        ),
    ]


def lassos() -> list[Method]:
    """Methods for `Sparse` problems."""
    return [Method("WorkingSet() (default)", _working_set)]
