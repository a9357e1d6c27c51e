"""Whatever the solver and the derivative: an objective is one function, whose value `maximize`
reports, whose gradient `jax.grad` returns, and that is what `certify` certifies.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bilevel import Bilevel, certify, maximize, minimize
from bilevel.derivatives import (
    ApproximateReversal,
    BackGradient,
    Forward,
    Implicit,
    Truncated,
    Unroll,
)
from bilevel.linear import CG, GMRES, Dense, Neumann
from bilevel.penalties import L1
from bilevel.problems import BoxQP, Composite, FixedPoint, PenalisedLeastSquares, Smooth, Stochastic
from bilevel.solvers import (
    FISTA,
    LBFGS,
    ActiveSet,
    Anderson,
    Descent,
    Momentum,
    Newton,
    NewtonCG,
    PrimalDual,
    ProjectedGradient,
    ProximalGradient,
    WorkingSet,
)

RNG = np.random.default_rng(3)
X, Y = jnp.asarray(RNG.normal(size=(12, 3))), jnp.asarray(RNG.normal(size=12))
WANTED = jnp.asarray([0.5, -0.4, 0.3])
Z = jnp.asarray([0.3, -0.2, 0.1])
GRAM = X.T @ X / 12 + 0.2 * jnp.eye(3)


def loss(w, z):
    return jnp.mean(jnp.log(jnp.cosh(X @ w - Y - X @ z))) + 0.1 * jnp.sum(w * w)


def smooth(z):
    return Smooth(loss, jnp.zeros(3), z)


def batches(z):
    def drawn(w, z, key):
        rows = jax.random.choice(key, 12, (6,))
        return jnp.mean(jnp.log(jnp.cosh(X[rows] @ w - Y[rows] - X[rows] @ z)))

    return Stochastic(drawn, jnp.zeros(3), z, jax.random.key(1))


def box(z):
    return BoxQP(GRAM, -z, -0.4 * jnp.ones(3), 0.4 * jnp.ones(3))


def lasso(z):
    return PenalisedLeastSquares(X, Y + X @ z, L1(0.05))


def composite(z):
    return Composite(lambda w, z: loss(w, z), L1(0.02), jnp.zeros(3), z)


def fixed(z):
    return FixedPoint(lambda w, z: 0.4 * jnp.tanh(GRAM @ w + z), jnp.zeros(3), z)


def distance(z, w):
    return -jnp.sum((w - WANTED) ** 2) - 0.1 * jnp.sum(z * z)


def of_pair(z, value):
    return distance(z, value[0])


def of_point(z, value):
    return distance(z, value[0])


SGD = Descent(optax.sgd(0.5, momentum=0.5), steps=12)
CASES = {
    "Newton": (smooth, distance, Newton(), Implicit()),
    "NewtonCG, CG": (smooth, distance, NewtonCG(), Implicit(CG())),
    "LBFGS, Dense": (smooth, distance, LBFGS(), Implicit(Dense())),
    "Newton, GMRES": (smooth, distance, Newton(), Implicit(GMRES())),
    "Newton, Neumann": (smooth, distance, LBFGS(), Implicit(Neumann(8))),
    "Anderson": (fixed, distance, Anderson(), Implicit(GMRES())),
    "ActiveSet": (box, of_pair, ActiveSet(), Implicit()),
    "PrimalDual": (box, of_point, PrimalDual(), Implicit()),
    "WorkingSet": (lasso, distance, WorkingSet(), Implicit()),
    "FISTA": (composite, distance, FISTA(), Implicit()),
    "Descent, Unroll": (smooth, distance, SGD, Unroll()),
    "Descent, Unroll(2)": (smooth, distance, SGD, Unroll(2)),
    "Adam, Unroll": (smooth, distance, Descent(optax.adam(0.1), 12), Unroll()),
    "batches, Unroll": (batches, distance, SGD, Unroll()),
    "Descent, Forward": (smooth, distance, SGD, Forward()),
    "Descent, Truncated": (smooth, distance, SGD, Truncated(2)),
    "Descent, ApproximateReversal": (
        smooth, distance, Descent(optax.sgd(0.5), 12), ApproximateReversal(0.5),
    ),
    "Momentum, BackGradient": (smooth, distance, Momentum(12, 0.5, 0.5), BackGradient()),
    "batches, BackGradient": (batches, distance, Momentum(12, 0.5, 0.5), BackGradient()),
    "Momentum, Unroll": (smooth, distance, Momentum(12, 0.5, 0.5), Unroll()),
    "ProximalGradient, Unroll": (composite, distance, ProximalGradient(12, 0.5), Unroll()),
    "ProjectedGradient, Unroll": (box, of_pair, ProjectedGradient(12), Unroll()),
}  # fmt: skip
APPROXIMATE = ("Newton, Neumann", "Descent, Truncated", "Descent, ApproximateReversal")


def objective_of(name: str) -> Bilevel:
    inner, outer, solver, derivative = CASES[name]
    return Bilevel(inner, outer, solver, derivative)


REST = {"Newton, GMRES", "Descent, Unroll(2)", "Adam, Unroll", "Momentum, Unroll", "LBFGS, Dense"}
every_case = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in REST)) for name in CASES]
)


def assert_value_of(run, name):
    objective = objective_of(name)
    result = run(objective, Z, steps=6)
    np.testing.assert_allclose(objective(result.z), result.value, rtol=1e-12)


@every_case
def test_the_value_of_a_run_is_that_of_the_objective_there(name):
    assert_value_of(maximize, name)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "Newton")) for n in CASES]
)
def test_the_value_of_a_run_that_minimises_too(name):
    assert_value_of(minimize, name)


@every_case
def test_what_is_certified_is_the_gradient_that_jax_returns(name):
    objective = objective_of(name)
    certificate, gradient = certify(objective, Z), jax.grad(objective)(Z)
    np.testing.assert_allclose(certificate.value, objective(Z), rtol=1e-12)
    size = float(jnp.linalg.norm(gradient))
    np.testing.assert_allclose(certificate.gradient, gradient, rtol=1e-12, atol=1e-12 * size)
    # The truth by central differences of order four, good to about 1e-11 here.
    path = not objective.solver.converges
    exact = objective.using(objective.solver, Unroll()) if path else objective
    true = []
    for along in jnp.eye(3):
        near, far = (exact(Z + t * along) - exact(Z - t * along) for t in (1e-3, 2e-3))
        true.append(float(8 * near - far) / 12e-3)
    error = float(np.linalg.norm(np.asarray(gradient) - np.asarray(true)))
    bound = float(certificate.error_bound)
    assert np.isfinite(bound)
    assert error <= bound + 1e-9 * size
    if name in APPROXIMATE:
        assert error > 1e-6 * size  # so that the bound is put to the test
        assert bound < 100 * error
    else:
        assert bound < 1e-8 * size


def test_a_plain_function_is_climbed_and_certified():
    def function(z):
        return -jnp.sum((z - WANTED) ** 2)

    result = maximize(function, np.zeros(3, int), steps=100)
    np.testing.assert_allclose(result.z, WANTED, atol=0.02)
    certificate = certify(function, Z)
    assert certificate.truth == "the function"
    np.testing.assert_allclose(certificate.gradient, -2 * (Z - WANTED), rtol=1e-12)
    assert float(certificate.error_bound) < 1e-14
    with pytest.raises(ValueError, match=r"^objective: got a list"):
        maximize([1.0], Z)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: maximize(objective_of("Newton"), "x"), r"^z0: got a str"),
        (
            lambda: maximize(objective_of("Newton"), Z, steps=2.5),  # pyright: ignore
            r"^steps: got 2.5",
        ),
        (lambda: maximize(objective_of("Newton"), Z, patience=0), r"^patience: got 0"),
        (lambda: certify(objective_of("Newton"), jnp.asarray([1j, 1, 1])), r"^z: got complex128"),
    ],
)
def test_arguments_that_make_no_sense_are_named(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
