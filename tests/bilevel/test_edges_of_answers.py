"""Edges of answers: resumed runs, one-sided derivatives, borders of faces, what failed first."""

import dataclasses
import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel import Bilevel, Data, argmin, certify, maximize
from bilevel.learners import FairLogistic
from bilevel.linear import Neumann
from bilevel.penalties import L1, ElasticNet
from bilevel.problems import BoxQP, Composite, Product
from bilevel.results import DEGENERATE, NOT_FINITE
from bilevel.solvers import FISTA, ActiveSet, PrimalDual
from bilevel.solvers.qp._face import scales
from bilevel.solvers.qp._shrinking import _smoothed
from bilevel.stochastic import SOBA, StochasticBilevel, minimize
from bilevel.stochastic._loop import INNER_DIVERGED
from bilevel.study import Finding, check
from bilevel.study._table import table

RNG = np.random.default_rng(5)


def test_a_resumed_run_that_fails_at_once_keeps_what_it_had() -> None:
    first = maximize(lambda z: -jnp.sum(z**2), jnp.array([1.0]), steps=4)
    again = maximize(lambda z: jnp.nan * jnp.sum(z), None, steps=4, state=first.state)
    assert (int(again.status), int(again.steps)) == (NOT_FINITE, 1)
    np.testing.assert_array_equal(again.z, first.state.best)


def test_a_function_whose_global_array_is_another_one_is_another_function() -> None:
    """A cell of a notebook that is run again: same code, same module, other data."""
    module: dict[str, Any] = types.ModuleType("notebook").__dict__ | {"np": np}
    cell = "data = np.array({})\ndef near(z):\n    return -((z - data) ** 2).sum()\n"
    for data in ([1.0, 2.0], [3.0, 4.0], [3.0, 4.0]):
        exec(cell.format(data), module)
        result = maximize(module["near"], jnp.zeros(2), steps=1)
        np.testing.assert_allclose(result.value, -np.sum(np.square(data)))


def test_a_protected_feature_must_vary_among_the_rows_that_count() -> None:
    x, y = RNG.normal(size=(8, 2)), np.resize([1.0, -1.0], 8)
    x[:, 0] = np.arange(8) == 7
    weight = np.where(np.arange(8) == 7, 0.0, 1.0)
    with pytest.raises(ValueError, match="protected"):
        FairLogistic(0).fit(Data(x, y, weight))
    FairLogistic(0).check(Data(x, y))


def test_a_neumann_series_is_linear_in_the_right_hand_side() -> None:
    """Its rate is of the matrix alone; nothing stays nothing."""
    root = RNG.normal(size=(5, 5))
    A = jnp.asarray(root @ root.T / 5 + np.eye(5))
    solve = jax.jit(lambda rhs: Neumann(terms=3).solve(lambda v: A @ v, lambda r: r, rhs))
    vectors = jnp.linalg.eigh(A)[1]
    least, most = vectors[:, 0], vectors[:, -1]
    both = solve(least + most)
    np.testing.assert_allclose(both, solve(least) + solve(most), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(both, -solve(-least - most), rtol=1e-12)
    np.testing.assert_array_equal(solve(jnp.zeros(5)), 0)


@pytest.mark.parametrize("penalty", [L1, lambda s: ElasticNet(s, s)])
def test_a_strength_is_of_the_shape_of_every_leaf_or_has_a_leaf_for_each(penalty) -> None:
    unknowns = {"a": jnp.zeros(2), "b": jnp.zeros(3)}
    with pytest.raises(ValueError, match=r"got shape \(2,\) for unknowns of shape"):
        penalty(jnp.ones(2)).flat(unknowns)
    with pytest.raises(ValueError, match=r"got shape \(3,\) for unknowns of shape"):
        penalty(jnp.ones(3)).flat(unknowns)
    flat = penalty({"a": jnp.ones(2), "b": 2.0}).flat(unknowns)
    np.testing.assert_array_equal(jax.tree.leaves(flat)[0], [1, 1, 2, 2, 2])


def test_next_to_a_constraint_that_hardly_holds_there_is_a_one_sided_derivative() -> None:
    """Of min (x - z)^2 / 2 with x <= 1 at z = 1, where the derivative is 1 or 0."""

    def solution(z):
        qp = BoxQP(jnp.eye(1), -z[None], jnp.array([-5.0]), jnp.ones(1))
        return argmin(qp, solver=PrimalDual(), throw=False)

    at = solution(jnp.ones(()))
    assert int(at.result) == DEGENERATE
    slope = float(jax.grad(lambda z: solution(z).value[0][0])(jnp.ones(())))
    assert min(abs(slope), abs(slope - 1)) < 1e-6


def test_smoothed_slopes_say_at_which_bound_a_variable_ends() -> None:
    """The multiplier is in them; without it all would seem to go one way."""
    n = 60
    factor, e = RNG.normal(size=(n, 2)), np.where(np.arange(n) % 2, 1.0, -1.0)
    q = -1 + 8.0 * e  # an equality that takes the 8 back
    box = jnp.zeros(n), jnp.ones(n)
    qp = BoxQP(Product(jnp.asarray(factor)), jnp.asarray(q), *box, jnp.asarray(e), jnp.zeros(()))
    x = np.asarray(argmin(qp, solver=ActiveSet()).value[0])
    assert np.sum(x == 0) > 4
    assert np.sum(x == 1) > 4
    slope = np.asarray(_smoothed(qp, jnp.asarray(factor), scales(qp)))
    assert np.max(slope[x == 1]) < 0.05
    assert np.min(slope[x == 0]) > -0.05


def test_the_bound_of_a_pinned_variable_is_told_by_gradient_and_multiplier() -> None:
    """Of min (x - 2)^2 / 2 + (u - c)^2 / 2 with u = 0 and x + u = s: u presses upwards where its
    slope with the multiplier, -c - (s - 2), is negative. A bound that moves takes from x.
    """

    def other(lower, upper, c, s):
        q, e = jnp.stack([-2.0 + 0 * c, -c]), jnp.ones(2)
        low, high = jnp.stack([-9.0 + 0 * c, lower]), jnp.stack([9.0 + 0 * c, upper])
        qp = BoxQP(jnp.eye(2), q, low, high, e, s)
        return argmin(qp, solver=ActiveSet(), throw=False).value[0][0]

    slopes = jax.jit(jax.grad(other, (0, 1)))
    zero = jnp.zeros(())
    for c, s, expected in (
        (1.0, 0.0, (-1, 0)),  # -1 + 2 > 0
        (1.0, 5.0, (0, -1)),
        (-1.0, 5.0, (0, -1)),
        (-1.0, 0.0, (-1, 0)),
    ):
        np.testing.assert_allclose(slopes(zero, zero, jnp.asarray(c), jnp.asarray(s)), expected)


def test_a_newton_step_across_the_border_of_its_face_is_no_solution() -> None:
    """FISTA asks Newton after one step, when the face is not yet that of the solution."""

    def loss(w, args):
        x, y = args
        return 0.5 * jnp.mean((x @ w - y) ** 2)

    @jax.jit
    def solved(x, y):
        problem = Composite(loss, L1(jnp.asarray(0.05)), jnp.zeros(6), (x, y))
        return argmin(problem, solver=FISTA(patience=1), throw=False).value

    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(12, 6)) + 1.5 * rng.normal(size=(12, 1))
        y = x @ rng.normal(size=6) + rng.normal(size=12)
        w = np.asarray(solved(jnp.asarray(x), jnp.asarray(y)))
        slope = x.T @ (x @ w - y) / 12
        np.testing.assert_allclose(slope[w != 0], -0.05 * np.sign(w[w != 0]), atol=1e-9)
        assert np.max(np.abs(slope)) < 0.05 + 1e-9


def test_of_variables_that_diverge_at_once_the_inner_one_is_named() -> None:
    problem = StochasticBilevel(
        lambda z, w, rows: jnp.inf * jnp.sum(w - z) + jnp.mean(rows),
        lambda z, w, rows: jnp.inf * jnp.sum(w * z) + jnp.mean(rows), jnp.ones(2), jnp.ones(2),
    )  # fmt: skip
    end = minimize(
        problem, jnp.ones(1), jnp.ones(1), method=SOBA(), inner_step=0.1, outer_step=0.1, steps=2
    )
    assert int(end.status) == INNER_DIVERGED


def test_a_column_is_as_wide_as_its_name() -> None:
    lines = table([{"a": "wide cell", "error of": "1"}, {"a": "b", "error of": "22"}]).split("\n")
    assert lines == ["a          error of", "wide cell         1", "b                22"]


def test_a_check_where_the_derivative_is_one_sided_says_so(monkeypatch) -> None:
    """The multiplier is determined; an index is about to leave its bound."""

    def pose(z):
        return BoxQP(jnp.eye(2), -z, jnp.zeros(2), jnp.ones(2))

    module = sys.modules["bilevel.study.check"]  # beside the function of this name
    for part in ("_purity", "_parts", "_solve"):
        monkeypatch.setattr(module, part, lambda *_: iter(()))
    fine = Finding("hypergradient", 0.0, True, "right")
    monkeypatch.setattr(module, "_whole", lambda *_: fine)
    objective = Bilevel(pose, lambda z, x: jnp.sum(x[0] ** 2), solver=ActiveSet())
    found = check(objective, jnp.array([1.0, 0.5]))
    assert found.degenerate
    assert "one-sided at this z" in str(found)
    assert not check(objective, jnp.array([0.7, 0.5])).degenerate


def test_rows_are_redrawn_by_the_key_that_is_given() -> None:
    def redrawn(key, z, gradient):
        del gradient
        return jax.random.uniform(key, z.shape, z.dtype)

    def flat_below_one(z):
        return jnp.sum(jnp.maximum(z, 1.0))

    def ends(**keyed):
        return maximize(flat_below_one, jnp.zeros(3), steps=3, reseed=redrawn, **keyed).state.z

    seen = [np.asarray(ends(**k)) for k in ({}, *({"key": jax.random.key(n)} for n in (0, 1, 1)))]
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[2], seen[3])
    assert not np.any(seen[1] == seen[2])


def test_a_certificate_says_if_the_inner_problem_has_another_precision() -> None:
    found = certify(lambda z: jnp.sum(z**2), jnp.ones(2))
    assert "(float64)" in str(found)
    lower = dataclasses.replace(found, precision="float32")
    assert "(float64, inner problem in float32)" in str(lower)
    found, of_path = (dataclasses.replace(found, truth=t) for t in ("the minimiser", "a path"))
    for text, said in (("adjoint residual", found), ("derivative of a path", of_path)):
        assert [text in str(each) for each in (found, of_path)] == [
            each is said for each in (found, of_path)
        ]
