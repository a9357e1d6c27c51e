"""The certificate of a derivative along a path: its error is that of the gradient, in all of z."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bilevel import Bilevel, certify
from bilevel.derivatives import Truncated, Unroll
from bilevel.problems import Smooth
from bilevel.results import CONVERGED, MAX_STEPS
from bilevel.solvers import Descent

RNG = np.random.default_rng(2)
A = RNG.normal(size=(5, 3))


def objective(derivative, size):
    mix = jnp.asarray(np.random.default_rng(size).normal(size=(5, size)) / size)

    def loss(w, z):
        return 0.5 * jnp.mean((A @ w - mix @ z) ** 2) + 0.05 * jnp.sum(w * w)

    return Bilevel(
        lambda z: Smooth(loss, jnp.zeros(3), z),
        lambda z, w: jnp.sum(jnp.sin(w)) + 0.1 * jnp.sum(z),
        Descent(optax.sgd(0.3), 6),
        derivative,
    )


@pytest.mark.parametrize("size", [1, 5, 8])
def test_in_few_variables_the_error_is_exact(size):
    z = jnp.asarray(RNG.normal(size=size))
    short, whole = objective(Truncated(2), size), objective(Unroll(), size)
    certificate = certify(short, z)
    off = np.linalg.norm(jax.grad(short)(z) - jax.grad(whole)(z))
    assert off > 1e-3
    np.testing.assert_allclose(certificate.adjoint_error, off, rtol=1e-9)
    assert off <= float(certificate.error_bound) <= 4 * off
    assert certificate.truth == "the path"


def test_in_many_variables_the_error_is_estimated_from_random_directions():
    """Eight directions of sixty: within a factor of two, and covered by the bound."""
    z = jnp.asarray(RNG.normal(size=60))
    short, whole = objective(Truncated(2), 60), objective(Unroll(), 60)
    certificate = certify(short, z)
    off = np.linalg.norm(jax.grad(short)(z) - jax.grad(whole)(z))
    assert 0.5 < float(certificate.adjoint_error) / off < 2
    assert float(certificate.error_bound) >= off


@pytest.mark.parametrize(("tol", "result"), [(1.0, CONVERGED), (1e-3, MAX_STEPS)])
def test_a_gradient_that_misses_the_whole_slope_is_not_called_zero(tol, result):
    """Two steps, the second in a region where z has no effect: the last step does not see it. A
    path that is no solution has no bound.
    """

    def loss(w, z):
        return jnp.sum(0.5 * w * w - w - z * jnp.minimum(w, 0.5))

    last = Bilevel(
        lambda z: Smooth(loss, jnp.zeros(1), z),
        lambda z, w: jnp.sum(w),
        Descent(optax.sgd(0.7), 2, tol),
        Truncated(1),
    )
    certificate = certify(last, jnp.ones(1))
    assert int(certificate.result) == result
    np.testing.assert_array_equal(certificate.gradient, 0)
    np.testing.assert_allclose(certificate.adjoint_error, 0.7 * 0.3, rtol=1e-12)
    np.testing.assert_allclose(certificate.inner_residual, 0.12, rtol=1e-12)  # at w = 1.12
    assert not certificate.zero
    assert np.isinf(certificate.error_bound) == (result != CONVERGED)


def test_rounding_that_turns_a_gradient_counts_whole():
    """It hardly changes its length: the second part is what is left of two large numbers."""
    z = jnp.asarray([1.0, 1e-3, 1e6, 1e6])
    found = certify(lambda z: z[0] + z[1] * z[2] - z[1] * z[3], z)
    np.testing.assert_array_equal(found.gradient, [1, 0, 1e-3, -1e-3])
    assert 1e-10 < float(found.rounding_error) < 1e-9


def test_the_rounding_error_is_the_largest_of_what_was_seen():
    """Of powers of two, which move by a whole unit each: so does the gradient, in every probe."""
    z, eps = np.array([1.0, -2, 4]), np.finfo(float).eps
    size = np.linalg.norm(z)
    found = certify(lambda z: 0.5 * z @ z + 1, jnp.asarray(z))
    np.testing.assert_array_equal(found.gradient, z)
    np.testing.assert_allclose(found.rounding_error, 2 * eps * size, rtol=1e-6)
    np.testing.assert_allclose(found.value, 1 + 0.5 * size**2)
    np.testing.assert_array_equal([found.inner_error, found.adjoint_error], 0)
    assert float(found.error_bound) >= float(found.rounding_error)
    assert not found.zero
    nothing = certify(lambda z: 0 * z @ z, jnp.asarray(z))
    assert bool(nothing.zero)
    assert float(nothing.error_bound) == 0
