"""What processes of their own measure: on which rows, by which learner, and what they are told."""

import contextlib
import dataclasses
import json
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import optax
import pytest
from saying import Clock, put, said, tells

import attacks
import bilevel
import defenses
from benchmarks import compile_events, processes
from benchmarks import data as held_data
from benchmarks.experiments.hypergradients import compilations, memory
from benchmarks.experiments.networks import network_speed
from bilevel import Data, derivatives, learners, networks, solvers, tools

pytestmark = pytest.mark.stand_ins
DIGITS = SimpleNamespace(
    images=np.arange(40)[:, None, None] * np.ones((1, 28, 28), int), labels=np.arange(40) * 7 % 10
)


@pytest.fixture
def told(monkeypatch) -> None:
    """Learners, networks and solvers that say what they were given."""
    put(monkeypatch, held_data, mnist=lambda: DIGITS)
    put(monkeypatch, derivatives, Unroll=tells("unroll"), BackGradient=tells("back"))
    put(monkeypatch, networks, MLP=tells("mlp"), small=tells("small"), lenet=tells("lenet"))
    put(monkeypatch, solvers, Momentum=tells("momentum"), Descent=tells("descent"))


@dataclasses.dataclass
class Net:
    """A network whose decision is that of its penalties, of its rows and of its key."""

    architecture: Any
    batch: Any = None
    solver: Any = None
    derivative: Any = None
    l2: Any = None

    def fit(self, train: Data, key: Any, throw: bool) -> Any:
        assert (float(train.x[-1, 0, 0, 0]), throw, said(key)) == (
            pytest.approx(999 / 255), False, said(jax.random.key(7)),
        )  # fmt: skip
        sum_of = sum(part["weight"] * k for k, part in enumerate(self.l2.values(), 1))
        return SimpleNamespace(model=SimpleNamespace(decision=lambda x: sum_of * x[:, 0, 0, 0]))

    def loss(self, y: Any, f: Any) -> Any:
        return (f - y) ** 2


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("mode", memory.MODES)
def test_memory_is_of_the_gradient_in_the_penalties_of_all_layers(
    mode, tmp_path, monkeypatch
) -> None:
    """Its first thousand digits are trained on, the others held out; biases have no penalty."""
    options = memory.Options(hidden=(6, 5), batch=20, rate=0.5, decay=0.25, seed=7)
    x, y = np.arange(1200)[:, None] * np.ones((1, 784)), np.arange(1200.0) / 300
    np.savez(tmp_path / "digits.npz", x=x, y=y)
    made: list[Net] = []

    def network(architecture: Any, **settings: Any) -> Net:
        layers = SimpleNamespace(init=lambda key, row: {"a": row.shape, "b": said(key)})
        made.append(Net((architecture, layers.init), **settings))
        return dataclasses.replace(made[-1], architecture=layers)

    put(monkeypatch, learners, Network=network)
    function, at = memory.gradient_of(mode, 9, options, tmp_path / "digits.npz")
    assert at.tolist() == [-7.0, -7.0]
    net = made[0]
    assert (net.architecture[0], net.batch) == (("mlp", (6, 5), 10), 20)
    assert net.solver == ("momentum", ("decay", 0.25), ("rate", 0.5), ("steps", 9))
    ways = {"full": ("unroll", 1), "sqrt": ("unroll", 2), "recursive": ("unroll", 4)}
    assert net.derivative == ways.get(mode, ("back",))
    rows, weights = x[1000:, 0] / 255, np.exp([-7.0, -7.0]) * [1, 2]
    off = weights.sum() * rows - y[1000:]
    slopes = np.array([np.mean(2 * off * rows * weight) for weight in weights])
    expected = np.mean(off**2) if mode == "forward" else slopes
    np.testing.assert_allclose(function(at), expected, rtol=1e-6)
    small = dataclasses.replace(options, network="convolutional")
    memory.gradient_of(mode, 9, small, tmp_path / "digits.npz")
    assert made[-1].architecture[0] == ("small", 10)


def test_digits_of_memory_are_drawn_by_its_seed(tmp_path, monkeypatch) -> None:
    digits = SimpleNamespace(images=np.arange(1600)[:, None], labels=np.arange(1600) % 10)
    put(monkeypatch, held_data, mnist=lambda: digits)
    memory.rows(memory.Options(seed=7), tmp_path / "digits.npz")
    drawn = np.random.default_rng(7).permutation(1600)[:1500]
    with np.load(tmp_path / "digits.npz") as held:
        np.testing.assert_array_equal(held["x"], drawn[:, None])
        np.testing.assert_array_equal(held["y"], drawn % 10)


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1)])
@pytest.mark.parametrize("most", [1, 5])
def test_a_gradient_that_needs_too_much_is_planned_alone(system, unit, most, monkeypatch) -> None:
    clock = Clock(0.75)
    plan = SimpleNamespace(temp_size_in_bytes=3 * 2**20)

    class Compiled:
        def memory_analysis(self) -> Any:
            return plan

        def __call__(self, at: str) -> Any:
            assert at == "at"
            clock.spend()
            return np.array([[1.0], [2.0]])

    def lower(at: str) -> Any:
        assert at == "at"
        return SimpleNamespace(compile=Compiled)

    def gradient_of(*given: Any) -> Any:
        assert given == ("full", 9, options, Path("path"))
        return "function", "at"

    options = memory.Options(most=most)
    put(monkeypatch, jax, jit=lambda function: SimpleNamespace(lower=lower))
    put(monkeypatch, memory, gradient_of=gradient_of, time=clock)
    usage = SimpleNamespace(ru_maxrss=4 * 2**20)
    put(monkeypatch, resource, getrusage=lambda who: {resource.RUSAGE_SELF: usage}[who])
    monkeypatch.setattr(memory, "sys", SimpleNamespace(platform=system))
    ran = {"peak_mb": 4.0 * unit, "cpu_s": 0.75, "answer": [1.0, 2.0]}
    expected = ran if most > 3 else dict.fromkeys(ran)
    found = memory.measure("full", 9, options, Path("path"))
    assert found == {"planned_mb": 3.0, **expected}


def test_processes_are_told_their_options(monkeypatch) -> None:
    def alone(*given: Any, **settings: Any) -> Any:
        return given, settings

    for module in (memory, compilations):
        put(monkeypatch, module, alone=alone)
    options = memory.Options(seed=7)
    (module, mode, steps, given, path), _ = memory.in_a_process_of_its_own(  # pyright: ignore
        "full", 9, options, Path("path")
    )
    assert (module, mode, steps, path) == (memory.__name__, "full", "9", "path")
    fields: Any = json.loads(given)
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    assert memory.Options(**fields) == options
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    monkeypatch.setenv("KEPT", "1")
    of = compilations.Options(rows=9)
    for cache in (None, "folder"):
        told: Any = compilations.in_a_process_of_its_own("ridge", of, 3, cache)
        (module, case, given, times), settings = told
        assert (module, case, times) == (compilations.__name__, "ridge", "3")
        assert json.loads(given)["rows"] == 9
        found = settings["environment"]
        names = ("DIR", "MIN_COMPILE_TIME_SECS", "MIN_ENTRY_SIZE_BYTES")
        values = [v for k, v in sorted(found.items()) if k.startswith("JAX_")]
        assert values == ([] if cache is None else ["folder", "0", "0"])
        assert sum(k.endswith(names) for k in found if k.startswith("JAX_")) == len(values)
        assert found["KEPT"] == "1"


def test_a_process_is_a_module_and_answers_in_its_last_line(monkeypatch) -> None:
    status = [0]

    def run(command: Any, **settings: Any) -> Any:
        assert command == [sys.executable, "-m", "module", "a", "b"]
        assert settings["env"] == {"NAME": "value"}
        return SimpleNamespace(returncode=status[0], stdout='said\n{"a": 1}\n', stderr="why")

    put(monkeypatch, subprocess, run=run)
    assert processes.alone("module", "a", "b", environment={"NAME": "value"}) == {"a": 1}
    status[0] = 3
    with pytest.raises(RuntimeError, match=r"^module a b: exit status 3\nwhy$"):
        processes.alone("module", "a", "b", environment={"NAME": "value"})
    pinned = []
    os = SimpleNamespace(
        sched_getaffinity=lambda process: {1, 4}, sched_setaffinity=lambda *a: pinned.append(a)
    )
    put(monkeypatch, processes, os=os, Path=lambda path: Path("missing"))
    processes.pin()
    assert pinned == [(0, {4})]
    assert processes.risen(lambda: pinned.append("ran")) is None
    assert len(pinned) == 1


def test_compilations_are_counted_while_a_call_runs(monkeypatch) -> None:
    clock = Clock(0.5)

    @contextlib.contextmanager
    def counted() -> Any:
        yield SimpleNamespace(compiled=3, loaded=2)

    put(monkeypatch, compile_events, counted=counted)
    put(monkeypatch, compilations, time=clock)
    expected = {"seconds": 0.5, "compiled": 3, "loaded": 2}
    assert compilations.measured(clock.spend) == expected
    seen = []
    put(
        monkeypatch, compilations, measured=lambda function: function(),
        calls=lambda case, options: {
            verb: lambda seed, verb=verb: seen.append((verb, seed)) or (verb, seed)
            for verb in ("a", "b")
        },
    )  # fmt: skip
    for times, seeds in ((3, (0, 0, 1)), (1, (0,))):
        found = compilations.measure("ridge", compilations.Options(), times)
        assert found == {verb: [(verb, seed) for seed in seeds] for verb in ("a", "b")}


CALLS = compilations.Options(rows=8, features=3, points=3, steps=9)


def drawn(seed: int, regression: bool = False) -> Any:
    """Rows of two classes, or of targets in [0, 1]."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(8 + compilations.VALIDATION, 3))
    y = x @ rng.normal(size=3) + 0.1 * rng.normal(size=len(x))
    y = (y - y.min()) / np.ptp(y) if regression else np.where(y > np.median(y), 1.0, -1.0)
    return ("data", x[:8], y[:8]), ("data", x[8:], y[8:]), x[:3]


@pytest.fixture
def verbs(monkeypatch) -> None:
    """Attacks that say what they were given."""

    class Rows(tuple):
        """Rows that say whose they are."""

        x, y = property(lambda self: self[1]), property(lambda self: self[2])

    class Recipe(tuple):
        """A recipe whose end is what it was given."""

        def climb(self) -> Any:
            return SimpleNamespace(z=tuple(self))

    names = ("Insert", "Box", "indiscriminate", "compose", "XY", "b_flip")
    put(monkeypatch, attacks, **{name: tells(name) for name in names}, **{
        name: lambda *given, name=name, **more: Recipe(tells(name)(*given, **more))
        for name in ("poison_svm", "poison_classifier", "poison_regression")
    })  # fmt: skip
    put(monkeypatch, learners, **{n: tells(n) for n in ("SVM", "Lasso", "Logistic", "Ridge")})
    put(monkeypatch, defenses, Trim=tells("trim"))
    put(
        monkeypatch, bilevel, Data=lambda x, y: Rows(("data", x, y)), certify=tells("certify"),
        maximize=lambda *given, **more: SimpleNamespace(z=tells("maximize")(*given, **more)),
        losses=SimpleNamespace(**{n: tells(n) for n in ("Hinge", "Logistic", "Squares")}),
    )  # fmt: skip
    put(monkeypatch, jax, grad=lambda attack: lambda start: ("gradient", attack, start))


@pytest.mark.usefixtures("verbs")
@pytest.mark.parametrize(("case", "loss", "learner"), [
    ("svm", "Hinge", ("SVM", 1.0)), ("logistic", "Logistic", ("Logistic", 1e-2)),
    ("ridge", "Squares", ("Ridge", 1e-2)), ("lasso", "Squares", ("Lasso", 1e-3)),
    ("trim-svm", "Hinge", ("trim", ("SVM", 1.0), 3 / 11)),
])  # fmt: skip
def test_verbs_are_of_an_attack_on_validation_rows(case, loss, learner) -> None:
    train, held, start = drawn(5)
    goal = ("indiscriminate", *held[1:], (loss,))
    reach = ("Insert", [1.0, -1.0, 1.0], ("Box", 0.0, 1.0))
    attack = ("compose", learner, reach, goal, train)
    found = {verb: call(5) for verb, call in compilations.calls(case, CALLS).items()}
    assert {verb: said(words) for verb, words in found.items()} == {
        "gradient": said(("gradient", attack, start)),
        "maximize": said(("maximize", attack, start, ("steps", 9))),
        "certify": said(("certify", attack, start)),
    }


@pytest.mark.usefixtures("verbs")
@pytest.mark.parametrize("case", ["poison_svm", "poison_classifier", "poison_regression"])
def test_published_attacks_start_at_rows_of_their_own_draw(case) -> None:
    train, held, start = drawn(5, case == "poison_regression")
    y = [1.0, -1.0, 1.0]
    expected = {
        "poison_svm": (train, start, y, held),
        "poison_classifier": (train, start, y, held, ("Logistic", 1e-2)),
        "poison_regression": (
            train, ("XY", start, ("b_flip", train[2][:3])), held, ("Ridge", 1e-2),
            ("domain", ("Box", 0.0, 1.0)),
        ),
    }[case]  # fmt: skip
    ((verb, call),) = compilations.calls(case, CALLS).items()
    assert (verb, said(call(5))) == ("attack", said((case, *expected, ("steps", 9))))


SPEED = network_speed.Options(batch=10, passes=3, length=7, repeats=2)


@pytest.mark.usefixtures("told")
def test_our_networks_are_trained_in_batches_or_differentiated_at_once(monkeypatch) -> None:
    put(monkeypatch, learners, Network=tells("network"))
    put(monkeypatch, optax, sgd=tells("sgd"))
    monkeypatch.setattr(network_speed, "TRAIN", 30)
    sgd = ("sgd", 0.1, ("momentum", 0.9))
    shapes = {"dense": ("mlp", (32,), 10), "small": ("small", 10), "lenet": ("lenet", 10)}
    for name, shape in shapes.items():
        assert network_speed.ours(name, SPEED) == (  # pyright: ignore
            "network", shape, ("batch", 10), ("derivative", ("unroll", 2)),
            ("solver", ("descent", sgd, 9)),
        )  # fmt: skip
        assert network_speed.ours(name, SPEED, "derivative") == (  # pyright: ignore
            "network", shape, ("batch", None), ("derivative", "derivative"),
            ("solver", ("descent", sgd, 7)),
        )  # fmt: skip


@pytest.mark.usefixtures("told")
def test_trainings_are_judged_on_validation_digits_by_their_first_member(monkeypatch) -> None:
    monkeypatch.setattr(network_speed, "TRAIN", 30)
    (x, y), held = network_speed.digits()
    order = np.random.default_rng(0).permutation(40)
    np.testing.assert_allclose(np.concatenate([x, held[0]])[:, 0, 0, 0] * 255, order, rtol=1e-6)
    assert (len(y), np.r_[y, held[1]].tolist()) == (30, (order * 7 % 10).tolist())

    class Learner(tuple):
        def fit(self, data: Data, key: Any) -> Any:
            assert said(data.x, data.y) == said(x, y)
            decision = lambda rows: (tuple(self), said(key), said(rows))  # noqa: E731
            return SimpleNamespace(model=SimpleNamespace(decision=decision))

    def ensemble(learner: Any, data: Data, keys: Any, size: Any) -> Any:
        model = learner.fit(data, keys[0]).model
        first = SimpleNamespace(decision=lambda rows: (model.decision(rows), said(keys), size))
        return SimpleNamespace(model=[first, "second"])

    put(monkeypatch, network_speed, ours=lambda *given: Learner(given))
    put(monkeypatch, learners, ensemble=ensemble)
    put(monkeypatch, tools, unstacked=lambda models: models)
    for name, members, size in (("dense", 1, None), ("dense", 3, 8), ("small", 3, None)):
        keys = jax.random.split(jax.random.key(0), members)
        one = ((name, SPEED), said(keys[0]), said(held[0]))
        found = network_speed.training(name, SPEED, members)()  # pyright: ignore
        assert found == (one if members == 1 else (one, said(keys), size))


@pytest.mark.usefixtures("told")
def test_hypergradients_of_networks_are_in_ten_digits_beside_ninety(monkeypatch) -> None:
    x, y = np.arange(120.0)[:, None], np.arange(120)
    held = (np.arange(500.0)[:, None], np.arange(500))
    put(
        monkeypatch, network_speed, digits=lambda: ((x, y), held),
        ours=lambda name, options, derivative: SimpleNamespace(loss=(name, derivative)),
    )  # fmt: skip
    names = ("Insert", "Box", "indiscriminate")
    put(monkeypatch, attacks, **{name: tells(name) for name in names},
        compose=lambda learner, *given, key: (learner.loss, *given, key))  # fmt: skip
    put(monkeypatch, bilevel, Data=tells("data"))
    put(monkeypatch, jax, jit=lambda f: f, value_and_grad=lambda attack: lambda z: (attack, z))
    attack, z = network_speed.hypergradient("small", SPEED, 3)()
    loss = ("small", ("unroll", 3))
    assert said(attack, z) == said((
        loss, ("Insert", y[90:100], ("Box", 0.0, 1.0)),
        ("indiscriminate", held[0][:400], held[1][:400], loss), ("data", x[:90], y[:90]),
        jax.random.key(0),
    ), x[90:100])  # fmt: skip


@pytest.mark.parametrize("first", [9.0, 1.0])
@pytest.mark.parametrize("what", ["ours", "flax loop", "flax scan", "hypergradient"])
def test_networks_are_timed_without_their_first_run(what, first, monkeypatch) -> None:
    clock = Clock(first, 3.0, 2.0)
    logits = np.eye(4)[[1, 2, 3, 0]]

    def made(*given: Any) -> Any:
        expected = {"ours": ("small", SPEED, 5), "hypergradient": ("small", SPEED, 5)}
        assert given == expected.get(what, ("small", what, SPEED, 5))
        return lambda: clock.spend() and logits

    put(
        monkeypatch, network_speed, time=clock,
        digits=lambda: (None, (None, np.array([1, 2, 0, 0]))),
        **{{"ours": "training", "hypergradient": "hypergradient"}.get(what, "flax_training"): made},
    )  # fmt: skip
    error = {} if what == "hypergradient" else {"test_err": 0.25}
    found = network_speed.measure(what, "small", SPEED, 5)
    assert found == {"cpu_seconds": 2.0, "compile_seconds": max(first - 2, 0.0), **error}
