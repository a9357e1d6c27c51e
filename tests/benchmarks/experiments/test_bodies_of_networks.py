"""Networks: how they are trained, from which rows and keys, and which attack moves their poison."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import put, said, tells

from benchmarks.experiments.networks import _one_by_one, cifar_10, cnn_mnist, network_speed
from benchmarks.experiments.networks._victims import Rows
from benchmarks.report import UsageError
from bilevel import Data

pytestmark = pytest.mark.stand_ins


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("way", "members"), [("flax loop", 2), ("flax scan", 1)])
def test_the_same_training_by_flax_is_momentum_over_shuffled_batches(
    way, members, monkeypatch
) -> None:
    """Without compiling; of several members the first is judged."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 2)), rng.integers(0, 3, 6)
    held = rng.normal(size=(5, 2)), None
    module = SimpleNamespace(
        init=lambda key, rows: jax.random.normal(key, (2, 3)) * rows.shape[0],
        apply=lambda w, rows: jnp.asarray(rows) @ w,
    )

    def scan(step: Any, state: Any, rows: Any) -> Any:
        for some in rows:
            state, _ = step(state, some)
        return state, None

    put(monkeypatch, jax, jit=lambda function: function)
    put(monkeypatch, jax.lax, scan=scan)
    put(monkeypatch, network_speed, digits=lambda: ((x, y), held), _module=lambda name: module)
    options = network_speed.Options(batch=3, passes=2)
    found = network_speed.flax_training("small", way, options, members)()
    key = jax.random.split(jax.random.key(0), members)[0]
    w, memory = np.asarray(jax.random.normal(key, (2, 3))), np.zeros((2, 3))
    for of_pass in jax.random.split(key, 2):
        for rows in np.asarray(jax.random.permutation(of_pass, 6)).reshape(2, 3):
            off = softmax(x[rows] @ w) - np.eye(3)[y[rows]]
            memory = 0.9 * memory + x[rows].T @ off / 3
            w = w - 0.1 * memory
    np.testing.assert_allclose(found, held[0] @ w, rtol=1e-6)


def test_flax_networks_have_the_layers_of_ours(monkeypatch) -> None:
    built: list[Any] = []

    def layer(name: str) -> Any:
        def made(*given: Any, **settings: Any) -> Any:
            def apply(x: Any) -> Any:
                built.append((*tells(name)(*given, **settings), x.ndim))
                return x

            return apply

        return made

    def pooled(x: Any, *given: Any) -> Any:
        built.append(("pool", *given))
        return x

    put(monkeypatch, nn, Dense=layer("dense"), Conv=layer("conv"), avg_pool=pooled,
        compact=lambda call: call)  # fmt: skip
    x = jnp.ones((2, 4, 4, 1))
    layers = {
        "dense": [("dense", 32, 2)],
        "small": [*(("conv", n, (5, 5), (2, 2), "VALID", 4) for n in (8, 16)), ("dense", 32, 2)],
        "lenet": [
            *(part for n in (16, 32) for part in (
                ("conv", n, (5, 5), ("padding", "VALID"), 4), ("pool", (2, 2), (2, 2)),
            )),
            ("dense", 512, 2),
        ],
    }  # fmt: skip
    for name, expected in layers.items():
        built.clear()
        network_speed._module(name)(x)  # pyright: ignore
        assert built == [*expected, ("dense", 10, 2)]


def test_mails_and_digits_have_labels_of_two_signs(monkeypatch) -> None:
    table = SimpleNamespace(x=np.full((2, 1), 0.5), y=np.array([1.0, -1.0]))
    put(monkeypatch, _one_by_one, spambase=lambda: table)
    found = _one_by_one.mails()
    assert (found.x.dtype, found.y.dtype) == (np.float32, np.int32)
    assert (found.x.tolist(), found.y.tolist()) == ([[0.5], [0.5]], [1, -1])
    with pytest.raises(UsageError, match="--points: got 9, expected at most 8"):
        _one_by_one.Options(points=9, validation=8)


class Kept:
    """A checkpoint that says what is done with it."""

    def __init__(self):
        self.done: list[Any] = []

    def load(self, none: Any) -> str:
        self.done.append(("load", [part.shape for part in jax.tree.leaves(none)]))
        return "loaded"

    def save(self, *given: Any) -> None:
        self.done.append(("save", *given))

    def remove(self) -> None:
        self.done.append("remove")


@pytest.mark.parametrize("stored", [False, True])
def test_points_are_posed_on_validation_rows_and_kept_until_the_rows_are_made(
    stored, monkeypatch
) -> None:
    options = _one_by_one.Options(points=3, every=3, train=4, validation=5, steps=9)
    parts = [Rows(np.full((n, 2), float(k)), np.arange(n) % 2) for k, n in enumerate((4, 5, 6))]
    start = Rows(np.full((3, 2), 7.0), np.array([1, -1, 1]))
    kept = Kept()
    posed: list[Any] = []

    def one_by_one(rows: Data, x: Any, y: Any, pose: Any, **keep: Any) -> Any:
        assert (rows, said(x, y)) == ("rows 0", said(start.x, start.y))
        posed.append(pose("data", "start", "labels"))
        assert keep == ({"done": "loaded", "after": kept.save} if stored else {})
        return _one_by_one.Greedy(x + 1, y, np.array([0.5, 0.25, 0.125]), x)  # pyright: ignore

    def errors(learner: str, rows: Any, keys: Any, test: Any) -> Any:
        assert (learner, test is parts[2]) == ("learner", True)
        return np.array([said(rows, keys)])

    def dealt(table: str, sizes: Any, split: int) -> Any:
        assert (table, sizes, split) == ("table", (4, 5), 6)
        return [SimpleNamespace(data=lambda k=k: f"rows {k}", x=p.x, y=p.y)
                for k, p in enumerate(parts[:2])] + [parts[2]]  # fmt: skip

    monkeypatch.setitem(_one_by_one.TABLES, "mlp-mnist", lambda: "table")
    put(
        monkeypatch, _one_by_one, victim=lambda of: "learner", dealt=dealt, one_by_one=one_by_one,
        start_rows=lambda of, validation, split: start if len(validation.y) == 5 else None,
        poison_network=tells("poison"), errors=errors, Ascent=tells("ascent"),
        checkpoint=lambda of, data, split: kept if stored else None,
        with_rows=lambda rows, x, y, share: (rows, said(x), said(y), share.tolist()),
    )  # fmt: skip
    found = _one_by_one.make_rows(options, "mlp-mnist", 6)["rows"]
    key, of_fresh = jax.random.split(jax.random.key(6))
    assert said(posed) == said([(
        "poison", "data", "start", "labels", "rows 1", "learner", key,
        ("ascent", ("ascent", ("first", 2.0), ("last", 0.2))), ("steps", 9),
    )])  # fmt: skip
    known, fresh = (_one_by_one.training_key(key)[None],
                    jax.random.split(of_fresh, _one_by_one.FRESH))  # fmt: skip
    expected = []
    for count in (0, 3):
        share = [k < count for k in range(3)]
        moved, flipped = (("rows 0", said(x), said(start.y), share) for x in (start.x + 1, start.x))
        expected.append({
            "split": 6, "points": count, "test_err": said(moved, known),
            "flip_err": said(flipped, known), "fresh_err": said(moved, fresh),
            "fresh_flip_err": said(flipped, fresh), "val_loss": 0.125 if count else None,
        })  # fmt: skip
    assert found == expected
    none = [(0, 2), (0,), (0,), (0, 2)]
    assert kept.done == ([("load", none), "remove"] if stored else [])


def test_a_network_of_colour_images_has_steps_for_its_rows(monkeypatch) -> None:
    names = ("Network", "ResNet", "Descent", "Unroll")
    put(
        monkeypatch, cifar_10, **{name: tells(name) for name in names},
        optax=SimpleNamespace(sgd=tells("sgd"), cosine_onecycle_schedule=tells("cycle")),
    )  # fmt: skip
    options = cifar_10.Options(batch=10, passes=3, widths=(4, 8), blocks=2, l2=0.5, rate=0.25)
    for rows, steps in ((25, 6), (9, 0)):
        cycle = ("cycle", max(steps, 2), 0.25, ("pct_start", 0.2))
        descent = ("Descent", ("sgd", cycle, ("momentum", 0.9), ("nesterov", True)), steps)
        assert cifar_10.victim(options, rows) == (
            "Network", ("ResNet", (4, 8), 2), ("augment", cifar_10.augmented), ("batch", 10),
            ("derivative", ("Unroll", 2)), ("l2", 0.5), ("solver", descent),
        )  # fmt: skip
    with pytest.raises(UsageError, match="--rows: got 9, expected at least --batch, 10"):
        cifar_10.Options(batch=10, rows=9)


@pytest.mark.parametrize(("devices", "used"), [(1, 1), (4, 3), (5, 3), (12, 6)])
def test_networks_are_spread_over_devices_that_divide_their_number(
    devices, used, monkeypatch
) -> None:
    meshes = []

    def mesh(shape: Any, names: Any, axis_types: Any) -> str:
        meshes.append((shape, names, len(axis_types)))
        return "mesh"

    fake = SimpleNamespace(
        device_count=lambda: devices, make_mesh=mesh, sharding=jax.sharding,
        device_put=lambda keys, sharding: (keys, sharding),
    )  # fmt: skip
    put(monkeypatch, cifar_10, jax=fake, NamedSharding=tells("named"), PartitionSpec=tells("spec"))
    keys: Any = list(range(6))
    assert cifar_10.spread(keys) == (keys, ("named", "mesh", ("spec", "members")))
    assert meshes == [((used,), ("members",), 1)]


def test_convolutional_and_dense_victims_are_trained_alike(monkeypatch) -> None:
    names = ("Network", "MLP", "Descent", "Unroll", "small")
    put(
        monkeypatch, cnn_mnist, **{name: tells(name) for name in names},
        optax=SimpleNamespace(sgd=tells("sgd")),
    )  # fmt: skip
    for train, batch in ((100, None), (101, 100)):
        options = cnn_mnist.Options(train=train, rate=0.25, length=9)
        more = (
            ("batch", batch), ("derivative", ("Unroll", 2)), ("l2", 1e-4),
            ("solver", ("Descent", ("sgd", 0.25, ("momentum", 0.9)), 9)),
        )  # fmt: skip
        assert cnn_mnist.victims(options) == (
            ("Network", ("small", 10), *more),
            ("Network", ("MLP", (32,), 10), *more),
        )


@dataclasses.dataclass
class Learner:
    """A learner that says what it was given."""

    loss: str = "loss"
    l2: float = 0.125
    start: Any = None
    solver: Any = "solver"
    batch: Any = 100

    def fit(self, data: Any, key: Any) -> Any:
        return SimpleNamespace(model=Model(("model", data, said(key))))


class Model(tuple):
    """A network, whose parameters say which."""

    parameters = property(lambda self: ("parameters", *self))


@pytest.mark.parametrize("attacker", cnn_mnist.ATTACKERS)
def test_attackers_of_networks_move_the_rows_of_the_start(attacker, monkeypatch) -> None:
    options = cnn_mnist.Options(points=2, steps=7, members=3, rate=0.25, corruption=5)
    validation = Rows(np.full((3, 1), 8.0), np.arange(3))
    of: Any = SimpleNamespace(
        train=SimpleNamespace(data=lambda: "train"), start=Rows(np.zeros((2, 1)), np.array([3, 4])),
        validation=SimpleNamespace(data=lambda: "held", x=validation.x, y=validation.y),
    )  # fmt: skip
    given: list[Any] = []

    def ends(name: str) -> Any:
        def call(*words: Any, **settings: Any) -> Any:
            given.append(tells(name)(*words, **settings))
            end = SimpleNamespace(z=np.full((2, 1), 9.0))
            return SimpleNamespace(z=end.z, climb=lambda: end)

        return call

    learner, key = Learner(), jax.random.key(6)
    names = ("compose", "Insert", "Box", "indiscriminate", "corrupted", "Ascent", "Descent")
    put(
        monkeypatch, cnn_mnist, victims=lambda of: (learner, "dense"),
        descend_ascend=ends("joint"), cancel_gradients=ends("cancel"), poison_network=ends("one"),
        **{name: tells(name) for name in names}, optax=SimpleNamespace(sgd=tells("sgd")),
    )  # fmt: skip
    found = cnn_mnist.poison(options, attacker, of, key)
    assert found.tolist() == [[9.0], [9.0]]
    start = (of.start.x, of.start.y)
    model = ("model", "train", said(cnn_mnist.training_key(key)))
    pace = ("ascent", ("Ascent", ("first", 2.0), ("last", 0.1)))
    many = jax.random.split(jax.random.fold_in(key, 7), 3)
    path = ("Descent", ("sgd", 0.25), cnn_mnist.BETWEEN)
    fast = Learner("loss", 0.125, ("parameters", *model), path, None)
    goal = ("indiscriminate", *validation, "loss")
    insert = ("Insert", of.start.y, ("Box", 0.0, 1.0))
    attack = ("compose", fast, insert, goal, "train", ("key", key))
    expected = {
        "joint": ("joint", attack, of.start.x, pace, ("steps", 28)),
        "cancelling": (
            "cancel", "train", *start, ("corrupted", model, "held", "loss", 5), "loss", pace,
            ("l2", 0.125), ("steps", 35),
        ),
        "one": ("one", "train", *start, "held", learner, key, pace, ("steps", 7)),
        "averaged": ("one", "train", *start, "held", learner, many, pace, ("steps", 7)),
    }  # fmt: skip
    assert said(given) == said([expected[attacker]])
