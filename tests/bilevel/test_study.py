"""`compare`, `check` and `lag`: a right gradient passes, each planted bug is found and named."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import bilevel
from bilevel import Bilevel, Method, argmin, certify, check, compare, lag
from bilevel.derivatives import Forward, Implicit, Truncated, Unroll
from bilevel.linear import Dense, Neumann
from bilevel.problems import BoxQP, Smooth
from bilevel.results import MAX_STEPS, sentence
from bilevel.solvers import ActiveSet, Descent, Newton
from bilevel.study._differences import difference, narrowed
from bilevel.study._method import degrees, relative
from bilevel.study.check import _solve

ROWS = np.random.default_rng(0).normal(size=(4, 30, 5))
X, V = jnp.asarray(ROWS[0]), jnp.asarray(ROWS[1])
Y, T = jnp.sign(X @ jnp.arange(5.0) - 1), jnp.sign(V @ jnp.arange(5.0) - 1)
Z = {"row": jnp.asarray(ROWS[2, 0]), "log_l2": jnp.full(5, -1.0)}


def loss(w, args, rows=lambda row: row, penalty=lambda log_l2, w: jnp.exp(log_l2) * w * w):
    x = X.at[0].set(rows(args["row"]))
    fit = jnp.mean(jax.nn.softplus(-Y * (x @ w)))
    return fit + 0.5 * jnp.sum(penalty(args["log_l2"], w))


def outer(z, w):
    return jnp.mean(jax.nn.softplus(-T * (V @ w))) + 0.01 * jnp.sum(z["row"] ** 2)


def make(loss=loss, outer=outer, solver=None, derivative=None) -> Bilevel:
    solver = Newton() if solver is None else solver
    derivative = Implicit() if derivative is None else derivative
    return Bilevel(
        inner_problem=lambda z: Smooth(loss, jnp.zeros(5), z),
        outer_objective=outer,
        solver=solver,
        derivative=derivative,
    )


def test_a_right_gradient_passes_and_says_how_right_it_is() -> None:
    report = check(make(), Z)
    assert report.ok, str(report)
    assert not report.degenerate
    assert max(finding.error for finding in report.findings) < 1e-7
    assert "hypergradient" in str(report)


@pytest.mark.slow
def test_a_quadratic_program_passes() -> None:
    root = jnp.asarray(ROWS[3, :6])

    def inner(z):
        n = 6
        box = jnp.zeros(n), jnp.full(n, 0.2)
        return BoxQP(root @ root.T + jnp.eye(n), z, *box, jnp.ones(n), jnp.asarray(0.6))

    problem = Bilevel(
        inner_problem=inner,
        outer_objective=lambda z, v: jnp.sum(jnp.sin(jnp.arange(6.0) * v[0])),
        solver=ActiveSet(),
    )
    report = check(problem, jnp.asarray(ROWS[2, 1:2, :]).repeat(2, 0).ravel()[:6])
    assert report.ok, str(report)


# ------------------------------------------------------------------------------ planted bugs


@jax.custom_vjp
def _negated(x):
    return x


_negated.defvjp(lambda x: (x, None), lambda _, g: (-g,))


@jax.custom_jvp
def _square(log_l2, w):
    """The penalty, with a derivative that forgets a factor of two in w."""
    return jnp.exp(log_l2) * w * w


@_square.defjvp
def _square_jvp(primals, tangents):
    (log_l2, w), (t_log, t_w) = primals, tangents
    e = jnp.exp(log_l2)
    return e * w * w, e * w * w * t_log + e * w * t_w


class Forgetful(Newton):
    """Conditions that lack the penalty's part in one coordinate (a bias, say)."""

    def conditions(self, problem, unknowns, frozen):
        gradient = jax.grad(problem.objective)(unknowns, problem.args)
        lost = jax.lax.stop_gradient(jnp.exp(problem.args["log_l2"])) * unknowns
        return gradient.at[4].add(-lost[4] + jax.lax.stop_gradient(lost[4]))


class Confident(Newton):
    """Says that it converged, whatever it did."""

    def run(self, problem, warm):
        point = super().run(problem, warm)
        return eqx.tree_at(lambda p: p.result, point, jnp.int32(0))


class Detached(Newton):
    """Loses the derivative of one coordinate of its answer."""

    def value(self, problem, unknowns, frozen):
        return unknowns.at[4].set(jax.lax.stop_gradient(unknowns[4]))


class Careless(Detached, Forgetful):
    """Both."""


class Half(Dense):
    """A linear solver that answers half of the system."""

    def solve(self, matvec, backsolve, rhs):
        return jax.tree.map(lambda v: v.at[2:].set(0), super().solve(matvec, backsolve, rhs))


def single(x):
    return x.astype(jnp.float32).astype(jnp.float64)


def random_outer(z, w):
    return outer(z, w) + 1e-3 * float(np.random.default_rng().normal())


BUGS = {
    "a lost term": (
        make(outer=lambda z, w: outer(jax.lax.stop_gradient(z), w)),
        "outer objective, in z",
    ),
    "a wrong sign": (
        make(outer=lambda z, w: outer({**z, "row": _negated(z["row"])}, w)),
        "outer objective, in z",
    ),
    "a wrong sign in the solution": (
        make(outer=lambda z, w: outer(z, _negated(w))),
        "outer objective, in the solution",
    ),
    "a stop_gradient in the inner problem": (
        make(loss=partial(loss, rows=jax.lax.stop_gradient)),
        "conditions, in z",
    ),
    "a wrong factor in a custom derivative": (
        make(loss=partial(loss, penalty=_square)),
        "inner objective, its gradient",
    ),
    "a term lost from the conditions": (make(solver=Forgetful()), "conditions, in the unknowns"),
    "an unconverged solve": (make(solver=Newton(max_steps=3)), "solve by Newton"),
    "an unconverged solve that hides it": (
        make(solver=Confident(max_steps=3)),
        "solve by Confident",
    ),
    "a float32 cast in the inner problem": (
        make(loss=partial(loss, rows=single)),
        "conditions, in z",
    ),
    "a float32 cast in the outer objective": (
        make(outer=lambda z, w: outer(z, single(w))),
        "outer objective, in the solution",
    ),
    "a detached part of the solution": (make(solver=Detached()), "solution, in the unknowns"),
    "a wrong adjoint": (make(derivative=Implicit(Half())), "adjoint by Half"),
    "an approximate adjoint": (make(derivative=Implicit(Neumann(2))), "adjoint by Neumann"),
    "a truncated path": (
        make(solver=Descent(optimizer=optax.sgd(0.5), steps=50), derivative=Truncated(3)),
        "derivative Truncated",
    ),
    "randomness": (make(outer=random_outer), "value"),
}


FAST = {"an unconverged solve that hides it", "a float32 cast in the inner problem", "randomness"}


@pytest.mark.parametrize(
    "bug", [pytest.param(bug, marks=[pytest.mark.slow] * (bug not in FAST)) for bug in BUGS]
)
def test_a_planted_bug_is_found_and_named(bug: str) -> None:
    problem, part = BUGS[bug]
    report = check(problem, Z)
    assert not report.ok
    assert part in report.wrong, str(report)


def test_integers_of_a_point_stay_numbers() -> None:
    def function(x):
        return jnp.sum(x["w"][np.asarray(x["i"])] ** 2)

    at = {"w": jnp.asarray([1.0, 2.0, -3.0]), "i": jnp.asarray([0, 2])}
    assert difference(function, at, jax.random.key(0)) < 1e-7


def test_casts_to_fewer_bits_are_seen_in_inner_programs_too() -> None:
    def in_a_loop(x):
        return jax.lax.fori_loop(0, 3, lambda _, x: jax.jit(single)(x), x)

    assert narrowed(in_a_loop, X) == "float64 -> float32"
    assert narrowed(lambda x: x.astype(jnp.float32), X.astype(jnp.float32)) is None
    assert narrowed(lambda x: x[jnp.argmax(x[:, 0]).astype(jnp.int32)], X) is None


def test_a_solve_that_did_not_end_is_wrong_however_near_its_solution() -> None:
    certificate = certify(make(), Z)
    assert all(finding.ok for finding in _solve(make(), certificate, 1e-6))
    stopped = eqx.tree_at(lambda c: c.result, certificate, jnp.int32(MAX_STEPS))
    solve, adjoint = _solve(make(), stopped, 1e-6)
    assert (solve.ok, adjoint.ok) == (False, True)
    assert solve.message == sentence(MAX_STEPS)


@pytest.mark.slow
def test_bugs_in_all_parts_are_found_at_once() -> None:
    problem = make(
        loss=partial(loss, rows=jax.lax.stop_gradient, penalty=_square),
        outer=lambda z, w: outer({**z, "row": _negated(z["row"])}, _negated(w)),
        solver=Careless(max_steps=3),
        derivative=Implicit(Neumann(2)),
    )
    assert check(problem, Z).wrong == [
        "outer objective, in the solution",
        "outer objective, in z",
        "conditions, in z",
        "conditions, in the unknowns",
        "solution, in the unknowns",
        "inner objective, its gradient",
        "solve by Careless",
        "adjoint by Neumann",
        "hypergradient",
    ]


@pytest.mark.slow
def test_a_part_that_is_right_is_not_blamed() -> None:
    problem, _ = BUGS["a lost term"]
    assert check(problem, Z).wrong == ["outer objective, in z", "hypergradient"]
    problem, _ = BUGS["an approximate adjoint"]
    assert check(problem, Z).wrong == ["adjoint by Neumann", "hypergradient"]


@pytest.mark.slow
def test_the_message_names_the_leaf() -> None:
    problem, part = BUGS["a wrong sign"]
    (finding,) = (f for f in check(problem, Z).findings if f.part == part)
    assert "['row']" in finding.message


@pytest.mark.parametrize(
    ("z", "sentence"),
    [
        ({"row": jnp.full(5, jnp.nan), "log_l2": jnp.zeros(5)}, "z: got NaN"),
        ({"row": jnp.arange(5), "log_l2": jnp.zeros(5)}, "z: expected a pytree of floating"),
        ({}, "z: expected a pytree of floating"),
    ],
)
def test_a_bad_point_gets_a_sentence(z, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check(make(), z)


# ------------------------------------------------------------------------ comparison and lag


@pytest.fixture(scope="module")
def comparison() -> bilevel.study.Comparison:
    steps = Descent(optimizer=optax.sgd(0.5, momentum=0.5), steps=30)
    methods = {
        "factor": Implicit(),
        "dense": Implicit(Dense()),
        "neumann": Implicit(Neumann(3)),
        "unrolled": Method(steps, Unroll()),
        "square root": Method(
            Descent(optimizer=optax.sgd(0.5, momentum=0.5), steps=400), Unroll(2)
        ),
        "whole tape": Method(Descent(optimizer=optax.sgd(0.5, momentum=0.5), steps=400), Unroll()),
        "forward": Method(steps, Forward()),
    }
    return compare(make(), Z, methods, seconds=0.01)


@pytest.mark.slow
def test_compare_tells_exact_from_approximate(comparison) -> None:
    rows = {row.name: row for row in comparison.rows}
    assert comparison.reference in ("factor", "dense")
    assert max(rows["factor"].error, rows["dense"].error) < 1e-13
    assert rows["whole tape"].error < 1e-13
    assert 1e-3 < rows["neumann"].error < 1
    assert rows["neumann"].bound > rows["neumann"].error
    assert rows["unrolled"].bound is None
    assert rows["unrolled"].error == pytest.approx(rows["forward"].error, rel=1e-6)
    assert 1e-8 < rows["unrolled"].error < 1e-2
    # an angle is an error's part across the gradient
    error = rows["neumann"].error
    assert np.deg2rad(rows["neumann"].angle) <= 1.01 * error / (1 - error)


def test_errors_and_angles_are_against_the_reference(comparison) -> None:
    rows = {row.name: row for row in comparison.rows}

    def flat(tree) -> np.ndarray:
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])

    reference = flat(rows[comparison.reference].gradient)
    length = np.linalg.norm(reference)
    for name in ("neumann", "unrolled"):
        gradient = flat(rows[name].gradient)
        error = np.linalg.norm(gradient - reference) / length
        assert rows[name].error == pytest.approx(error, rel=1e-6)
        cosine = gradient @ reference / (length * np.linalg.norm(gradient))
        assert np.cos(np.deg2rad(rows[name].angle)) == pytest.approx(cosine, rel=1e-9)
    assert abs(np.linalg.norm(flat(rows["neumann"].gradient)) / length - 1) > 1e-3


def test_compare_shows_what_checkpoints_save(comparison) -> None:
    rows = {row.name: row for row in comparison.rows}
    assert rows["square root"].memory < 0.4 * rows["whole tape"].memory
    np.testing.assert_allclose(
        rows["square root"].gradient["row"], rows["whole tape"].gradient["row"], rtol=1e-10
    )


def test_the_table_and_the_figure_show_every_method(comparison) -> None:
    text = str(comparison)
    assert all(row.name in text for row in comparison.rows)
    figure = comparison.plot()
    assert {t.get_text() for t in figure.axes[0].texts} >= {row.name for row in comparison.rows}


def test_without_a_certified_gradient_errors_are_unknown() -> None:
    only = compare(
        make(),
        Z,
        {"unrolled": Method(Descent(optimizer=optax.sgd(0.5), steps=5), Unroll())},
        seconds=0,
    )
    assert only.reference is None
    assert np.isnan(only.rows[0].error)
    assert "no gradient could be certified" in str(only)


def test_angles_are_exact_for_small_and_for_large_ones() -> None:
    a = {"x": jnp.array([2.0, 0.0]), "y": jnp.zeros(1)}
    for angle in (1e-6, 60.0, 90.0, 150.0):
        turn = np.deg2rad(angle)
        b = {"x": jnp.array([np.cos(turn), 0.0]), "y": jnp.array([np.sin(turn)])}
        np.testing.assert_allclose(degrees(a, b), angle, rtol=1e-9)
    zero = jax.tree.map(jnp.zeros_like, a)
    assert np.isnan(degrees(a, zero))
    assert (relative(a, zero), relative(zero, a), relative(zero, zero)) == (1, 1, 0)


def test_compare_needs_something_to_compare() -> None:
    with pytest.raises(ValueError, match="derivatives: got none"):
        compare(make(), Z, [])


def test_the_gradient_of_an_unrolled_path_lags_behind_its_iterate() -> None:
    def unrolled(steps):
        return Method(Descent(optimizer=optax.sgd(0.5), steps=steps), Unroll())

    result = lag(make(), Z, {"unrolled": unrolled}, (10, 60))
    early, late = result.rows
    assert late.inner_error < 1e-3 * early.inner_error
    assert late.gradient_error > 2 * late.inner_error
    assert "unrolled" in str(result)
    assert len(result.plot().axes[0].lines) == 2
    # Errors are relative to the reference, not to what is measured.
    w, step = jnp.zeros(5), jax.jit(lambda w: w - 0.5 * jax.grad(loss)(w, Z))
    for _ in range(10):
        w = step(w)
    exact = argmin(Smooth(loss, jnp.zeros(5), Z), solver=Newton()).value
    off = np.linalg.norm(w - exact) / np.linalg.norm(exact)
    np.testing.assert_allclose(early.inner_error, off, rtol=1e-9)
    objectives = make(solver=unrolled(10).solver, derivative=Unroll()), make()
    short, whole = (ravel_pytree(jax.grad(each)(Z))[0] for each in objectives)
    off = np.linalg.norm(short - whole) / np.linalg.norm(whole)
    np.testing.assert_allclose(early.gradient_error, off, rtol=1e-9)


def test_lag_refuses_a_reference_that_is_none() -> None:
    with pytest.raises(bilevel.SolveError, match="reference"):
        lag(make(solver=Newton(max_steps=2)), Z, {}, (1,))
