"""Certificates of problems so small that every number in them is known."""

import equinox as eqx
import exact_svm
import jax.numpy as jnp
import numpy as np
import pytest
from inexact import Inexact
from jaxtyping import Array

from bilevel import Bilevel, certify
from bilevel.problems import BoxQP, Smooth
from bilevel.solvers import ActiveSet, Newton

EPS = np.finfo(float).eps
extended = pytest.mark.skipif(not exact_svm.EXTENDED, reason="long double is no wider here")


class Ridge(eqx.Module):
    """min_w |Xw - y|^2 / 2 + exp(t) |w|^2 / 2, whose derivatives have closed forms."""

    X: Array
    y: Array

    def __call__(self, w, t):
        return 0.5 * jnp.sum((self.X @ w - self.y) ** 2) + 0.5 * jnp.exp(t) * jnp.sum(w * w)


def ridge_objective(seed, off):
    rng = np.random.default_rng(seed)
    X, y, c = rng.normal(size=(12, 4)), rng.normal(size=12), rng.normal(size=4)
    loss = Ridge(jnp.asarray(X), jnp.asarray(y))
    objective = Bilevel(
        inner_problem=lambda t: Smooth(loss, jnp.zeros(4), t),
        outer_objective=lambda t, w: jnp.sum(jnp.sin(w - jnp.asarray(c))),
        solver=Inexact(Newton(), jnp.asarray(off)),
    )
    t = -1.0
    X, y, shift = (np.asarray(a, np.longdouble) for a in (X, y, c))
    H = X.T @ X + np.exp(np.longdouble(t)) * np.eye(4)
    w = exact_svm.lu_solve(H, X.T @ y)
    v = exact_svm.lu_solve(H, np.cos(w - shift))
    return objective, jnp.asarray(t), -np.exp(np.longdouble(t)) * (v @ w)


@extended
@pytest.mark.parametrize("off", [0.0, 1e-8, 1e-5])
def test_the_bound_holds_for_a_smooth_problem(off):
    for seed in range(3):
        objective, t, true = ridge_objective(seed, off)
        certificate = certify(objective, t)
        error = abs(float(np.longdouble(float(certificate.gradient)) - true))
        assert error <= float(certificate.error_bound)
        assert float(certificate.error_bound) <= 100 * max(error, EPS * abs(float(true)))
        assert not bool(certificate.degenerate)
        assert float(certificate.margin) == np.inf


def projection(z):
    """The nearest point of a box: a kink of every coordinate at both of its bounds."""
    return BoxQP(jnp.eye(3), -z, jnp.zeros(3), jnp.ones(3))


NEAREST = Bilevel(
    inner_problem=projection,
    outer_objective=lambda z, value: jnp.sum(value[0] ** 2),
    solver=ActiveSet(),
)


@pytest.mark.parametrize("at", [0.0, 1.0])
def test_a_variable_at_its_bound_without_a_multiplier_is_degenerate(at):
    certificate = certify(NEAREST, jnp.array([0.5, 0.4, at]))
    assert bool(certificate.degenerate)
    assert float(certificate.margin) == 0
    assert float(certificate.error_bound) == np.inf
    for near in (at - 1e-6, at + 1e-6):
        certificate = certify(NEAREST, jnp.array([0.5, 0.4, near]))
        assert not bool(certificate.degenerate)
        np.testing.assert_allclose(certificate.margin, 1e-6, rtol=1e-9)
        inside = 0 < near < 1
        np.testing.assert_allclose(
            certificate.gradient, [1.0, 0.8, 2 * near if inside else 0], rtol=1e-13
        )


def test_an_exactly_zero_gradient_is_reported():
    certificate = certify(NEAREST, jnp.array([2.0, -1.0, 3.0]))
    assert bool(certificate.zero)
    assert not bool(certificate.degenerate)
    assert float(certificate.error_bound) == 0
    assert "ZERO" in str(certificate)
    assert not bool(certify(NEAREST, jnp.array([2.0, 0.5, 3.0])).zero)
