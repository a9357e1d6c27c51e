"""Peers on one task: of which outer value, against which reference, timed how."""

import os
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import Clock, put, said

from benchmarks.experiments.hypergradients import hypergradient_peers as peers
from benchmarks.problems import DualSVM, Lasso, Logistic
from benchmarks.report import UsageError

pytestmark = pytest.mark.stand_ins
RNG = np.random.default_rng(0)
ROWS, LABELS = RNG.normal(size=(4, 3)), np.array([1.0, -1, 1, -1])
HELD, HELD_Y = RNG.normal(size=(5, 3)), np.array([1.0, 1, -1, 1, -1])


def test_the_outer_value_of_a_dual_is_that_of_its_own_kernel() -> None:
    first, goal = np.array([0.5, -1.0, 2.0]), np.array([1.0, 2.0, -3.0, 5.0])
    solved = np.array([0.1, 0.2, 0.3, 0.4])
    rows = np.concatenate([first[None], ROWS[1:]])
    given: list[Any] = []

    def solve(dual: Any) -> Any:
        given.append(dual)
        return jnp.asarray(solved), "converged"

    data = DualSVM(ROWS, LABELS, goal, 9.0, gamma=0.25, ridge=0.5)  # pyright: ignore
    hyper = {"row": jnp.asarray(first), "C": jnp.asarray(2.0)}
    with jax.numpy_rank_promotion("allow"):
        value, converged = peers.dual_value(solve, hyper, data)
    np.testing.assert_allclose(value, goal @ solved)
    assert converged == "converged"
    squares = ((rows[:, None] - rows[None]) ** 2).sum(-1)
    kernel = np.outer(LABELS, LABELS) * np.exp(-0.25 * squares) + 0.5 * np.eye(4)
    np.testing.assert_allclose(given[0].Q, kernel)
    assert (said(given[0].labels), float(given[0].C)) == (said(LABELS), 2.0)


def test_outer_losses_are_of_held_out_rows_after_training_rows_that_move() -> None:
    w = np.array([0.5, -1.0, 2.0])
    given: list[Any] = []

    def solve(problem: Any) -> Any:
        given.append(problem)
        return jnp.asarray(w), None

    first = np.array([[9.0, 8.0, 7.0], [6.0, 5.0, 4.0]])
    hyper = {"log_lam": jnp.asarray(-2.0), "weights": jnp.arange(4.0), "rows": jnp.asarray(first)}
    data: Any = tuple(map(jnp.asarray, (ROWS.T, LABELS, HELD, HELD_Y)))
    value, converged = peers.logistic_value(solve, hyper, data)
    np.testing.assert_allclose(value, np.mean(np.log1p(np.exp(-HELD_Y * (HELD @ w)))))
    moved = np.concatenate([first, ROWS[2:]])
    assert (said(given[0]), converged) == (said((moved.T, LABELS, np.arange(4.0), -2.0)), None)
    lasso: Any = Lasso(ROWS, LABELS, HELD, HELD_Y, 9.0)
    value, _ = peers.lasso_value(
        solve, {"row": jnp.asarray(first[0]), "lam": jnp.asarray(0.25)}, lasso
    )
    np.testing.assert_allclose(value, np.mean((HELD @ w - HELD_Y) ** 2) / 2)
    moved = np.concatenate([first[:1], ROWS[1:]])
    assert said(given[1]) == said((moved, LABELS, 0.25))


def test_a_task_has_the_derivative_of_its_reference(monkeypatch) -> None:
    def dual(n: int, seed: int) -> Any:
        return DualSVM(
            np.full((3, 2), float(seed)),
            LABELS[:3],
            np.full(3, n),
            2.0,
            0.5,
            1e-6,  # pyright: ignore
        )

    logistic = Logistic(ROWS, LABELS, HELD, HELD_Y, np.arange(4.0), 0.25, 2)
    lasso: Any = Lasso(ROWS, LABELS, HELD, HELD_Y, 0.125)
    drawn = SimpleNamespace(
        dual_svm=dual, logistic=lambda seed: {6: logistic}[seed],
        lasso=lambda seed: {6: lasso}[seed],
        **{f"{name}_reference": lambda p, name=name: SimpleNamespace(gradients=(name, said(p)))
           for name in ("dual", "logistic", "lasso")},
    )  # fmt: skip
    put(monkeypatch, peers, problems=drawn)
    task = peers.make_task("logistic-2000x200", 6)
    assert (task.value, task.family, task.batched) == (peers.logistic_value, "logistics", False)
    assert said(task.data) == said((ROWS.T, LABELS, HELD, HELD_Y))
    hyper = {"log_lam": np.log(0.25), "weights": np.arange(4.0), "rows": ROWS[:2]}
    assert {k: said(v) for k, v in task.hyper.items()} == {k: said(v) for k, v in hyper.items()}
    assert task.exact == [("logistic", said(logistic))]
    task = peers.make_task("lasso-200x1000", 6)
    assert (task.value, task.family, task.batched) == (peers.lasso_value, "lassos", False)
    assert said(task.hyper["row"], task.hyper["lam"]) == said(ROWS[0], 0.125)
    assert (said(task.data), task.exact) == (said(lasso), [("lasso", said(lasso))])
    for name, n, lanes in (
        ("svm-dual-100", 100, 1), ("svm-dual-400", 400, 1), ("svm-duals-64x100", 100, 64),
    ):  # fmt: skip
        task = peers.make_task(name, 6)  # pyright: ignore
        assert (task.value, task.family, task.batched) == (peers.dual_value, "duals", lanes > 1)
        assert task.exact == [("dual", said(dual(n, 6 + lane))) for lane in range(lanes)]
        data = task.data if lanes > 1 else jax.tree.map(lambda leaf: leaf[None], task.data)
        assert data.goal[:, 0].tolist() == [n] * lanes
        seeds = np.arange(6.0, 6 + lanes)
        np.testing.assert_array_equal(data.rows[:, 1, 0], seeds)
        row = np.reshape(task.hyper["row"], (lanes, 2))
        np.testing.assert_array_equal(row, np.stack([seeds, seeds], axis=1))
        assert np.ravel(task.hyper["C"]).tolist() == [2.0] * lanes


@pytest.mark.parametrize(("seconds", "count"), [(0.0, 2), (5.0, 3)])
def test_a_measurement_repeats_for_some_time_and_compiling_is_apart(
    seconds, count, monkeypatch
) -> None:
    clock = Clock(9.0, 2.0, 1.5, 2.5, 7.0)

    def compiled(*arguments: Any) -> str:
        assert arguments == ("hyper", "data")
        clock.spend()
        return f"result {len(clock.takes)}"

    same = SimpleNamespace(jit=lambda function: {"f": compiled}[function],
                           block_until_ready=lambda found: found)  # fmt: skip
    put(monkeypatch, peers, jax=same, time=clock)
    found = peers.measure("f", ("hyper", "data"), seconds)  # pyright: ignore
    assert found == ("result 4", 7.5, 1500.0)
    assert len(clock.takes) == 4 - count


@pytest.mark.parametrize("batched", [False, True])
def test_a_row_has_the_largest_error_and_the_time_of_the_faster_way(batched, monkeypatch) -> None:
    lanes = 3 if batched else 1
    hyper = {"a": jnp.arange(1.0, 1 + lanes), "b": jnp.full(lanes, 2.0)}
    data = jnp.arange(5.0, 5 + lanes)
    if not batched:
        hyper, data = jax.tree.map(lambda leaf: leaf[0], (hyper, data))

    def value(solve: str, hyper: Any, data: Any) -> Any:
        assert solve == "solve"
        return hyper["a"] * data + hyper["b"] ** 2, data < 6.5

    exact = [f"exact {lane}" for lane in range(lanes)]
    errors = [0.5, 0.125, 0.25][:lanes]
    used: list[Any] = []

    def relative(gradients: Any, exact: str) -> float:
        lane = int(exact[-1])
        np.testing.assert_allclose([gradients["a"], gradients["b"]], [5.0 + lane, 4.0])
        return errors[lane]

    def measure(function: Any, arguments: Any, seconds: float) -> Any:
        used.append(seconds)
        return peers.Measurement(function(*arguments), 0.75, 12.0 - len(used))

    put(monkeypatch, peers, measure=measure, problems=SimpleNamespace(relative_error=relative))
    task: Any = peers.Task(value, hyper, data, exact, "duals", batched)  # pyright: ignore
    found = peers.row(task, SimpleNamespace(solve="solve"), 2.5)  # pyright: ignore
    assert set(used) == {2.5}
    assert found == {
        "error": 0.5, "median_error": 0.25 if batched else None,
        "ms": 10 / 3 if batched else 11.0, "compile_s": 0.75,
        "remark": "vmap; says it did not converge (1)" if batched else "converged",
    }  # fmt: skip
    assert peers._said(None) == "does not say whether it converged"


def test_a_process_is_kept_on_one_core_and_comes_back(monkeypatch) -> None:
    cores, limits = [{0, 4, 6}], []
    cleared: list[set[int]] = []
    real = peers.threadpoolctl.threadpool_limits
    limit = lambda n: limits.append(n) or real(n)  # noqa: E731
    put(monkeypatch, peers, threadpoolctl=SimpleNamespace(threadpool_limits=limit))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: cores[-1], raising=False)
    monkeypatch.setattr(
        os, "sched_setaffinity", lambda process, given: cores.append(given), raising=False
    )
    monkeypatch.setattr(
        peers.jax.extend.backend, "clear_backends", lambda: cleared.append(cores[-1])
    )
    for core, kept in ((None, {6}), (4, {4}), (0, {0})):
        with peers.one_core(core):
            assert cores[-1] == kept == cleared[-1]
        assert cores[-1] == {0, 4, 6}
    refused = pytest.raises(UsageError, match=r"--core: got 5, expected one of \[0, 4, 6\]")
    with refused, peers.one_core(5):
        pass
    assert set(limits) == {1}
