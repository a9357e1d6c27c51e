"""Edges: no leaf at all, one row of many, sizes far from one, one of several arrays traced."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bilevel import Bilevel, argmin, certify, maximize
from bilevel._maximize import _zero_parts
from bilevel.derivatives import Unroll
from bilevel.learners.kernels import Linear
from bilevel.linear import CG
from bilevel.linear.gmres import GMRES
from bilevel.networks import Channels
from bilevel.penalties import L1, GroupL1
from bilevel.problems import BoxQP, PenalisedLeastSquares, Smooth
from bilevel.results import NOT_FINITE
from bilevel.solvers import ActiveSet, Clipped, Newton, ProjectedGradient
from bilevel.solvers.path.descent import root
from bilevel.stochastic.saba import _require_parts
from bilevel.study._differences import numbers
from bilevel.study._table import table
from bilevel.study.lag import _minimiser

ONES = np.ones((3, 2))


@pytest.mark.parametrize(
    ("gradient", "zero"),
    [
        ({"x": ONES}, False),
        ({"x": ONES * [[1], [0], [1]]}, True),  # a row
        ({"x": ONES * [1, 0]}, False),  # a column is no row
        ({"x": np.array([0.0, 1.0])}, False),  # nor is an entry
        ({"x": np.zeros(2)}, True),
        ({"x": ONES, "y": np.zeros(())}, True),
        ({"x": np.ones((2, 2, 2)) * [[[1, 1], [1, 1]], [[0, 0], [0, 1]]]}, False),
    ],
)
def test_a_row_or_a_leaf_that_is_zero_is_a_zero_part(gradient, zero) -> None:
    assert bool(_zero_parts(gradient)) is zero


def test_a_point_of_infinite_slope_is_not_the_best() -> None:
    """The second step lands on the corner, whose value is the largest."""
    result = maximize(
        lambda z: -jnp.sum(jnp.sqrt(z)), jnp.array([0.25]), optimizer=optax.sgd(0.25),
        project=lambda z: jnp.maximum(z, 0), steps=5,
    )  # fmt: skip
    assert int(result.status) == NOT_FINITE
    np.testing.assert_allclose((result.z[0], result.value), (0.25, -0.5))


def test_an_equality_of_very_unequal_coefficients_is_met() -> None:
    """The multiplier is far beyond all bounds: the large coefficient has nothing left to give."""
    upper, e = jnp.array([1, 1, 0.5]), jnp.array([1, 1e-3, 1e-3])
    qp = BoxQP(jnp.eye(3), jnp.zeros(3), jnp.zeros(3), upper, e, 1.0013)
    x, _ = argmin(qp, solver=ProjectedGradient(30), derivative=Unroll()).value
    np.testing.assert_allclose(x, [1, 0.8, 0.5], rtol=1e-9)


def test_the_end_of_a_solver_that_has_not_arrived_is_measured() -> None:
    objective = Bilevel(
        lambda z: Smooth(lambda w, z: jnp.sum(jnp.cosh(w - z)), jnp.zeros(1), z),
        lambda z, w: jnp.sum(w), Newton(max_steps=1),
    )  # fmt: skip
    w = _minimiser(objective, jnp.ones(1))
    np.testing.assert_allclose(w, np.tanh(1))  # one step


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_a_matrix_is_symmetric_by_its_own_size(size) -> None:
    base = np.array([[2.0, 1.0], [1.0, 2.0]])
    upper = np.array([[0.0, 1.0], [0.0, 0.0]])
    BoxQP(size * (base + 1e-7 * upper), np.zeros(2), np.zeros(2), np.ones(2))
    with pytest.raises(ValueError, match="differs from its transpose"):
        BoxQP(size * (base + 1e-5 * upper), np.zeros(2), np.zeros(2), np.ones(2))


def test_a_problem_is_made_whichever_of_its_arrays_is_traced() -> None:
    """What is known is checked, and nothing is read of what is not."""
    parts = {"Q": np.eye(2), "q": np.ones(2), "lower": np.zeros(2), "upper": np.ones(2),
             "e": np.ones(2), "b": np.array(0.5)}  # fmt: skip
    for name, part in parts.items():
        made, _ = jax.jvp(lambda leaf, n=name: BoxQP(**{**parts, n: leaf}), (part,), (0 * part,))
        np.testing.assert_array_equal(getattr(made, name), part)


def test_a_tree_without_numbers_is_an_empty_vector() -> None:
    assert numbers({"name": "a", "count": 3, "which": np.array([1])}).shape == (0,)
    np.testing.assert_array_equal(numbers([jnp.ones(2), jnp.zeros(())]), [1, 1, 0])


@pytest.mark.parametrize("solver", [GMRES, CG])
def test_a_factor_spares_an_iterative_solver_its_steps(solver) -> None:
    """With the inverse at hand two products are enough, for twelve different eigenvalues."""
    matrix = jnp.diag(jnp.logspace(-3, 1, 12))
    rhs = jnp.ones(12)
    settings: Any = {"max_steps": 2} | ({"restart": 2} if solver is GMRES else {})
    found = solver(**settings).solve(lambda v: matrix @ v, lambda v: v / jnp.diagonal(matrix), rhs)
    np.testing.assert_allclose(found, 1 / jnp.diagonal(matrix), rtol=1e-9)


def test_the_root_has_a_derivative_of_zero_at_zero() -> None:
    slopes = jax.jvp(root, (jnp.array([0.0, 4.0]),), (jnp.ones(2),))[1]
    np.testing.assert_array_equal(slopes, [0, 0.25])


@pytest.mark.parametrize(
    ("clip", "noise"),
    [(0.0, 0.0), (-1.0, 0.0), (np.inf, 0.0), (np.nan, 0.0), (np.ones(2), 0.0),
     (1.0, -1e-9), (1.0, np.inf), (1.0, np.nan)],
)  # fmt: skip
def test_a_clip_and_its_noise_are_finite_numbers(clip, noise) -> None:
    Clipped(optax.sgd(0.1), 3, 1e-9, 0.0)
    with pytest.raises(ValueError, match=r"^(clip|noise): got .*, expected a number >=? 0"):
        Clipped(optax.sgd(0.1), 3, clip, noise)


def test_columns_without_a_number_are_left_out_and_no_others() -> None:
    """Of 200 columns three are used, in rows that have zeros elsewhere."""
    rows = np.zeros((4, 200))
    rows[0, 3], rows[1, 70], rows[2, [3, 199]] = 1.0, 2.0, 3.0
    kernel, x = Linear(), jnp.asarray(np.random.default_rng(0).normal(size=(5, 200)))
    prepared: Any = kernel.prepare(jnp.asarray(rows), x)
    assert prepared.x.shape == (4, 64)
    coef = jnp.arange(5.0)
    np.testing.assert_allclose(kernel.expand(prepared, [(x, coef)]), rows @ x.T @ coef, rtol=1e-12)


@pytest.mark.parametrize(
    ("rows", "targets"), [((3,), (3,)), ((3, 2), (2,)), ((3, 2), (3, 1)), ((3, 2, 1), (3,))]
)
def test_least_squares_are_of_rows_and_as_many_targets(rows, targets) -> None:
    with pytest.raises(ValueError, match=r"^rows: got shape .* with targets"):
        PenalisedLeastSquares(jnp.zeros(rows), jnp.zeros(targets), L1(0.1))


def test_columns_of_a_table_are_as_wide_as_their_widest_cell() -> None:
    cells = [{"name": "a", "n": "12345"}, {"name": "longer", "n": "1"}]
    lines = table(cells).splitlines()
    assert [line.split() for line in lines if line[:1] in "nal"] == [
        ["name", "n"], ["a", "12345"], ["longer", "1"]
    ]  # fmt: skip
    assert {len(line) for line in lines if line.strip()} == {len("longer  12345")}


@pytest.mark.parametrize(("rows", "batch", "words"), [(24, 7, "6 or 8"), (7, 5, "1 or 7")])
def test_a_table_of_unequal_parts_is_told_the_nearest_sizes_that_fit(rows, batch, words) -> None:
    problem = SimpleNamespace(inner_batch=batch, inner_data=np.zeros(rows))
    with pytest.raises(ValueError, match=f"take {words}"):
        _require_parts(problem, "inner")
    _require_parts(SimpleNamespace(inner_batch=None, inner_data=np.zeros(rows)), "inner")


def test_groups_may_be_none_and_are_not_negative() -> None:
    assert GroupL1(0.1, np.zeros(0, int)).count == 0
    for wrong in ([-1, 0], [0.0, 1.0], [[0, 1]]):
        with pytest.raises(ValueError, match=r"^groups: got an array of"):
            GroupL1(0.1, wrong)  # pyright: ignore[reportArgumentType]


def test_an_equality_that_nothing_can_follow_has_no_derivative() -> None:
    """Both variables are held by their bounds; another sum is infeasible."""

    def inner(z):
        return BoxQP(jnp.eye(2), jnp.array([-9.0, 9.0]), jnp.zeros(2), jnp.ones(2), jnp.ones(2), z)

    def outer(z, value):
        return jnp.sum(value[0]) + z

    certificate = certify(Bilevel(inner, outer, ActiveSet()), jnp.array(1.0))
    assert bool(certificate.degenerate)
    assert certificate.error_bound == np.inf


def test_a_layer_may_lie_deep_in_the_parameters() -> None:
    inmost = {"kernel": jnp.ones((3, 3, 1, 2)), "bias": jnp.zeros(2)}
    parameters = {"encoder": {"block": {"conv": inmost, "other": {}}}, "conv": {}}
    assert Channels().part("encoder/block/conv", parameters) is inmost
    assert Channels().part("conv", parameters) == {}
    with pytest.raises(ValueError, match="no entry 'encoder/conv'"):
        Channels().part("encoder/conv", parameters)
