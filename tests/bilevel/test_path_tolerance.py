"""A path that ends above its `tol` has failed, and one that ends below it has not: every solver."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bilevel import argmin
from bilevel.derivatives import Unroll
from bilevel.penalties import L1
from bilevel.problems import BoxQP, Composite, FixedPoint, Smooth
from bilevel.results import CONVERGED, MAX_STEPS
from bilevel.solvers import Descent, Momentum, Picard, ProjectedGradient, ProximalGradient

START = np.array([0.4, -0.3])


def loss(w, z):
    return 0.5 * jnp.sum((w - z) ** 2)


SMOOTH = Smooth(loss, START, jnp.ones(2))
CASES = {
    "Descent": (Descent(optax.sgd(0.3), 2), SMOOTH),
    "Momentum": (Momentum(2, 0.3, 0.5), SMOOTH),
    "Picard": (Picard(2), FixedPoint(lambda w, z: 0.5 * w + z, START, jnp.ones(2))),
    "ProjectedGradient": (
        ProjectedGradient(2), BoxQP(np.diag([1.0, 0.2]), -START, *np.array([[-9, -9], [9, 9]])),
    ),
    "ProximalGradient": (ProximalGradient(2, 0.3), Composite(loss, L1(0.1), START, jnp.ones(2))),
}  # fmt: skip


@eqx.filter_jit
def ended(solver, problem, tol):
    solver = eqx.tree_at(lambda solver: solver.tol, solver, tol)
    solution = argmin(problem, solver=solver, derivative=Unroll(), throw=False)
    return solution.result, solution.stats["residual"]


@pytest.mark.parametrize("name", CASES)
def test_a_path_has_failed_if_it_ends_above_its_tolerance(name):
    solver, problem = CASES[name]
    assert solver.tol == np.inf
    result, residual = ended(solver, problem, np.array(np.inf))
    assert int(result) == CONVERGED
    assert 1e-6 < residual < 10
    for share, code in ((0.9, MAX_STEPS), (1.1, CONVERGED)):
        assert int(ended(solver, problem, share * np.asarray(residual))[0]) == code
