"""Tuned penalties: from which start, by which steps, timed how, on which rows."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import Clock, put, said, tells
from scipy.special import expit

from benchmarks import data as held_data
from benchmarks.experiments.tuning import hyperparameters, stochastic
from benchmarks.report import UsageError

pytestmark = pytest.mark.stand_ins
ROWS = jnp.array([[0.5, 1.0], [2.0, -1.0], [0.25, 0.0]]), jnp.array([1, 0, 2])


def test_penalties_are_of_the_rows_of_the_weights() -> None:
    w, z = jnp.array([[1.0, 0.5, -1.0], [0.0, 2.0, 1.0]]), jnp.log(jnp.array([2.0, 3.0]))
    logits = np.asarray(ROWS[0] @ w)
    right = logits[np.arange(3), [1, 0, 2]]
    loss = np.mean(np.log(np.exp(logits).sum(1)) - right)
    np.testing.assert_allclose(stochastic.loss(None, w, ROWS), loss)
    penalty = (2 * (1 + 0.25 + 1) + 3 * (4 + 1)) / 2
    np.testing.assert_allclose(stochastic.penalised(z, w, ROWS), loss + penalty)
    np.testing.assert_allclose(stochastic.project(jnp.array([-20.0, -4, 3])), [-9, -4, 0])
    np.testing.assert_allclose(stochastic.falling(0.5, 40)(6), 0.5 / 2)


def test_digits_of_mnist_are_scaled_and_too_large_batches_are_refused(monkeypatch) -> None:
    digits = SimpleNamespace(images=np.arange(42).reshape(14, 3) * 5, labels=np.arange(14) % 10)
    put(monkeypatch, held_data, mnist=lambda: digits)
    problem, bound = stochastic.load(stochastic.Options(data="mnist", batch=3, seed=6))
    x = digits.images / 255 - (digits.images / 255).mean(axis=0)
    order = np.random.default_rng(6).permutation(14)
    for (rows, labels), part in (
        (problem.inner_data, order[:6]),
        (problem.outer_data, order[6:12]),
    ):
        np.testing.assert_allclose(rows, x[part])
        np.testing.assert_array_equal(labels, part % 10)
    gram = x[order[:6]].T @ x[order[:6]] / 6
    assert bound == pytest.approx(np.max(np.linalg.eigvalsh(gram)) / 2)
    with pytest.raises(UsageError, match="--batch: got 8, more than half of the 14 rows"):
        stochastic.load(stochastic.Options(data="mnist", batch=8))


def test_methods_with_inner_loops_take_a_tenth_of_the_steps(monkeypatch) -> None:
    names = ("SOBA", "SABA", "AmIGO", "StocBiO", "F2SA")
    put(monkeypatch, stochastic, **{name: tells(name) for name in names})
    assert stochastic.methods(500) == {
        "SOBA": (("SOBA",), 500, True), "SABA": (("SABA",), 500, False),
        "AmIGO": (("AmIGO",), 50, True), "StocBiO": (("StocBiO",), 50, True),
        "F2SA": (("F2SA", 10.0, ("growth", 2.0)), 50, True),
    }  # fmt: skip
    problem: Any = SimpleNamespace(inner_data=(np.zeros((4, 3)), None))
    z, w = stochastic.start(problem)
    assert (z.tolist(), w.shape, float(jnp.sum(w**2))) == ([-4.0] * 3, (3, 10), 0.0)


def test_step_sizes_are_tried_by_one_program_and_timed_without_compiling(monkeypatch) -> None:
    clock = Clock(100.0, 2.0, 3.0)

    class Program:
        def __init__(self, function: Any):
            self.function = function

        def lower(self, z: Any, size: Any) -> Any:
            assert (z, float(size)) == ("z", 0.5)
            clock.spend()
            return SimpleNamespace(compile=lambda: self)

        def __call__(self, z: Any, size: Any) -> Any:
            clock.spend()
            return self.function(z, float(size))

    same = SimpleNamespace(jit=Program, block_until_ready=lambda found: found, Array=jax.Array)
    put(monkeypatch, stochastic, jax=same, time=clock)
    found = stochastic.trials(lambda z, size: (z, size), "z", (0.5, 4.0))  # pyright: ignore
    assert found == [(0.5, ("z", 0.5), 2.0), (4.0, ("z", 4.0), 3.0)]


@pytest.mark.parametrize(("name", "falls"), [("SOBA", True), ("SABA", False)])
def test_stochastic_methods_run_at_the_best_of_their_step_sizes(name, falls, monkeypatch) -> None:
    options = stochastic.Options(steps=105, seed=6)
    ends = {1.0: 3.0, 5.0: np.nan, 25.0: 0.5, 125.0: 2.0}
    given: list[Any] = []

    def descend(problem: str, z: Any, w: Any, **settings: Any) -> Any:
        given.append((problem, z, w, settings))
        size = settings["outer_step"] if not falls else settings["outer_step"][1]
        history = [f"{size} first", f"{size} second"]
        return SimpleNamespace(z=size, w="w", history=history, steps=8, message=f"ended {size}")

    def judge(z: Any, w: Any) -> Any:
        if isinstance(z, float):
            return jnp.asarray(ends[z]), (None, None)
        return jnp.asarray(said(z, w)), (f"{w}, solved", None)

    def trials(run: Any, z: str, sizes: Any) -> Any:
        return [(size, run(z, size), 10 * size) for size in sizes]

    put(
        monkeypatch, stochastic, descend=descend, trials=trials, start=lambda problem: ("z", "w"),
        methods=lambda steps: {name: ("method", steps, falls)}, falling=lambda a, steps: (steps, a),
    )  # fmt: skip
    curve = stochastic.stochastic(name, "problem", 0.25, judge, options)  # pyright: ignore
    assert (curve.steps, curve.outer_step, curve.ended) == (8, 25.0, "ended 25.0")
    np.testing.assert_allclose(curve.seconds, [0, 125, 250])
    path = ("z", "25.0 first", "25.0 second")
    values = [said(z, "w" + ", solved" * i) for i, z in enumerate(path)]
    np.testing.assert_allclose(curve.value, values)
    rate = 0.5 / (0.25 + 1.0)
    for size, (problem, z, w, settings) in zip(ends, given, strict=True):
        assert (problem, z, w, settings["method"]) == ("problem", "z", "w", "method")
        assert (settings["steps"], settings["every"]) == (105, 11)
        assert settings["project"] is stochastic.project
        assert settings["inner_step"] == ((105, rate) if falls else rate)
        assert settings["adjoint_step"] == rate
        assert settings["outer_step"] == ((105, size) if falls else size)
        assert said(settings["key"]) == said(jax.random.key(6))


def test_exact_hypergradients_start_where_the_others_do(monkeypatch) -> None:
    options = stochastic.Options(exact_steps=9)
    given: list[Any] = []
    values = {0.1: 2.0, 0.3: 0.5}

    def minimize(objective: Any, z: Any, **settings: Any) -> Any:
        given.append((objective, z, sorted(settings.items(), key=lambda pair: pair[0])))
        size = settings["optimizer"][1]
        history = np.array([4.0, 3.0, values[size], 99.0])
        return SimpleNamespace(value=values[size], steps=3, history=history, message=f"at {size}")

    put(
        monkeypatch, stochastic, start=lambda problem: ("z", "w"), LBFGS=tells("solver"),
        trials=lambda run, z, sizes: [(size, run(z, size), 6.0) for size in sizes],
        bilevel=SimpleNamespace(minimize=minimize), optax=SimpleNamespace(adam=tells("adam")),
    )  # fmt: skip
    problem: Any = SimpleNamespace(exact=tells("exact"))
    curve = stochastic.exact(problem, options)
    np.testing.assert_allclose(curve.seconds, [2.0, 4.0, 6.0])
    np.testing.assert_allclose(curve.value, [4.0, 3.0, 0.5])
    assert curve[2:] == (3, 0.3, "at 0.3")
    assert given == [
        (("exact", ("solver",), "w"), "z", [
            ("optimizer", ("adam", size)), ("patience", 9), ("project", stochastic.project),
            ("steps", 9), ("tol", 0.0),
        ])
        for size in (0.1, 0.3)
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["exact", "SOBA"])
def test_a_curve_is_of_its_method(method, monkeypatch) -> None:
    options = stochastic.Options()
    put(
        monkeypatch, stochastic, _judged=lambda of: ("problem", "bound", "judge"),
        exact=lambda *given: SimpleNamespace(_asdict=lambda: ("exact", *given)),
        stochastic=lambda *given: SimpleNamespace(_asdict=lambda: given),
    )  # fmt: skip
    found = stochastic.make_curve(options, method)
    expected = (method, "problem", "bound", "judge", options)
    assert found == {
        "rows": [],
        "curve": ("exact", "problem", options) if method == "exact" else expected,
    }


def test_runs_are_compared_by_the_best_of_all_and_the_start_of_the_exact_one(monkeypatch) -> None:
    values = {
        "SOBA": [9.0, 4.0, 2.15, 2.05], "SABA": [9.0, 8.0, 8.0, 7.0], "AmIGO": [9.0, 2.0, 2.0, 2.5],
        "StocBiO": [9.0, np.nan, np.nan, np.nan], "F2SA": [9.0, 3.0, 3.0, 2.19],
        "exact": [6.0, 3.0, 2.1, 2.1],
    }  # fmt: skip
    taken = np.array([0.0, 1.0, 2.0, 4.0])
    ended = dict.fromkeys(values, "ended") | {"StocBiO": "stopped early"}
    curves = [
        {"curve": stochastic.Curve(
            taken + k, np.array(value), 7 + k, 0.5 * k, ended[name])._asdict()}
        for k, (name, value) in enumerate(values.items())
    ]  # fmt: skip
    rows, notes = [], []
    report: Any = SimpleNamespace(
        out=None, each=lambda *given: curves, row=lambda **cells: rows.append(cells),
        note=notes.append,
    )  # fmt: skip
    stochastic.run(stochastic.Options(), report)
    near = {"SOBA": 2, "AmIGO": 1, "F2SA": 3, "exact": 2}
    for k, (row, (name, value)) in enumerate(zip(rows, values.items(), strict=True)):
        seconds = taken + k
        assert (row["method"], row["steps"], row["outer_step"]) == (name, 7 + k, 0.5 * k)
        assert row["cpu_s"] == seconds[-1]
        assert row["cpu_s_to_5_percent"] == (seconds[near[name]] if name in near else None)
        np.testing.assert_equal(row["objective"], value[-1])
        np.testing.assert_allclose(row["suboptimality"], value[-1] - 2.0)
        np.testing.assert_allclose(row["share_of_start"], (value[-1] - 2.0) / 4)
    assert notes == ["StocBiO: stopped early"]


def test_the_hessian_of_tuning_is_that_of_its_training() -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(5, 3)), np.array([1.0, -1, 1, 1, -1])
    share, l2, w = rng.uniform(size=(2, 5)), rng.uniform(size=(2, 2)), rng.normal(size=(2, 3))
    found = hyperparameters.curvature(jnp.asarray(w), (rows, jnp.asarray(labels), share, l2))
    expected = np.zeros((6, 6))
    for k in (0, 1):
        slope = expit(w[k] @ rows.T * labels)
        block = (rows * (share[k] * slope * (1 - slope))[:, None]).T @ rows
        expected[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] = block + np.diag([0, *l2[k]])
    np.testing.assert_allclose(found, expected)


def test_tuned_weights_are_of_all_rows_by_shares(monkeypatch) -> None:
    put(
        monkeypatch, hyperparameters, Smooth=lambda *given: given, Newton=tells("newton"),
        optax=SimpleNamespace(adam=tells("adam")),
        bilevel=SimpleNamespace(
            minimize=tells("minimize"),
            argmin=lambda problem, solver: SimpleNamespace(
                value={("newton",): problem[1] + 1}[solver]
            ),
        ),
    )  # fmt: skip
    found = hyperparameters.tuned("objective", "z", 9)  # pyright: ignore
    assert found == (
        "minimize", "objective", "z", ("optimizer", ("adam", 0.3)),
        ("project", hyperparameters.project), ("steps", 9),
    )  # fmt: skip
    seen: list[Any] = []
    put(monkeypatch, hyperparameters, Smooth=lambda *given: seen.append(given) or given)
    data: Any = SimpleNamespace(rows=np.ones((4, 3)), labels=np.array([1.0, -1, 1, 1]))
    assert hyperparameters.trained(data, np.array([0.5])).tolist() == [1.0] * 3
    loss, start, args = seen[0]
    assert (loss, start.tolist()) == (hyperparameters.training, [0.0] * 3)
    assert said(args) == said((data.rows, data.labels, [0.25] * 4, [0.5, 0.5]))


def test_tuning_is_timed_again_when_it_is_compiled(monkeypatch) -> None:
    clock = Clock(9.0, 2.0)
    data: Any = hyperparameters.Split(
        np.ones((4, 3)), np.ones(4), np.array([0, 1, 2, 1]), np.ones((2, 3)), np.ones(2)
    )

    def tuning(given: Any, held: Any) -> str:
        assert said(given) == said(data)
        assert held.tolist() == [[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
        return "objective"

    def tuned(objective: str, start: Any, steps: int) -> Any:
        assert (objective, start.tolist(), steps) == (
            "objective", [hyperparameters.START] * 2, 7
        )  # fmt: skip
        clock.spend()
        return SimpleNamespace(value=0.25, z=start + 1, steps=5)

    put(
        monkeypatch, hyperparameters, time=clock, tuning=tuning, tuned=tuned,
        outcome=lambda of, log_l2: {"of": (of is data, log_l2.tolist())},
    )  # fmt: skip
    assert hyperparameters.by_hypergradient(data, (2,), 7) == {
        "held_out_loss": 0.25, "of": (True, [hyperparameters.START + 1] * 2), "trainings": 15,
        "cpu_seconds": 2.0, "compile_seconds": 7.0,
    }  # fmt: skip
