"""Corners of solvers and learners: starts and units of constrained problems, steps of penalties,
what is invalid under a trace, keys of layers.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel import Data
from bilevel.learners import SVM, FairLogistic, Huber, Logistic, Ridge, Softmax, _linear_fit
from bilevel.learners.kernels import RBF
from bilevel.networks import MLP, ConvNet, ResNet, convnet, mlp, resnet
from bilevel.penalties import L1, ElasticNet, NonNegative
from bilevel.problems import QP, BoxQP, Constrained, Product
from bilevel.results import CONVERGED, DEGENERATE, INFEASIBLE, INVALID
from bilevel.solvers import ActiveSet, PrimalDual
from bilevel.solvers.constrained import _barrier
from bilevel.solvers.constrained._kkt import Flat, units
from bilevel.solvers.qp import _shrinking, active_set
from bilevel.solvers.qp._face import Sets, scales
from bilevel.solvers.qp._interior_point import Inside

RNG = np.random.default_rng(8)
KEY = jax.random.key(5)
NONE = np.zeros(2)


@pytest.mark.parametrize(
    "problem",
    [
        QP(jnp.diag(jnp.array([4.0, 0.25])), jnp.zeros(2), G=jnp.eye(2), h=jnp.ones(2)),
        BoxQP(np.diag([4.0, 0.25]), NONE, -np.ones(2), np.ones(2)),
    ],
)
def test_without_a_slope_the_units_of_a_problem_are_lengths_of_one(problem) -> None:
    found = units(problem)
    np.testing.assert_array_equal(found.x, [0.5, 2])
    assert (float(found.length), float(found.slope)) == (1, 1)
    steep = units(eqx.tree_at(lambda p: p.q, problem, jnp.array([-6.0, 1.0])))
    assert (float(steep.length), float(steep.slope)) == (3, 3)


def hills(x, args):
    """Minima at -1 and 1; or one at `pull`, for a share of zero."""
    share, pull = args
    return jnp.sum(share * (x**2 - 1) ** 2 + (1 - share) * (x - pull) ** 2)


def limits(x, args):
    """Below 9; or outside of the ball of radius one."""
    return args[0] * (x - 9) + (1 - args[0]) * (1 - x**2)


@jax.jit
def end_of_hills(start, share, pull):
    problem = Constrained(hills, start, (share, pull), inequalities=limits)
    solver = PrimalDual()
    return solver.run(problem, solver.cold(problem))


def test_a_constrained_solve_begins_at_its_start() -> None:
    for start in (-1.5, 1.5):
        at = jnp.array([start])
        blank = _barrier.blank(Flat(Constrained(hills, at, (1.0, 0.0), inequalities=limits)))
        np.testing.assert_array_equal(blank.x, at)
        np.testing.assert_array_equal([blank.s, blank.y], [[1], [0]])
        point = end_of_hills(at, 1.0, 0.0)
        assert int(point.result) == CONVERGED
        np.testing.assert_allclose(point.unknowns.x, [np.sign(start)], rtol=1e-12)


def test_a_start_from_where_a_violation_cannot_fall_at_first_is_not_infeasible() -> None:
    """The centre of a ball that is forbidden: all ways out are alike, but for the cost."""
    point = end_of_hills(jnp.zeros(1), 0.0, 3.0)
    assert int(point.result) == CONVERGED
    np.testing.assert_allclose(point.unknowns.x, [3], rtol=1e-12)
    assert int(end_of_hills(jnp.zeros(1), 0.0, 0.0).result) == INFEASIBLE


def test_the_next_solve_begins_on_a_face_only_where_this_one_has_converged() -> None:
    """At the edge of the forbidden ball, where the cost has its minimum too, faces are doubtful."""
    for pull, result in ((3.0, CONVERGED), (0.5, CONVERGED), (1.0, DEGENERATE)):
        point = end_of_hills(jnp.array([2.0]), 0.0, pull)
        assert int(point.result) == result
        assert bool(point.warm.known) is (result == CONVERGED)


@pytest.mark.parametrize("t", [0.25, 1.0, 4.0])
def test_a_proximal_point_is_the_least_of_penalty_and_distance(t) -> None:
    """The least of t p(u) + (u - v)^2 / 2 on a fine grid, with strengths of each coordinate."""
    v, l1, l2 = np.array([-3.0, -0.4, 0.0, 0.3, 2.0]), np.linspace(0.2, 1, 5), np.linspace(0, 2, 5)
    u = np.linspace(-4, 4, 8001)[:, None]
    values = (
        (ElasticNet(l1, l2), l1 * np.abs(u) + l2 / 2 * u**2),
        (L1(l1), l1 * np.abs(u)),
        (NonNegative(), np.where(u < -1e-9, np.inf, 0.0)),
    )
    for penalty, value in values:
        best = u[np.argmin(t * value + (u - v) ** 2 / 2, axis=0), 0]
        found = penalty.flat(jnp.asarray(v)).prox(jnp.asarray(v), jnp.asarray(t))
        np.testing.assert_allclose(found, best, atol=6e-4)
    each = t * np.linspace(0.5, 2, 5)  # a step of each coordinate
    best = u[np.argmin(each * values[0][1] + (u - v) ** 2 / 2, axis=0), 0]
    found = ElasticNet(l1, l2).flat(jnp.asarray(v)).prox(jnp.asarray(v), jnp.asarray(each))
    np.testing.assert_allclose(found, best, atol=6e-4)


@eqx.filter_jit
def trained_by_an_svm(y, weight, C, known):
    x = jnp.array([[0.0, 1.0], [2.0, 0.5], [1.0, -1.0]])
    learner = SVM(kernel=RBF(1.0))
    if known:
        learner = learner.prepare(Data(x[:2], jnp.array([1.0, -1.0])))
    learner = eqx.tree_at(lambda svm: svm.C, learner, C)
    return learner.training(Data(x, y, weight)).result


@pytest.mark.parametrize(
    ("y", "weight", "C", "valid"),
    [
        ((1, -1, 1), (1, 1, 1), 1.0, True),
        ((0.5, -1, 1), (1, 1, 1), 1.0, True),  # of a vote
        ((1, 1, 1), (1, 1, 1), 1.0, False),
        ((1, -1, 1), (1, 0, 1), 1.0, False),
        ((2, -1, 1), (1, 1, 1), 1.0, False),
        ((1, -1, 1), (1, -1, 1), 1.0, False),
        ((1, -1, 1), (1, 1, 1), 0.0, False),
        ((1, -1, 1), (1, 1, 1), np.nan, False),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_an_svm_under_a_trace_tells_what_it_cannot_be_trained_on(
    y, weight, C, valid, known
) -> None:
    y, weight, C = (jnp.asarray(each, float) for each in (y, weight, C))
    found = trained_by_an_svm(y, weight, C, known)
    assert int(found) == (CONVERGED if valid else INVALID)


@pytest.mark.parametrize(
    ("module", "net", "shape", "layers"),
    [
        (resnet, ResNet((4, 8), 2, 4), (6, 6, 1), 2 + 2 * 4 + 1),
        (convnet, ConvNet((2, 2), hidden=(3, 3)), (16, 16, 1), 5),
        (mlp, MLP((3, 3)), (2,), 3),
    ],
)
def test_layers_are_drawn_apart(module, net, shape, layers, monkeypatch) -> None:
    """Each by a key of its own."""
    keys = []

    def layer(key, shape, dtype):
        keys.append(tuple(np.asarray(jax.random.key_data(key)).tolist()))
        return {"weight": jnp.zeros(shape, dtype), "bias": jnp.zeros(shape[-1:], dtype)}

    monkeypatch.setattr(module, "layer", layer)
    net.init(KEY, jax.ShapeDtypeStruct(shape, jnp.float64))
    assert len(keys) == len(set(keys)) == layers


def test_smoothed_slopes_of_bounds_that_are_infinite() -> None:
    """Those of the smoothed problem: a variable with an infinite bound is pulled to zero, or to its
    nearer bound, as one of width one; one between finite bounds to their middle.
    """
    n, factor = 6, RNG.normal(size=(6, 2))
    q = np.array([-1.0, 1.0, 0.5, -0.5, 2.0, -2.0])
    lower = np.array([-np.inf, -np.inf, 0.5, 0.0, -np.inf, 0.0])
    upper = np.array([2.0, -0.5, np.inf, np.inf, np.inf, 4.0])
    middle, width = np.array([0, -0.5, 0.5, 0, 0, 2.0]), np.array([1, 1, 1, 1, 1, 4.0])
    qp = BoxQP(Product(jnp.asarray(factor)), q, lower, upper)
    smoothing = 2 * (1 + 2) / 4**3
    x, rate = np.clip(np.zeros(n), lower, upper), 1 / (np.sum(factor**2) + smoothing)
    for _ in range(4000):
        slope = factor @ (factor.T @ x) + q
        x = np.clip(x - rate * (slope + smoothing * (x - middle) / width), lower, upper)
    found = jax.jit(lambda: _shrinking._smoothed(qp, jnp.asarray(factor), scales(qp)))()
    np.testing.assert_allclose(found, factor @ (factor.T @ x) + q, atol=1e-3)


def from_sets(monkeypatch, qp, lower, upper, x):
    """The end of single exchanges from these sets and this point."""
    sets = Sets(jnp.asarray(lower, bool), jnp.asarray(upper, bool))
    inside = Inside(sets, jnp.asarray(x, float), jnp.zeros(()), jnp.int32(5))
    monkeypatch.setattr(active_set, "interior_point", lambda qp, scales, most: inside)
    solver = ActiveSet(max_updates=0)
    return jax.jit(lambda: solver.run(qp, solver.cold(qp)))()


@pytest.mark.parametrize(("free", "steps"), [(True, 2), (False, 1)])
def test_where_all_that_is_free_lies_at_a_bound_the_multiplier_is_a_middle(
    free, steps, monkeypatch
) -> None:
    """At (1, 0), of multipliers from 0 to 2: however one came there, one by one too."""
    qp = BoxQP(np.eye(2), np.array([-3.0, 0]), NONE, np.ones(2), np.ones(2), np.ones(()))
    point = from_sets(monkeypatch, qp, (0, 1), (not free, 0), (1, 0))
    assert int(point.result) == CONVERGED
    np.testing.assert_allclose(point.unknowns.nu, 1)
    np.testing.assert_array_equal([point.warm.lower, point.warm.upper], [[0, 1], [1, 0]])
    assert (int(point.stats["steps"]), int(point.stats["interior_steps"])) == (steps, 5)


def test_the_most_wrong_bound_is_left_first(monkeypatch) -> None:
    """Of slopes -1 and -5 at (0, 0); at (0, 5) they are 3.5 and 0."""
    for order in ([0, 1], [1, 0]):
        q = np.array([-1.0, -5.0])[order]
        qp = BoxQP(np.array([[1, 0.9], [0.9, 1]]), q, NONE, np.full(2, 9.0))
        point = from_sets(monkeypatch, qp, (1, 1), (0, 0), (0, 0))
        assert int(point.result) == CONVERGED
        np.testing.assert_allclose(point.unknowns.x, np.array([0, 5.0])[order])
        assert int(point.stats["steps"]) == 2


def test_a_wide_training_that_stops_early_tells_the_slope_of_the_bias_too() -> None:
    x, y, share = RNG.normal(size=(3, 5)), np.array([1.0, -1, 1]), np.array([0.2, 0.3, 0.5])
    learner = Logistic(0.1, solver=_linear_fit.LinearNewton(max_steps=1))
    fitted = learner.fit(Data(x, y, share), throw=False)
    slope = -0.5 * share * y  # at the start; its sum is that of the bias
    size = np.hypot(np.linalg.norm(slope @ (x - share @ x)), -0.2)
    np.testing.assert_allclose(fitted.stats["residual"], size, rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, np.nan])
@pytest.mark.parametrize(
    "make",
    [
        lambda l2: FairLogistic(0, l2=l2),
        Logistic,
        Ridge,
        lambda l2: Softmax(3, l2=l2),
        lambda l2: Huber(l2=l2),
    ],
)
def test_a_learner_is_penalised_by_a_number_above_zero(make, value) -> None:
    with pytest.raises(ValueError, match=rf"^l2: got {value}, expected a finite number > 0"):
        make(value)
    make(1e-9)


def test_the_bias_of_a_fair_learner_may_be_free() -> None:
    assert FairLogistic(0).l2_bias == 0
    with pytest.raises(ValueError, match=r"^l2_bias: got -1.0, expected a finite number >= 0"):
        FairLogistic(0, l2_bias=-1.0)


def test_one_exchange_at_a_time_may_take_as_many_as_there_are_variables(monkeypatch) -> None:
    n = 30
    qp = BoxQP(np.eye(n), -np.ones(n), np.zeros(n), np.full(n, 2.0))
    point = from_sets(monkeypatch, qp, np.ones(n), np.zeros(n), np.zeros(n))
    assert (int(point.result), int(point.stats["steps"])) == (CONVERGED, n + 1)
    np.testing.assert_allclose(point.unknowns.x, 1)


def test_the_slack_of_a_box_is_a_distance_or_a_multiplier_and_a_pinned_variable_has_none() -> None:
    qp = BoxQP(np.eye(4), np.array([-0.7, -3, 2, -1]), np.zeros(4), np.array([1, 1, 1, 0.0]))

    @jax.jit
    def slack():
        solver = ActiveSet()
        point = solver.run(qp, solver.cold(qp))
        return solver.slack(qp, point.unknowns, point.frozen)

    np.testing.assert_allclose(slack(), [0.3, 2, 2, np.inf])
