"""Foreign minimisers as inner solvers: their way there, our derivative."""

import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel import SolveError, argmin
from bilevel.adapters import Jaxopt, Optimistix
from bilevel.adapters import jaxopt as jaxopt_adapter
from bilevel.adapters._foreign import AbstractForeign
from bilevel.problems import Smooth
from bilevel.results import CONVERGED, MAX_STEPS, NON_FINITE
from bilevel.solvers import Newton, NewtonCG
from bilevel.solvers.smooth._smooth import AbstractSmoothSolver

RNG = np.random.default_rng(5)
X = jnp.asarray(RNG.normal(size=(30, 4)))
Z = {"y": jnp.asarray(RNG.normal(size=30)), "log_l2": jnp.asarray(-1.0)}
LOOSE = {"rtol": 1e-3, "atol": 1e-3}
TIGHT = {"rtol": 1e-13, "atol": 1e-13}
FINISHED = {
    "jaxopt LBFGS": Jaxopt("LBFGS", {"tol": 1e-2}),
    "jaxopt GradientDescent": Jaxopt("GradientDescent", {"tol": 1e-2}, finish=NewtonCG()),
    "optimistix BFGS": Optimistix("BFGS", LOOSE),
    "optimistix NonlinearCG": Optimistix("NonlinearCG", LOOSE, finish=NewtonCG()),
}
ALONE = {
    "jaxopt BFGS": Jaxopt("BFGS", {"tol": 1e-11, "maxiter": 200}, finish=None),
    "optimistix LBFGS": Optimistix("LBFGS", TIGHT, finish=None),
}


def problem(z):
    def objective(w, _):
        fit = jnp.sum(jnp.log(jnp.cosh(X @ w["slope"] + w["bias"] - z["y"])))
        return fit + 0.5 * jnp.exp(z["log_l2"]) * (jnp.sum(w["slope"] ** 2) + w["bias"] ** 2)

    return Smooth(objective, {"slope": jnp.zeros(4), "bias": jnp.zeros(())})


@eqx.filter_jit
def solved(z, solver):
    """The solution, and the gradient of a function of it in everything."""

    def score(z):
        solution = argmin(problem(z), solver=solver, throw=False)
        w = solution.value
        return jnp.sin(w["slope"][0]) + w["slope"][1] * w["bias"], solution

    (_, solution), gradient = jax.value_and_grad(score, has_aux=True)(z)
    return solution, gradient


def agree(a, b, tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=tolerance), a, b)


REST = {"jaxopt GradientDescent", "optimistix LBFGS"}


def rows(names):
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in REST)) for name in names]


@pytest.mark.parametrize("name", rows(FINISHED))
def test_a_finished_answer_is_newtons(name):
    wanted, slope = solved(Z, Newton())
    found, got = solved(Z, FINISHED[name])
    assert int(found.result) == CONVERGED
    assert bool(found.stats["foreign_converged"])
    assert 1 <= int(found.stats["foreign_steps"]) <= 500
    agree(found.value, wanted.value, 1e-12)
    agree(got, slope, 1e-11)


@pytest.mark.parametrize("name", rows(ALONE))
def test_an_unfinished_answer_is_as_good_as_its_tolerance(name):
    wanted, slope = solved(Z, Newton())
    found, got = solved(Z, ALONE[name])
    assert int(found.result) == CONVERGED
    assert 1 <= int(found.stats["steps"]) <= 500
    agree(found.value, wanted.value, 1e-6)
    agree(got, slope, 1e-5)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("optimistix BFGS", 1),
        pytest.param("optimistix BFGS", 2, marks=pytest.mark.slow),
        pytest.param("jaxopt LBFGS", 2, marks=pytest.mark.slow),
    ],
)
def test_batches_loops_and_derivatives_of_any_order(name, order):
    def weights(log_l2, solver):
        return argmin(problem({**Z, "log_l2": log_l2}), solver=solver).value["slope"]

    grid = jnp.asarray([-2.0, 0.0, 2.0])
    first = jax.jacfwd(weights)

    def derivatives(solver):
        def run(t):
            return first(t, solver), *([jax.jacfwd(first)(t, solver)] if order == 2 else [])

        return jax.jit(jax.vmap(run))(grid)

    agree(derivatives(FINISHED[name]), derivatives(Newton()), 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver",
    [
        Jaxopt("LBFGS", {"tol": 1e-12, "maxiter": 2}, finish=None),
        Optimistix("BFGS", TIGHT, max_steps=2, finish=None),
    ],
)
def test_their_failure_is_ours(solver):
    found, _ = solved(Z, solver)
    assert int(found.result) == MAX_STEPS
    assert int(found.stats["steps"]) == 2
    with pytest.raises(SolveError, match="max_steps"):
        argmin(problem(Z), solver=solver)
    spoiled, _ = solved({**Z, "log_l2": jnp.asarray(jnp.nan)}, solver)
    assert int(spoiled.result) == NON_FINITE


class Stub(AbstractForeign):
    """Ends at a given point, and says whether it has converged."""

    at: float
    says: bool
    name: str = "stub"
    settings: Mapping[str, Any] = eqx.field(default_factory=dict)
    finish: AbstractSmoothSolver | None = None

    def reach(self, problem, start):
        w = jax.tree.map(lambda leaf: jnp.full_like(leaf, self.at), start)
        return w, jnp.asarray(self.says), jnp.int32(3)


@pytest.mark.parametrize(
    ("at", "says", "result"),
    [(0.5, True, CONVERGED), (0.5, False, MAX_STEPS), (np.nan, True, NON_FINITE),
     (np.nan, False, NON_FINITE)],
)  # fmt: skip
def test_what_a_foreign_solver_says_is_the_result(at, says, result):
    @jax.jit
    def point_of(z):
        posed = problem(z)
        return Stub(at=at, says=says).run(posed, posed.start)

    point = point_of(Z)
    assert int(point.result) == result
    assert int(point.stats["steps"]) == 3


@pytest.mark.parametrize(("error", "converged"), [(1e-9, True), (1e-6, True), (2e-6, False)])
def test_jaxopt_has_converged_if_its_error_is_within_its_tol(error, converged, monkeypatch):
    class Descent:
        tol = 1e-6

        def __init__(self, fun, **settings):
            del fun, settings

        def run(self, start):
            return start, SimpleNamespace(error=jnp.asarray(error), iter_num=7)

    library = SimpleNamespace(__name__="jaxopt", Descent=Descent)
    monkeypatch.setattr(jaxopt_adapter, "_library", lambda: library)
    _, says, steps = Jaxopt("Descent").reach(problem(Z), problem(Z).start)
    assert bool(says) == converged
    assert int(steps) == 7


@pytest.mark.parametrize("name", ["successful", "nonlinear_max_steps_reached"])
def test_optimistix_has_converged_if_its_result_is_success(name, monkeypatch):
    results = pytest.importorskip("optimistix").RESULTS

    def minimise(function, solver, start, args, **settings):
        result = getattr(results, name)
        return SimpleNamespace(value=start, result=result, stats={"num_steps": 7})

    monkeypatch.setattr("optimistix.minimise", minimise)
    _, says, steps = Optimistix("BFGS", LOOSE).reach(problem(Z), problem(Z).start)
    assert bool(says) == (name == "successful")
    assert int(steps) == 7


def test_a_finish_judges_the_answer_that_it_gives():
    finished = argmin(problem(Z), solver=Jaxopt("LBFGS", {"tol": 1e-12, "maxiter": 2}))
    assert int(finished.result) == CONVERGED
    assert not bool(finished.stats["foreign_converged"])
    hasty = Optimistix("BFGS", LOOSE, finish=Newton(max_steps=1))
    failed = argmin(problem(Z), solver=hasty, throw=False)
    assert int(failed.result) == MAX_STEPS
    assert bool(failed.stats["foreign_converged"])


@pytest.mark.parametrize("adapter", [Jaxopt, Optimistix])
def test_an_unknown_name_gets_a_sentence(adapter):
    with pytest.raises(ValueError, match=r"name: got 'LBGFS', expected the name of a solver"):
        argmin(problem(Z), solver=adapter("LBGFS"))


@pytest.mark.parametrize(("adapter", "library"), [(Jaxopt, "jaxopt"), (Optimistix, "optimistix")])
def test_a_missing_library_names_its_extra(adapter, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"pip install bilevel\[{library}\]"):
        argmin(problem(Z), solver=adapter("LBFGS", LOOSE))
