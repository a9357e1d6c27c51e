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
from bilevel.solvers.sparse import fista

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
