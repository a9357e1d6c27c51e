"""Edges of searches: single steps by hand of Newton's methods, and the rounds of FISTA."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel.penalties import L1
from bilevel.problems import Composite, Smooth
from bilevel.problems.penalised_least_squares import PenalisedLeastSquares
from bilevel.results import CONVERGED, MAX_STEPS
from bilevel.solvers import FISTA, Newton, NewtonCG, WorkingSet
from bilevel.solvers._renew import renewed
from bilevel.solvers.sparse.working_set import Sparse

RNG = np.random.default_rng(6)


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
    too long; then they grow by 1 / 0.9. The rounds of one, two and four steps begin at rest, and
    there is momentum from their third step on.
    """
    problem = Composite(lambda w, g: 1.5 * jnp.sum((w - g) ** 2), L1(0.0), jnp.ones(1), 5.0)
    cold = problem.start

    @eqx.filter_jit
    def run(most):
        solver = FISTA(patience=1, max_newton_steps=0)
        return eqx.tree_at(lambda s: s.max_steps, solver, most).run(problem, cold)

    left = -4.0
    for most, steep in enumerate((1.8, 1.62, 1.458, 1.3122, 1.18098), 1):
        left *= 1 - 1 / steep
        point = run(jnp.int32(most))
        np.testing.assert_allclose(point.unknowns, 5 + left, rtol=1e-12)
        assert (int(point.result), int(point.stats["steps"])) == (MAX_STEPS, most)


@jax.jit
def on_a_face(start, exponential, strength, most):
    """FISTA on exp(w) - 4 w or, if not `exponential`, on w^4."""

    def loss(w, a):
        return jnp.sum(jnp.exp(a * w) - 4 * a * w + (1 - a) * w**4)

    problem = Composite(loss, L1(strength), start, exponential)
    point = eqx.tree_at(lambda s: s.max_steps, FISTA(), most).run(problem, start)
    return point.unknowns, point.result, point.stats["steps"]


def test_newton_s_method_on_a_face_goes_on_while_its_steps_are_long() -> None:
    """From far up an exponential each is of length one."""
    w, result, _ = on_a_face(jnp.array([9.0]), 1.0, 1.0, jnp.int32(1000))
    assert int(result) == CONVERGED
    np.testing.assert_allclose(w, np.log(3), rtol=1e-14)


def test_where_the_curvature_vanishes_a_slope_at_the_rounding_of_the_first_is_none() -> None:
    """Newton's steps on w^4 never end, and a round of twenty does not reach rounding."""
    w, result, steps = on_a_face(jnp.array([1e3]), 0.0, 0.0, jnp.int32(200))
    assert int(result) == CONVERGED
    assert 10 < int(steps) < 40  # two rounds
    assert 0 < 4 * float(w[0]) ** 3 <= 16 * np.finfo(float).eps * 4e9


@pytest.mark.stand_ins
def test_a_working_set_grows_beyond_one_that_is_full(monkeypatch) -> None:
    """Of rows that are unit vectors each part is solved by what is left of each target."""

    def shrunk(self, w, most):
        moment = self.target @ self.rows
        v = jnp.sign(moment) * jnp.maximum(jnp.abs(moment) - self.high, 0)
        residual = self.target - self.weights * (self.rows @ v)
        sign = jnp.sign(v).astype(jnp.int8)
        face = SimpleNamespace(
            sign=sign, chol=jnp.eye(v.size), noise=jnp.asarray(1e-9), settled=jnp.bool_(True),
            updates=jnp.int32(1),
        )  # fmt: skip
        return (v, residual, None), face

    monkeypatch.setattr(Sparse, "minimise", shrunk)

    @jax.jit
    def run(targets, warm):
        ones = jnp.ones(80)
        problem = PenalisedLeastSquares(jnp.eye(80), targets, L1(1.0), ones)
        point = WorkingSet().run(problem, warm)
        return point.unknowns, point.result, point.stats

    for support, rounds in ((0, 1), (5, 1), (64, 1), (65, 2), (80, 2)):
        goal = np.where(np.arange(80) < support, -2.0 - np.arange(80), 0.5)[RNG.permutation(80)]
        expected = np.where(goal < 0, goal + 1, 0)
        for warm, asked in ((np.zeros(80), rounds), (expected, 1)):
            w, result, stats = run(goal, warm)
            assert int(result) == CONVERGED
            np.testing.assert_array_equal(w, expected)
            assert [int(stats[name]) for name in ("rounds", "support")] == [asked, support]


def test_what_no_member_of_a_batch_asks_for_is_not_computed() -> None:
    made = []

    def one(ask, kept):
        def make():
            jax.debug.callback(made.append, kept)
            return kept + 10

        return renewed(ask, make, kept)

    batch, none = jax.jit(jax.vmap(one)), jnp.zeros(3, bool)
    np.testing.assert_array_equal(batch(none, jnp.arange(3.0)), [0, 1, 2])
    jax.effects_barrier()
    assert made == []
    some = jnp.array([False, True, False])
    np.testing.assert_array_equal(batch(some, jnp.arange(3.0)), [0, 11, 2])
    jax.effects_barrier()
    assert len(made) == 3


def test_the_last_step_of_newton_is_not_evaluated() -> None:
    """Once at the start and once after the step that solves a quadratic problem."""
    seen, curved = [], jnp.linspace(1, 2, 12)

    def objective(w, args):
        jax.debug.callback(seen.append, w)
        return 0.5 * jnp.sum(args * w * w) - jnp.sum(w)

    def hessian(w, args):
        return jnp.diag(args)

    point = Newton().run(Smooth(objective, jnp.zeros(12), curved, hessian), jnp.zeros(12))
    jax.effects_barrier()
    np.testing.assert_allclose(point.unknowns, 1 / curved, rtol=1e-15)
    assert (int(point.result), len(seen)) == (CONVERGED, 2)
