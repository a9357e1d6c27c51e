"""Projected gradient on quadratic programs: its end, and derivatives through its path."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel import argmin
from bilevel.derivatives import Implicit, Unroll
from bilevel.problems import BoxQP
from bilevel.solvers import ActiveSet, ProjectedGradient
from bilevel.solvers.path.projected_gradient import _project

N = 12
R = np.random.default_rng(3)
ROOT = jnp.asarray(R.normal(size=(N, N)))
Y = jnp.asarray(np.where(np.arange(N) % 2, 1.0, -1.0))


def make(z) -> BoxQP:
    Q = jnp.outer(Y, Y) * (ROOT @ ROOT.T / N + jnp.eye(N)) * jnp.exp(0.1 * z["scale"])
    return BoxQP(Q, z["q"], jnp.zeros(N), jnp.full(N, 0.4) + z["upper"], Y, z["b"])


Z = {
    "scale": jnp.asarray(0.3),
    "q": jnp.asarray(R.normal(size=N)) - 0.7,
    "upper": jnp.zeros(N),
    "b": jnp.asarray(0.05),
}


@eqx.filter_jit
def outer(z, steps, derivative):
    solution = argmin(make(z), solver=ProjectedGradient(steps), derivative=derivative)
    x, nu = solution.value
    return jnp.sum(jnp.sin(3 * x) * jnp.arange(1.0, N + 1)) + nu**2


def test_it_ends_where_active_sets_do() -> None:
    x, nu = argmin(make(Z), solver=ActiveSet()).value
    ours, our_nu = argmin(make(Z), solver=ProjectedGradient(2000), derivative=Unroll()).value
    np.testing.assert_allclose(ours, x, atol=1e-12)
    np.testing.assert_allclose(our_nu, nu, rtol=1e-10)
    assert 0 < int(jnp.sum((x > 0) & (x < 0.4))) < N


def test_the_path_is_differentiated_exactly() -> None:
    both = jax.jit(jax.value_and_grad(lambda z: outer(z, 20, Unroll())))
    gradient, h = both(Z)[1], 1e-5
    for name, leaf in Z.items():
        direction = R.normal(size=leaf.shape)
        ahead, behind = (
            both({**Z, name: np.asarray(leaf) + s * h * direction})[0] for s in (1, -1)
        )
        difference = (ahead - behind) / (2 * h)
        slope = np.sum(gradient[name] * direction)
        assert abs(slope - difference) < 1e-8 * max(1, abs(difference)), name


@pytest.mark.slow
def test_the_end_of_a_long_path_has_the_implicit_gradient() -> None:
    def implicit(z):
        x, nu = argmin(make(z), solver=ActiveSet()).value
        return jnp.sum(jnp.sin(3 * x) * jnp.arange(1.0, N + 1)) + nu**2

    exact, unrolled = jax.grad(implicit)(Z), jax.grad(outer)(Z, 2000, Unroll(2))
    for name in Z:
        np.testing.assert_allclose(unrolled[name], exact[name], rtol=1e-8, atol=1e-8)


def test_without_an_equality_it_is_a_clip() -> None:
    qp = BoxQP(jnp.eye(3), jnp.asarray([-2.0, 0.5, -0.3]), jnp.zeros(3), jnp.ones(3))
    x, _ = argmin(qp, solver=ProjectedGradient(50), derivative=Unroll()).value
    np.testing.assert_allclose(x, [1, 0, 0.3], atol=1e-12)


def test_rows_whose_entries_cancel_have_a_rate_by_their_sizes() -> None:
    Q = jnp.asarray([[1.0, -0.5, -0.5], [-0.5, 1.0, -0.4], [-0.5, -0.4, 1.0]])
    qp = BoxQP(Q, jnp.asarray([0.4, 0.1, -0.2]), -jnp.ones(3), jnp.ones(3))
    x, _ = argmin(qp, solver=ProjectedGradient(50), derivative=Unroll()).value
    np.testing.assert_allclose(x, argmin(qp, solver=ActiveSet()).value[0], atol=1e-4)


def test_an_implicit_derivative_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="ProjectedGradient is a path"):
        jax.grad(outer)(Z, 5, Implicit())


@pytest.mark.parametrize(
    ("arguments", "sentence"), [({"steps": 0}, "steps: got 0"), ({"rate": -1.0}, "rate: got -1")]
)
def test_bad_settings_get_a_sentence(arguments, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        ProjectedGradient(**{"steps": 5, **arguments})


@pytest.mark.parametrize(
    ("lower", "upper", "e", "b", "x"),
    [
        ((100, 100), (np.inf, np.inf), (1, 1), 250, (125, 125)),
        ((-np.inf, -np.inf), (-100, -100), (1, 1), -250, (-125, -125)),
        ((100, 400), (np.inf, np.inf), (1, 1), 550, (150, 400)),
        ((100, -np.inf), (np.inf, -100), (1, -1), 250, (125, -125)),
        ((100, -20, -np.inf), (np.inf, np.inf, np.inf), (1, 1, 1), 0, (100, -20, -80)),
        ((-np.inf, -np.inf, -np.inf), (-100, 20, np.inf), (1, 1, 1), 0, (-100, 20, 80)),
        ((0, 0), (1, 1), (1, 1), 1.5, (0.75, 0.75)),
        ((-np.inf, -np.inf), (np.inf, np.inf), (2, 1), 5, (2, 1)),
    ],
)
def test_the_nearest_point_is_found_however_far_its_bounds_are(lower, upper, e, b, x):
    """Of zero; the multiplier is that of x = clip(-nu e)."""
    low, high, row = (jnp.asarray(np.asarray(side, float)) for side in (lower, upper, e))
    origin = jnp.zeros(len(x))
    qp = BoxQP(jnp.eye(len(x)), origin, low, high, row, jnp.asarray(float(b)))
    found, nu = nearest(qp, origin)
    np.testing.assert_allclose(found, x, rtol=1e-12)
    np.testing.assert_allclose(np.clip(-float(nu) * np.array(e), lower, upper), x, rtol=1e-12)


nearest = jax.jit(_project)
