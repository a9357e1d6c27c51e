"""Corners of runs: patience that begins anew, programs inside others, keys of any kind, and the
ends of processes and of foreign solvers.
"""

import importlib
from concurrent.futures import BrokenExecutor, Executor, Future
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sweeping

from bilevel import Data, Info, _program, minimize, sweep
from bilevel._bilevel import AbstractObjective
from bilevel._rounding import Noise
from bilevel._sweep import _processes
from bilevel._tree import fetched, like
from bilevel.adapters._foreign import AbstractForeign
from bilevel.problems import Smooth
from bilevel.results import CONVERGED, MAX_STEPS, NON_FINITE, SETTLED
from bilevel.solvers.smooth._smooth import AbstractSmoothSolver

_compare = importlib.import_module("bilevel.study.compare")


@pytest.mark.parametrize(("patience", "floor", "steps"), [(3, 0.3, 7), (3, 0.6, 4), (1, 0.3, 3)])
def test_every_shrinking_of_the_steps_has_its_own_patience(patience, floor, steps) -> None:
    """Where nothing moves: after the first evaluation `patience` in vain for each halving."""
    run = minimize(
        lambda z: jnp.sum(z), jnp.ones(1), steps=12, optimizer=optax.sgd(0.1), shrink=0.5,
        patience=patience, floor=floor, project=lambda z: jnp.ones_like(z),
    )  # fmt: skip
    assert (int(run.status), int(run.steps)) == (SETTLED, steps)


class Remembers(AbstractObjective):
    """The sum of z; the next solve begins at ten times it."""

    def cold(self, z):
        return jnp.zeros(1)

    def evaluate(self, z, warm=None):
        return jnp.sum(z), (10 * z, Info(jnp.int32(CONVERGED), {}))


def test_what_goes_back_to_the_best_point_begins_its_solve_as_there() -> None:
    """Upwards in vain from 1, past 2 and 3."""
    run = minimize(
        Remembers(), jnp.ones(1), steps=3, optimizer=optax.sgd(-1.0), patience=2, shrink=0.5,
        record=lambda step: step.z[0],
    )  # fmt: skip
    np.testing.assert_array_equal(run.history, [1, 2, 3])
    np.testing.assert_array_equal([run.state.best, run.state.best_warm], [[1], [10]])
    np.testing.assert_array_equal([run.state.z, run.state.warm], [[1.5], [10]])


def test_a_program_of_constants_runs_inside_another(monkeypatch) -> None:
    """Options of the compiler are for programs that stand alone, whatever their arguments."""
    options = {"xla_backend_optimization_level": 0}
    monkeypatch.setattr(_program, "compiler_options", lambda effort: options)
    ones = jnp.ones(2)
    run = _program.compiled(lambda a, b: (a + b, "kept"))
    assert run(ones, 2)[1] == "kept"
    for traced in (False, True):
        found = jax.jit(lambda c, traced=traced: c * run(c * ones if traced else ones, 2)[0])
        np.testing.assert_array_equal(found(jnp.asarray(2.0)), [8, 8] if traced else [6, 6])


@pytest.mark.parametrize(("y", "stay"), [((1.0, -1.0), True), ((0.0, 2.0), True),
                                         ((1.0, 0.5), False), ((0.3, 0.5), False)])  # fmt: skip
def test_labels_are_classes_where_all_are_whole_numbers(y, stay) -> None:
    """Then rounding is drawn for rows and weights alone."""
    data = Data(jnp.ones((2, 3)), jnp.array(y), jnp.ones(2))
    drawn = Noise(jnp.uint32(1), jnp.asarray(1e-3)).arrays({"rows": data})["rows"]
    np.testing.assert_allclose(np.abs(np.asarray(drawn.x) - 1), 1e-3, rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.asarray(drawn.weight) - 1), 1e-3, rtol=1e-9)
    moved = 0 if stay else 1e-3 * np.abs(y)
    np.testing.assert_allclose(np.abs(np.asarray(drawn.y) - y), moved, rtol=1e-9)


class Deadly(Executor):
    """Whose every worker ends; so many calls were made."""

    calls = 0

    def submit(self, fn, /, *args, **kwargs):
        self.calls += 1
        future = Future()
        future.set_exception(BrokenExecutor("gone"))
        return future


def test_an_item_is_given_up_after_three_workers(tmp_path) -> None:
    pool = Deadly()
    swept = sweep(sweeping.poison, [{"x": 1}], store=tmp_path, executor=pool)
    assert [item.failure for item in swept.failed] == ["killed 3 times: gone"]
    assert pool.calls == 3


@pytest.mark.parametrize("kind", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_key_comes_back_from_the_host_as_a_key_of_its_kind(kind, shape) -> None:
    key = jax.random.key(3, impl=kind)
    key = jax.random.split(key, shape) if shape else key
    again = like(key, fetched(key))
    assert (again.dtype, again.shape) == (key.dtype, shape)
    np.testing.assert_array_equal(fetched(again), fetched(key))


class Ended:
    """A process that has ended before it answers."""

    ready, code = True, 3

    def __init__(self):
        self.process = SimpleNamespace(exitcode=self.code, join=lambda: None, kill=lambda: None)

    def answer(self, call):
        raise EOFError


@pytest.mark.stand_ins
@pytest.mark.parametrize(
    ("ready", "code", "refuses"),
    [(False, 3, True), (True, 3, False), (False, 0, False), (False, -9, False)],
)
def test_no_more_calls_are_taken_once_a_process_could_not_start(
    ready, code, refuses, monkeypatch
) -> None:
    """One that answered before, or was killed, has ended by itself alone."""
    monkeypatch.setattr(_processes, "_keep_to", lambda cores: None)
    monkeypatch.setattr(_processes, "_Worker", type("Made", (Ended,), dict(ready=ready, code=code)))
    said = _processes.UNSTARTED if refuses else _processes._ended(code)
    with _processes.Processes(1) as pool:
        with pytest.raises(BrokenExecutor) as first:
            pool.submit(len, "ab").result()
        assert str(first.value) == said
        assert not pool._workers
        with pytest.raises(BrokenExecutor) as second:
            pool.submit(len, "ab").result()
        assert str(second.value) == said
        assert bool(pool._refusal) == refuses


def test_a_call_that_raises_is_no_end_of_its_process(monkeypatch) -> None:
    class Answers(Ended):
        def answer(self, call):
            return len(call) == 0, "ValueError: no"

    monkeypatch.setattr(_processes, "_keep_to", lambda cores: None)
    monkeypatch.setattr(_processes, "_Worker", Answers)
    with _processes.Processes(1) as pool:
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"^ValueError: no$"):
                pool.submit(len, "ab").result()
        assert len(pool._workers) == 1


class Reports(AbstractForeign):
    """Ends at a point, with a report of its own."""

    point: float = 0.0
    good: bool = True
    name: str = "stub"
    settings: dict = eqx.field(default_factory=dict)
    finish: AbstractSmoothSolver | None = None

    def reach(self, problem, start):
        return jnp.full_like(start, self.point), jnp.asarray(self.good), jnp.int32(7)


@pytest.mark.stand_ins
@pytest.mark.parametrize(
    ("point", "good", "result"),
    [
        (4.0, True, CONVERGED),
        (4.0, False, MAX_STEPS),
        (0.0, True, NON_FINITE),  # where the slope is infinite
        (np.inf, False, NON_FINITE),  # where it is zero
    ],
)
def test_a_foreign_point_is_as_good_as_reported_if_it_and_its_slope_are_numbers(
    point, good, result
) -> None:
    problem = Smooth(lambda w, _: jnp.sum(jnp.sqrt(w)), jnp.ones(2))
    found = Reports(point, good).run(problem, problem.start)
    assert int(found.result) == result
    assert int(found.stats["steps"]) == 7


@pytest.mark.stand_ins
def test_a_method_is_timed_by_its_fastest_repeat(monkeypatch) -> None:
    """Compiling takes five seconds, the repeats three, one and two."""
    ticks = iter([0.0, 5, 5, 8, 8, 9, 9, 11])
    ran = []

    class Program:
        def __call__(self, arrays, z):
            ran.append(z)
            return SimpleNamespace(
                value=2.0, gradient=z, info=Info(jnp.int32(CONVERGED), {"steps": jnp.int32(4)})
            )

        def memory_analysis(self):
            return SimpleNamespace(temp_size_in_bytes=30, output_size_in_bytes=12)

    program: Any = SimpleNamespace(compile=Program)
    monkeypatch.setattr(_compare, "time", SimpleNamespace(process_time=lambda: next(ticks)))
    monkeypatch.setattr(_compare, "named", lambda objective, methods: methods)
    monkeypatch.setattr(_compare, "certified", lambda objective, methods, z: {})
    monkeypatch.setattr(_compare, "using", lambda objective, method: objective)
    monkeypatch.setattr(_compare, "compiled", lambda objective: lambda z: program)
    measured: Any = _compare.compare
    (row,) = measured(None, 1.5, {"one": None}, seconds=6.0).rows
    assert (row.name, row.value, row.steps, row.memory, row.bound) == ("one", 2, 4, 42, None)
    assert (row.seconds, row.compile_seconds) == (1, 5)
    assert len(ran) == 1 + 3  # the first is to warm up
