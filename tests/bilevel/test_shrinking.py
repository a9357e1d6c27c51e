"""SVMs of many rows: parts of them are solved for, and the whole is solved all the same."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel.problems import BoxQP, Product
from bilevel.results import CONVERGED
from bilevel.solvers import ActiveSet
from bilevel.solvers.qp import _shrinking, active_set
from bilevel.solvers.qp._face import scales
from bilevel.solvers.qp._interior_point import interior_point

ROWS, RANK = 240, 5


def machine(seed, C=1.0, equality=True):
    """The dual of a linear SVM whose rows weigh differently, some nothing."""
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(ROWS) < 0.4, 1.0, -1.0)
    x = rng.normal(size=(ROWS, RANK)) + 0.6 * y[:, None]
    weight = rng.uniform(0.2, 3, ROWS) * (rng.random(ROWS) < 0.9)
    part = {"e": y, "b": 0.0} if equality else {}
    return BoxQP(Product(y[:, None] * x), -np.ones(ROWS), np.zeros(ROWS), C * weight, **part)


def unbounded(seed):
    """Some variables have no upper bound, some none at all."""
    qp, rng = machine(seed, equality=False), np.random.default_rng(seed)
    kind = rng.integers(3, size=ROWS)
    lower = jnp.where(kind == 0, -jnp.inf, qp.lower)
    qp = eqx.tree_at(lambda q: (q.lower, q.upper), qp, (lower, jnp.where(kind < 2, 2.0, qp.upper)))
    return eqx.tree_at(lambda q: q.upper, qp, jnp.where(kind == 1, jnp.inf, qp.upper))


PROBLEMS = {
    "weights": machine(0),
    "small C": machine(1, 1e-3),
    "large C": machine(2, 100.0),
    "no equality": machine(3, equality=False),
    "infinite bounds": unbounded(4),
}


@eqx.filter_jit
def run(solver, qp):
    return solver.run(qp, solver.cold(qp))


@eqx.filter_jit
def by_all_rows(qp):
    return interior_point(qp, scales(qp), 60)


@pytest.fixture
def at_once(monkeypatch):
    """The parts are drawn here too, where a small problem is solved as a whole otherwise."""
    monkeypatch.setattr(active_set, "LARGE", ROWS)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_solution_is_that_of_the_whole(name, at_once):
    qp, solver = PROBLEMS[name], ActiveSet(max_updates=0)
    point = run(solver, qp)
    assert int(point.result) == CONVERGED
    x, nu = solver.value(qp, point.unknowns, point.frozen)
    slope = qp.Q @ x + qp.q + (0 if qp.e is None else nu * qp.e)
    steep = float(jnp.max(jnp.abs(qp.Q.diagonal())) * jnp.max(jnp.abs(x)) + 1)
    assert np.all((slope > -1e-13 * steep) | (x >= qp.upper))
    assert np.all((slope < 1e-13 * steep) | (x <= qp.lower))
    assert np.all((x >= qp.lower) & (x <= qp.upper))


def test_the_central_path_begins_inside_of_a_box_with_one_side():
    rng, n = np.random.default_rng(0), 12
    root, side = rng.normal(size=(n, n)), np.arange(n) % 3
    lower, upper = np.where(side == 0, -np.inf, 4.0), np.where(side == 1, np.inf, 5.0)
    qp = BoxQP(root @ root.T + np.eye(n), 9 * rng.normal(size=n), lower, upper)
    solver = ActiveSet()
    found, point = by_all_rows(qp), run(solver, qp)
    assert np.all((found.x > lower) & (found.x < upper))
    np.testing.assert_allclose(
        found.x, solver.value(qp, point.unknowns, point.frozen)[0], atol=1e-5
    )


def test_the_part_says_where_the_others_end():
    qp = PROBLEMS["weights"]
    found = eqx.filter_jit(lambda qp: _shrinking.shrinking(qp, scales(qp), 60))(qp)
    whole = by_all_rows(qp)
    np.testing.assert_allclose(found.x, whole.x, atol=1e-6)
    np.testing.assert_array_equal(found.sets.upper, whole.sets.upper)
    np.testing.assert_array_equal(found.sets.lower, whole.sets.lower)
    np.testing.assert_allclose(found.nu, whole.nu, atol=1e-6)
    assert int(found.steps) <= 2 * int(whole.steps)  # of a part an eighth as large


def test_parts_that_never_settle_are_given_up(monkeypatch):
    monkeypatch.setattr(_shrinking, "STAGES", 0)
    qp = PROBLEMS["weights"]
    found = eqx.filter_jit(lambda qp: _shrinking.shrinking(qp, scales(qp), 60))(qp)
    whole = by_all_rows(qp)
    np.testing.assert_array_equal(found.x, whole.x)
