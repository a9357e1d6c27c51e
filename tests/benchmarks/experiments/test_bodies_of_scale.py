"""What is timed beside what, on which rows: large tables, and many attacks at once."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from saying import Clock, put, said, tells

import bilevel
from benchmarks import data as held_data
from benchmarks.experiments.scale import scaling, throughput
from bilevel import Data

pytestmark = pytest.mark.stand_ins


def test_rows_have_noisy_labels_and_validation_rows_are_others() -> None:
    train, validation = scaling.made(700, 5)
    assert (train.x.shape, validation.x.shape) == ((700, 5), (scaling.VALIDATION, 5))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(700 + scaling.VALIDATION, 5))
    w = rng.normal(size=5)
    np.testing.assert_array_equal(np.concatenate([train.x, validation.x]), x)
    y = np.concatenate([train.y, validation.y])
    assert 0.05 < np.mean(np.sign(x @ w) != y) < 0.45
    assert set(np.unique(y)) == {-1.0, 1.0}


def test_a_loss_is_of_validation_rows_and_decisions_are_of_training_rows() -> None:
    train = Data(np.array([[1.0], [2.0]]), np.array([1.0, -1]))
    validation = Data(np.array([[0.5], [-1.0]]), np.array([1.0, 1]))

    def make(strength: float) -> Any:
        model = SimpleNamespace(decision=lambda x: strength * x[:, 0])
        fits = {True: SimpleNamespace(model=model, result="result")}
        return SimpleNamespace(fit=lambda data, throw: fits[data is train and not throw])

    loss, (result, decisions) = scaling.value((train, 4.0), make, validation)
    np.testing.assert_allclose(loss, np.mean(np.log1p(np.exp([-2.0, 4.0]))))
    assert (result, np.asarray(decisions).tolist()) == ("result", [4.0, 8.0])


def test_the_least_of_some_times_counts(monkeypatch) -> None:
    clock = Clock(3.0, 2.0, 4.0)
    put(monkeypatch, scaling, time=clock)
    assert scaling.seconds(clock.spend, 3) == 2.0
    assert not clock.takes


@pytest.mark.parametrize("rise", [None, 640])
def test_memory_is_told_in_sizes_of_the_training_rows(rise, monkeypatch) -> None:
    made, called = [], []
    train, validation = Data(np.ones((4, 2)), np.ones(4)), Data(np.zeros((9, 2)), np.zeros(9))

    class Program:
        def __init__(self, function: Any):
            assert function == ("gradient", scaling.value, ("has_aux", True))

        def lower(self, *given: Any) -> Any:
            made.append(given)
            plan = SimpleNamespace(temp_size_in_bytes=300, output_size_in_bytes=20)
            compiled = SimpleNamespace(memory_analysis=lambda: plan)

            def run(*arguments: Any) -> None:
                called.append(arguments)

            run.compiled = compiled  # pyright: ignore
            return SimpleNamespace(compile=lambda: run)

    def risen(call: Any) -> Any:
        call()
        return rise

    put(
        monkeypatch, scaling, risen=risen, made=lambda rows, features: (train, validation),
        eqx=SimpleNamespace(filter_jit=Program, filter_grad=tells("gradient")),
    )  # fmt: skip
    monkeypatch.setitem(scaling.LEARNERS, "ridge", scaling.Kind("make", 0.25))  # pyright: ignore
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(train))
    assert scaling.measure("ridge", 4, 2) == {
        "planned_of_data": 320 / size, "peak_of_data": None if rise is None else 640 / size,
    }  # fmt: skip
    assert called == made
    (data, strength), make, held = made[0]
    assert (data is train, float(strength), make, held is validation) == (True, 0.25, "make", True)


def test_liblinear_is_held_against_our_objective(monkeypatch) -> None:
    data = Data(np.array([[1.0], [2.0], [-1.0], [0.5]]), np.array([1.0, 1, -1, -1]))
    decisions = 0.75 * np.asarray(data.x)[:, 0] + 0.25
    made: list[Any] = []

    class Peer:
        coef_ = np.array([[0.5]])

        def __init__(self, **settings: Any):
            made.append(settings)

        def fit(self, x: Any, y: Any) -> "Peer":
            made.append(said(x, y))
            return self

        def decision_function(self, x: Any) -> Any:
            return 0.5 * x[:, 0] - 0.25

    def seconds(call: Any, repeats: int) -> float:
        assert (call(), repeats) == (None, 1)
        return 0.125

    put(monkeypatch, scaling, LinearSVC=Peer, seconds=seconds)
    found = scaling.beside_liblinear(data, 2.0, decisions)
    x, y = np.array([1.0, 2, -1, 0.5]), np.array([1.0, 1, -1, -1])
    ours = 0.75**2 / 2 + 2 * np.sum(np.maximum(0, 1 - y * (0.75 * x + 0.25)))
    theirs = 0.5**2 / 2 + 2 * np.sum(np.maximum(0, 1 - y * (0.5 * x - 0.25)))
    assert found == pytest.approx({"liblinear_ms": 125, "liblinear_excess": theirs / ours - 1})
    assert made[0] == {
        "C": 2.0, "loss": "hinge", "tol": 1e-8, "max_iter": scaling.SWEEPS,
        "intercept_scaling": 10, "random_state": 0,
    }  # fmt: skip
    assert made[1] == said(data.x, data.y)


def test_times_grow_as_powers_of_the_rows() -> None:
    rows = [{"rows": n, "training_ms": 3 * n**1.5, "hypergradient_ms": n} for n in (10, 40, 90)]
    assert scaling.exponent(rows, "training_ms") == pytest.approx(1.5)
    both = [scaling._both(row)["both_ms"] for row in rows]
    assert both == [row["training_ms"] + row["rows"] for row in rows]


THROUGHPUT = throughput.Options(steps=7, checked=2, repeats=2, size=3, pair="3v5")


def test_attacks_of_a_batch_start_near_digits_of_their_own(monkeypatch) -> None:
    import attacks

    split = SimpleNamespace(
        train=SimpleNamespace(x=np.ones((2, 3)), y=np.ones(2)),
        start=np.linspace(0, 1, 6).reshape(2, 3),
        validation=SimpleNamespace(x=np.zeros((4, 3)), y=-np.ones(4)),
    )  # fmt: skip

    def splits(digits: str, pair: str, numbers: Any, seed: int) -> Any:
        assert (digits, pair, numbers, seed) == ("digits", "3v5", (0,), 0)
        return {0: split}

    put(monkeypatch, held_data, drawn_splits=splits, mnist=lambda: "digits")
    put(monkeypatch, attacks, Box=tells("box"), poison_svm=lambda *given, **more: (given, more))
    attack, starts = throughput.problem(THROUGHPUT, 5, "float32")
    rows = split.start[[0, 1, 0, 1, 0]]
    noise = np.random.default_rng(0).uniform(-0.05, 0.05, (5, 3))
    assert (starts.shape, starts.dtype) == ((5, 1, 3), np.float32)
    np.testing.assert_allclose(starts[:, 0], np.clip(rows + noise, 0, 1), rtol=1e-6)
    made: Any = attack("start")
    (train, start, labels, held), more = made
    assert said(train.x, train.y, held.x, held.y) == said(*(
        part for rows in (split.train, split.validation) for part in (rows.x, rows.y)
    ))  # fmt: skip
    assert (train.x.dtype, start, labels.tolist()) == (np.float32, "start", [1.0])
    assert (more["domain"], more["steps"]) == (("box", 0.0, 1.0), 7)


@pytest.mark.parametrize(("refused", "first"), [(False, 9.0), (False, 1.0), (True, 1.0)])
def test_throughput_is_of_the_best_turn_and_its_poison_is_that_of_a_loop(
    refused, first, monkeypatch
) -> None:
    """Without the first turn, which compiles."""
    clock = Clock(first, 3.0, 2.0)
    starts = np.arange(4.0)[:, None]

    def attack(start: Any) -> Any:
        if refused:
            raise ValueError("got float32")
        number = float(start[0])
        return SimpleNamespace(
            attack=number,
            climb=lambda: SimpleNamespace(z=start + np.array([0.25, -0.5])[int(number)]),
        )

    def batch(call: Any, size: int) -> Any:
        assert size == 3

        def many(given: Any) -> Any:
            assert given is starts
            clock.spend()
            return SimpleNamespace(z=starts)

        return many

    def certify(attack: float, z: Any) -> Any:
        assert float(z[0]) == attack
        return SimpleNamespace(
            error_bound=np.float64(0.5 - attack / 4), gradient=np.array([3.0, 4])
        )

    def problem(options: Any, batch: int, dtype: str) -> Any:
        assert (options, batch, dtype) == (THROUGHPUT, 4, "float64")
        return attack, starts

    put(monkeypatch, throughput, time=clock, problem=problem)
    put(monkeypatch, bilevel, batch=batch, certify=certify)
    found = throughput.measure(THROUGHPUT, 4, "float64")
    assert found.pop("device") == jax.devices()[0].device_kind
    if refused:
        assert found == {"attacks_per_second": None, "refused": "got float32"}
        return
    assert found == pytest.approx({
        "attacks_per_second": 4 / 6, "cpu_ms": 500.0, "compile_seconds": max(3 * first - 6, 0),
        "difference": 0.5, "certified": 0.1, "refused": None,
    })  # fmt: skip


def test_processes_see_so_many_devices(monkeypatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--one")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = throughput._environment(3)
    assert found["XLA_FLAGS"] == "--one --xla_force_host_platform_device_count=3"
    assert found["CUDA_VISIBLE_DEVICES"] == "0,1,2"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert throughput._environment(3)["CUDA_VISIBLE_DEVICES"] == "7"
