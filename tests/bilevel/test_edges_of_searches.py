"""Edges of searches: single steps by hand of Newton's methods, and the rounds of FISTA."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel.penalties import L1
from bilevel.problems import Composite, Smooth
from bilevel.results import CONVERGED, MAX_STEPS
from bilevel.solvers import FISTA, Newton, NewtonCG


def test_a_step_of_newton_counts_once_however_often_it_is_halved() -> None:
    """On sqrt(1 + w^2) it leads from w to -w^3: too far at 2, even as a half; then a quarter."""
    problem = Smooth(lambda w, args: jnp.sum(jnp.sqrt(1 + w * w)), jnp.array([2.0]), ())

    @eqx.filter_jit
    def run(most):
        return eqx.tree_at(lambda s: s.max_steps, Newton(), most).run(problem, problem.start)

    for most, w in ((1, -0.5), (2, 0.125), (3, -(0.125**3))):
        point = run(jnp.int32(most))
        np.testing.assert_allclose(point.unknowns, w, rtol=1e-12)
        assert (int(point.result), int(point.stats["steps"])) == (MAX_STEPS, most)
        np.testing.assert_allclose(point.stats["residual"], abs(w) / np.sqrt(1 + w * w))
    over = run(jnp.int32(100))
    assert int(over.result) == CONVERGED
    assert int(over.stats["steps"]) < 20


@pytest.mark.parametrize(
    ("bent", "start", "length"),
    [
        ((2.0, -0.5), (1.0, 1.0), 4.25 / 7.875),  # to where the curvature along the slope ends
        ((2.0, -0.5), (0.1, 1.0), 1.0),  # no curvature along the slope: the slope itself
        ((4.0, 4.0), (1.0, -2.0), 0.25),
    ],
)
def test_what_was_found_before_the_curvature_turns_is_a_step(bent, start, length) -> None:
    def loss(w, bent):
        return 0.5 * jnp.sum(bent * w * w)

    point = one_step(Smooth(loss, jnp.asarray(start), jnp.asarray(bent)))
    step = length * np.array(bent) * np.array(start)
    np.testing.assert_allclose(point.unknowns, start - step, rtol=1e-12, atol=1e-15)
    assert int(point.stats["steps"]) == 1
    left = np.linalg.norm(np.array(bent) * np.asarray(point.unknowns))
    np.testing.assert_allclose(point.stats["residual"], left, atol=1e-15)


@eqx.filter_jit
def one_step(problem: Smooth):
    return NewtonCG(max_steps=1).run(problem, problem.start)


def test_proximal_steps_are_counted_over_all_rounds() -> None:
    """Of a quadratic in the unit of its curvature, without Newton's method. The length 1 / 0.9 is
    too long; then they grow by 1 / 0.9, and the second round of two steps begins at rest.
    """
    problem = Composite(lambda w, g: 1.5 * jnp.sum((w - g) ** 2), L1(0.0), jnp.ones(1), 5.0)
    cold = problem.start

    @eqx.filter_jit
    def run(most):
        solver = FISTA(patience=1, max_newton_steps=0)
        return eqx.tree_at(lambda s: s.max_steps, solver, most).run(problem, cold)

    left = -4.0
    for most, steep in ((1, 1.8), (2, 1.62), (3, 1.458)):
        left *= 1 - 1 / steep
        point = run(jnp.int32(most))
        np.testing.assert_allclose(point.unknowns, 5 + left, rtol=1e-12)
        assert (int(point.result), int(point.stats["steps"])) == (MAX_STEPS, most)


def test_newton_s_method_on_a_face_goes_on_while_its_steps_are_long() -> None:
    """From far up an exponential each is of length one: the least |w| of slope 2 is at log(3)."""

    @jax.jit
    def run(start):
        problem = Composite(lambda w, c: jnp.sum(jnp.exp(w) - c * w), L1(1.0), start, 4.0)
        point = FISTA().run(problem, start)
        return FISTA().value(problem, point.unknowns, point.frozen), point.result

    w, result = run(jnp.array([9.0, 0.5]))
    assert int(result) == CONVERGED
    np.testing.assert_allclose(w, np.log(3), rtol=1e-14)
