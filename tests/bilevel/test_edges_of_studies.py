"""Edges of studies, certificates and sweeps: what their texts and figures tell, and of what."""

import dataclasses
import sys
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel import (
    Certificate,
    SolveError,
    certify,
)
from bilevel._bilevel import Bilevel
from bilevel._sweep import _cells, _processes
from bilevel._sweep._store import Store
from bilevel.derivatives import Implicit, Unroll
from bilevel.linear import Dense
from bilevel.problems import Smooth
from bilevel.results import CONVERGED, MAX_STEPS, sentence
from bilevel.solvers import Newton
from bilevel.study import Finding
from bilevel.study._differences import difference, numbers
from bilevel.study._method import Method, best, named
from bilevel.study.compare import Comparison, _memory, _share
from bilevel.study.compare import Measured as Compared
from bilevel.study.lag import Lag, Measured

KEY = jax.random.key(2)
CHECK = sys.modules["bilevel.study.check"]  # beside the function of this name
LAG = sys.modules["bilevel.study.lag"]


def certificate(**fields) -> Certificate:
    names = [field.name for field in dataclasses.fields(Certificate)]
    values = {name: np.array(float(number + 2)) for number, name in enumerate(names)}
    values |= {"degenerate": False, "undetermined": False, "zero": False, "result": CONVERGED}
    values |= {"truth": "the minimiser", "precision": "float64"}
    return Certificate(**values | fields)  # pyright: ignore[reportArgumentType]


@pytest.mark.stand_ins
def test_a_certificate_tells_each_number_under_its_name() -> None:
    found = certificate()
    first, *rest = str(found).splitlines()
    size, bound = found.gradient, found.error_bound
    assert first == f"value 2, |gradient| 3 (float64), error at most 4 ({bound / size:.1g} of it)"
    assert rest == [
        f"  inner residual {found.inner_residual:.1e} (moves the gradient by "
        f"{found.inner_error:.1e}), adjoint residual {found.adjoint_residual:.1e} (by "
        f"{found.adjoint_error:.1e}), rounding by {found.rounding_error:.1e}",
        f"  condition {found.condition:.1e}, active-set margin {found.margin:.1e}, kink margin "
        f"{found.kink_margin:.1e}, smooth along the gradient for a step of {found.reach:.1e}",
    ]
    path = certificate(truth="the path", gradient=np.zeros(()), result=MAX_STEPS)
    assert str(path).splitlines() == [
        "value 2, |gradient| 0 (float64), error at most 4",
        f"  derivative of the path: off by {path.adjoint_error:.1e} along random directions, "
        f"rounding by {path.rounding_error:.1e}, inner residual {path.inner_residual:.1e}",
        f"  NOT SOLVED: {sentence(MAX_STEPS)}",
    ]
    assert certify(lambda z: jnp.sum(z**2), jnp.ones(2)).truth == "the function"


def test_a_finding_names_the_leaves_that_are_off(monkeypatch) -> None:
    def off(function, x, key):
        """Their value at 1 is the error."""
        return float(function(jax.tree.map(lambda leaf: leaf + 1, x)))

    monkeypatch.setattr(CHECK, "difference", off)
    at = {"a": 0.0, "b": 0.0, "c": 0.0}
    for slopes, words in (((0, 2, 3), ", in ['b'], ['c']"), ((1e-9, 0, 2), ", in ['c']")):

        def function(z, slopes=slopes):
            return sum(value * slope for value, slope in zip(z.values(), slopes, strict=True))

        found = CHECK._compared("part", function, at, 1e-6, KEY)
        message = f"the derivative disagrees with differences{words}"
        assert found == Finding("part", sum(slopes), False, message)
    alone = CHECK._compared("part", lambda z: 2 * z["a"], {"a": 0.0}, 1e-6, KEY)
    assert alone.message == "the derivative disagrees with differences"
    assert CHECK._compared("part", lambda z: 1e-6, at, 1e-6, KEY).ok


@pytest.mark.stand_ins
def test_a_derivative_is_blamed_if_all_parts_are_right(monkeypatch) -> None:
    objective = Bilevel(lambda z: z, lambda z, w: w, Newton(), Implicit(Dense()))
    right, wrong = (Finding("part", 0.0, ok, "") for ok in (True, False))
    for error, findings, name in (
        (1.0, [right, right], "derivative Implicit"), (1.0, [right, wrong], "hypergradient"),
        (np.inf, [right], "hypergradient"), (0.0, [right], "hypergradient"),
    ):  # fmt: skip
        whole = Finding("hypergradient", error, error == 0, "as compared")
        monkeypatch.setattr(CHECK, "_compared", lambda *_, whole=whole: whole)
        found = CHECK._whole(objective, jnp.ones(2), 1e-6, KEY, findings)
        assert (found.part, found.error) == (name, error)
        assert ("not finite" in found.message) == (error == np.inf)
    gap = certificate(gradient=np.array([6.0, 8.0]), inner_error=1e-6, adjoint_error=2e-5)
    solve, adjoint = CHECK._solve(objective, gap, 1e-6)
    assert (solve.part, adjoint.part) == ("solve by Newton", "adjoint by Dense")
    np.testing.assert_allclose([solve.error, adjoint.error], [1e-7, 2e-6])
    assert (solve.ok, adjoint.ok) == (True, False)


@pytest.mark.stand_ins
def test_two_calls_are_compared_by_shapes_and_numbers(monkeypatch) -> None:
    one, two = jnp.array([3.0, 4.0]), jnp.array([3.0, 5.0])
    for first, second, gaps in (
        ((one, one), (one, one), []),
        ((one, one), (two, one), [("inner problem", 34**-0.5)]),
        ((one, one), (one, one[:1]), [("value", np.inf)]),
    ):
        calls = iter(dict(zip(("inner problem", "value"), c, strict=True)) for c in (first, second))
        monkeypatch.setattr(CHECK, "compiled", lambda *_, calls=calls, **__: lambda z: next(calls))
        found = [(each.part, each.error) for each in CHECK._purity(None, one)]
        assert [part for part, _ in found] == [part for part, _ in gaps]
        np.testing.assert_allclose([gap for _, gap in found], [gap for _, gap in gaps])


@pytest.mark.stand_ins
def test_each_part_is_moved_by_itself(monkeypatch) -> None:
    """Of F = 2 z + 3 value, value = 5 u + 7 z, conditions u - 11 z, at z = 1 and u = 4."""

    def run(problem, warm):
        return SimpleNamespace(unknowns=jnp.asarray(4.0), frozen=None)

    solver: Any = SimpleNamespace(
        cold=lambda problem: None, run=run,
        value=lambda problem, u, frozen: 5 * u + 7 * problem.args,
        conditions=lambda problem, u, frozen: u - 11 * problem.args,
    )  # fmt: skip
    start = jnp.zeros(())
    objective = Bilevel(
        lambda z: Smooth(jnp.add, start, z), lambda z, value: 2 * z + 3 * value, solver
    )
    moved, keys = {}, []

    def difference(function, x, key):
        keys.append(tuple(np.asarray(jax.random.key_data(key)).tolist()))
        before, after = (numbers(function(at)) for at in (x, jax.tree.map(lambda a: a + 1, x)))
        return float(jnp.sum(after - before))

    monkeypatch.setattr(CHECK, "difference", difference)
    monkeypatch.setattr(CHECK, "narrowed", lambda *_: None)
    monkeypatch.setattr(CHECK, "compiled", lambda function, effort: function)
    monkeypatch.setattr(CHECK, "_stationarity", lambda *_: Finding("slope", 0.0, True, ""))
    moved = {f.part: f.error for f in CHECK._parts(objective, jnp.ones(()), 1e-6, KEY)}
    assert moved == {
        "outer objective, in the solution": 3, "outer objective, in z": 2,
        "inner problem, its arrays in z": 1, "conditions, in z": -11,
        "conditions, in the unknowns": 1, "solution, in the unknowns": 5,
        "solution, in z directly": 7, "slope": 0,
    }  # fmt: skip
    assert len(set(keys)) == 7


@pytest.mark.stand_ins
def test_conditions_are_compared_with_the_slope_of_the_objective(monkeypatch) -> None:
    solver: Any = SimpleNamespace(conditions=lambda problem, u, frozen: 3 * u)
    problem: Any = SimpleNamespace(objective=lambda u, args: args * jnp.sum(u), args=5.0)
    seen = []

    def difference(function, near, key, slope):
        seen.append((float(function(near) / jnp.sum(near)), float(slope(near, near))))
        return near

    u = jnp.array([30.0, 40.0])
    for scale, ok in ((1.0, False), (1e-9, True)):
        monkeypatch.setattr(CHECK, "difference", lambda *a, s=scale: s * (difference(*a), 1.0)[1])
        found = CHECK._stationarity(SimpleNamespace(solver=solver), problem, u, None, 1e-6, KEY)
        assert (found.ok, found.error) == (ok, scale)
        assert found.message.startswith(f"the conditions are {'' if ok else 'not '}the slope")
    for value, slope in seen:
        assert value == 5
        assert slope > 0
        assert slope != 3 * 2500  # beside the solution


@pytest.mark.stand_ins
def test_a_comparison_is_against_the_best_bound() -> None:
    bounds = {"none": np.inf, "loose": 2.0, "close": 1.0, "also": 1.5}
    found = {name: certificate(error_bound=np.array(b)) for name, b in bounds.items()}
    assert best(found) == "close"
    assert best({"none": found["none"]}) is None
    assert _share(found["loose"]) == 2 / 3
    assert _share(certificate(gradient=np.zeros(2))) == 4  # of nothing
    report: Any = SimpleNamespace(temp_size_in_bytes=3, output_size_in_bytes=4)
    assert _memory(SimpleNamespace(memory_analysis=lambda: report)) == 7  # pyright: ignore
    assert _memory(SimpleNamespace(memory_analysis=lambda: None)) == 0  # pyright: ignore
    objective = Bilevel(lambda z: z, lambda z, w: w, Newton())
    given = [Implicit(Dense()), Implicit()]
    assert [each.derivative for each in named(objective, given).values()] == given
    other = Method(Newton(max_steps=2), Unroll())
    assert named(objective, {"a": other, "b": Unroll()}) == {
        "a": other, "b": Method(objective.solver, Unroll()),
    }  # fmt: skip


@pytest.mark.stand_ins
def test_a_degenerate_reference_is_none(monkeypatch) -> None:
    monkeypatch.setattr(LAG, "certify", lambda *_: certificate(degenerate=True))
    objective = Bilevel(lambda z: z, lambda z, w: w, Newton())
    with pytest.raises(SolveError, match="reference at z is degenerate"):
        LAG.lag(objective, jnp.ones(1), {}, (1,))


def test_figures_leave_out_what_is_not_finite() -> None:
    errors = {"a": (1e-1, 1e-2), "b": (np.inf, 1e-3), "c": (0.1, np.nan)}
    rows = [Measured(name, 1, *error) for name, error in errors.items()]
    (axes,) = Lag(rows).plot().axes
    line, _ = (each.get_xydata() for each in axes.lines)
    np.testing.assert_allclose(line, [(1e-1, 1e-2)])
    assert axes.xaxis_inverted()  # a longer path is on the right
    assert Lag(rows[1:]).plot().axes  # without a warning
    exact = [Compared("exact", 1.0, None, 1e-3, 0.0, b, 1.0, 1.0, 1, 1, "") for b in (np.inf, 0.0)]
    (axes,) = Comparison(exact, "exact").plot().axes
    (bound,) = (each.get_xydata() for each in axes.lines)  # of zero, and none at infinity
    np.testing.assert_allclose(bound, [(1e3, 1e-3), (1e3, 1e-17)])


def test_numbers_are_of_the_widest_kind() -> None:
    with jax.numpy_dtype_promotion("standard"):
        mixed = numbers([jnp.ones(2, jnp.float32), jnp.full(1, 1 / 3)])
    assert mixed.dtype == "float64"
    assert mixed[-1] == 1 / 3


def test_cells_are_arrays_of_any_kind_and_their_mark_is_no_name() -> None:
    flags = _cells.loads(_cells.dumps({"flags": np.array([True, False])}))["flags"]
    assert (flags.dtype, flags.tolist()) == ("bool", [True, False])
    with pytest.raises(TypeError, match="has the name '__array__', expected text other than"):
        _cells.dumps({"a": {"__array__": [1]}})


def test_a_store_of_another_precision_says_how_to_go_on(tmp_path) -> None:
    about = {"task": "a.b", "version": "1", "x64": True}
    with Store(tmp_path, about) as store:
        store.write("k", {}, '{"cells": {}}')
        assert store.read("k") == {"cells": {}}
    with pytest.raises(ValueError, match=r"x64 False; give jax_enable_x64=True to go on with"):
        Store(tmp_path, about | {"x64": False})


@pytest.mark.parametrize(
    ("jobs", "shares"),
    [(2, [[3, 5], [4]]), (5, [[3], [4], [5], [3], [4]]), (None, [[3], [4], [5]])],
)
def test_processes_share_the_cores(jobs, shares, monkeypatch) -> None:
    kept = []
    monkeypatch.setattr(_processes, "_cores", lambda: [3, 4, 5])
    monkeypatch.setattr(_processes, "_keep_to", kept.append)
    monkeypatch.setattr(
        _processes, "ThreadPoolExecutor",
        lambda jobs, initializer: [initializer() for _ in range(jobs)],
    )  # fmt: skip
    _processes.Processes(jobs)
    assert kept == shares
    endings = [_processes._ended(code) for code in (0, 3, -9, -200)]
    assert [ending.rsplit(" ", 1)[-1] for ending in endings] == ["0", "3", "SIGKILL", "200"]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_rounding_of_large_numbers_hides_a_slope_whatever_their_signs(sign) -> None:
    def level(x):
        return {"a": sign * (1e8 + 1e-10 * jnp.sum(x)), "b": -sign * 1e8 * jnp.ones(2)}

    assert difference(level, jnp.ones(3), jax.random.key(0)) == 0
    assert difference(level, np.arange(3), jax.random.key(0)) == 0  # nothing moves
