"""Corners of penalised and of saddle problems: patience, when Newton's method has settled, starts
that are no numbers, and the way off a saddle.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel.penalties import L1
from bilevel.problems import Composite, PenalisedLeastSquares, Smooth
from bilevel.results import CONVERGED, MAX_STEPS
from bilevel.solvers import FISTA, Newton, NewtonCG, WorkingSet
from bilevel.solvers.sparse import _orthant, fista

RNG = np.random.default_rng(9)


def test_patience_doubles_with_every_attempt_that_fails(monkeypatch) -> None:
    """On a face that stays: after 2 steps, 4 more and 8 more; then 1 is left."""
    seen, attempt = [], fista._newton

    def in_vain(value_and_grad, penalty, w, *rest):
        jax.debug.callback(seen.append, w)
        *found, _ = attempt(value_and_grad, penalty, w, *rest)
        return (*found, jnp.bool_(False))

    monkeypatch.setattr(fista, "_newton", in_vain)
    problem = Composite(lambda w, _: jnp.sum((w - 3) ** 2), L1(0.1), jnp.ones(1))
    solver = FISTA(max_steps=15, patience=2)
    point = jax.jit(lambda: solver.run(problem, problem.start))()
    jax.effects_barrier()
    assert (int(point.result), int(point.stats["steps"]), len(seen)) == (MAX_STEPS, 15, 4)


def test_steps_that_turn_back_lose_their_momentum(monkeypatch) -> None:
    """Of a valley a hundred times as long as wide, without Newton's help."""
    attempt = fista._newton

    def in_vain(*args):
        *found, _ = attempt(*args)
        return (*found, jnp.bool_(False))

    monkeypatch.setattr(fista, "_newton", in_vain)
    valley = np.array([[1, 0.98], [0.98, 1]])

    def loss(w, _):
        return 0.5 * w @ (valley @ w) - jnp.sum(valley @ jnp.array([1.0, 3.0]) * w)

    problem = Composite(loss, L1(0.0), jnp.zeros(2))
    solver = FISTA(max_steps=120, patience=200, max_newton_steps=1)
    point = jax.jit(lambda: solver.run(problem, problem.start))()
    assert (int(point.result), int(point.stats["steps"])) == (MAX_STEPS, 120)
    np.testing.assert_allclose(point.warm, [1, 3], atol=1e-6)


def test_what_is_about_as_wrong_as_the_most_enters_with_it() -> None:
    """By violations of 9.5 and 5; of 2.5 and 1.7; of 0.5."""
    c = jnp.array([10, -5.5, 3, -2.2, 1, 0.3])
    half = jnp.full(6, 0.5)
    quadratic = _orthant.Quadratic(jnp.eye(6), c, -half, half, jnp.ones(6, bool))
    found = jax.jit(lambda: _orthant.minimise(quadratic, jnp.zeros(6), 50))()
    assert (bool(found.settled), int(found.updates)) == (True, 3)
    np.testing.assert_allclose(found.w, [9.5, -5, 2.5, -1.7, 0.5, 0])
    np.testing.assert_array_equal(found.sign, [1, -1, 1, -1, 1, 0])


@pytest.mark.parametrize(("most", "settled"), [(20, False), (90, True)])
def test_steps_that_hardly_shrink_are_no_end(most, settled) -> None:
    """Those to a fourfold zero are a third shorter each."""
    penalty, start = L1(jnp.zeros(1)), jnp.array([3.0])

    def both(w):
        return jax.value_and_grad(lambda w: jnp.sum((w - 1) ** 4))(w)

    w, _, _, over = jax.jit(
        lambda: fista._newton(both, penalty, start, penalty.face(start), most, jnp.asarray(32.0))
    )()
    np.testing.assert_allclose(w, 1 + 2 * (2 / 3) ** most, rtol=1e-9)
    assert bool(over) is settled


@eqx.filter_jit
def from_between(solver, start):
    """Of minima at plus and minus one."""
    problem = Smooth(lambda w, _: jnp.sum((w**2 - 1) ** 2), start)
    return solver.run(problem, start)


@pytest.mark.parametrize("solver", [Newton(), NewtonCG()])
@pytest.mark.parametrize("start", [(0.0, 0.0), (1.0, 0.0), (0.5, 0.5)])
def test_a_saddle_is_left_and_the_next_steps_are_of_where_it_led(solver, start) -> None:
    point = from_between(solver, jnp.array(start))
    assert int(point.result) == CONVERGED
    np.testing.assert_allclose(np.abs(point.unknowns), 1, rtol=1e-9)
    assert 1 < int(point.stats["steps"]) < 40


ROWS, TARGETS = RNG.normal(size=(8, 3)), RNG.normal(size=8)


@jax.jit
def from_start(warm):
    """Of three coefficients the second has a kink."""
    strength = L1(jnp.array([0.0, 0.01, 0.0]))
    problem = PenalisedLeastSquares(jnp.asarray(ROWS), jnp.asarray(TARGETS), strength)
    return WorkingSet().run(problem, warm)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", range(3))
def test_a_start_that_is_no_number_is_none(place, bad) -> None:
    wanted, found = from_start(jnp.zeros(3)), from_start(jnp.zeros(3).at[place].set(bad))
    assert int(wanted.result) == int(found.result) == CONVERGED
    np.testing.assert_allclose(found.unknowns, wanted.unknowns, rtol=1e-9)


def test_a_full_working_set_grows() -> None:
    """All of a hundred features are on: sixty-four in the first round, the others in the second."""
    goal = jnp.where(jnp.arange(100) % 2 == 0, 1.0, -1.0) * jnp.linspace(2, 3, 100)
    problem = PenalisedLeastSquares(jnp.eye(100), goal, L1(0.5), jnp.ones(100))
    point = jax.jit(lambda: WorkingSet().run(problem, jnp.zeros(100)))()
    assert [int(point.stats[name]) for name in ("rounds", "support")] == [2, 100]
    assert int(point.result) == CONVERGED
    np.testing.assert_allclose(point.unknowns, goal - 0.5 * np.sign(goal), rtol=1e-12)
