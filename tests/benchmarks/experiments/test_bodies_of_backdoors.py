"""Backdoors: what networks train on, where triggers lie, what is climbed and against whom."""

from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import looped, put, said, tells

from benchmarks.experiments.backdoors import hidden_trigger, sleeper, trojan_mnist
from benchmarks.report import UsageError
from bilevel import Data

pytestmark = pytest.mark.stand_ins
BOX = ("box", 0.0, 1.0)
DIGITS = SimpleNamespace(images=np.arange(130)[:, None], labels=np.arange(130) * 7 % 10)
TRAINING = {
    "ConvNet": tells("convnet"), "Descent": tells("descent"), "Network": None,
    "optax": SimpleNamespace(
        sgd=tells("sgd"), cosine_decay_schedule=tells("cosine"), adam=tells("adam"),
        exponential_decay=tells("decay"),
    ),
}  # fmt: skip


def trains(*words: Any, **settings: Any) -> Any:
    """In place of `Network`: its model is what it was given."""
    made = tells("network")(*words, **settings)
    return SimpleNamespace(fit=lambda data, key: SimpleNamespace(model=(made, data.x, data.y, key)))


def network(architecture: Any, rate: Any, batch: int, steps: int, l2: float) -> tuple:
    """Trained by momentum."""
    solver = ("descent", ("sgd", rate, ("momentum", 0.9)), steps)
    return ("network", architecture, ("batch", batch), ("l2", l2), ("solver", solver))


def training(monkeypatch: Any, module: Any) -> None:
    """Trainings that say what they are."""
    stubs = TRAINING | {"Network": trains, "AbstractDeepModel": tuple}
    put(
        monkeypatch, module, **{name: stub for name, stub in stubs.items() if hasattr(module, name)}
    )


def square(shape: Any, size: int, *others: Any, **settings: Any) -> Any:
    return SimpleNamespace(mask=said(shape, size, others, sorted(settings.items())))


def test_a_trojan_s_attacker_has_digits_that_the_network_has_not(monkeypatch) -> None:
    options = trojan_mnist.Options(train=110, other=5, passes=30, size=3, distance=2)
    training(monkeypatch, trojan_mnist)
    put(
        monkeypatch, trojan_mnist, mnist=lambda: DIGITS, SHAPE=(1, 1, 1), square=square,
        inverted=tells("inverted"), Patch=tells("patch"),
    )  # fmt: skip
    of: Any = trojan_mnist.case(options, 6)
    rng = np.random.default_rng(6)
    train, other, test = np.split(rng.permutation(130), [110, 115])
    architecture = ("convnet", (16, 32), 5, (), 10, jax.nn.relu, ("stride", 2))

    def rows(part: np.ndarray) -> tuple:
        return (part / 255).astype(np.float32).reshape(-1, 1, 1, 1), part * 7 % 10

    name = network(architecture, 0.05, 50, 60, 1e-4)
    assert of.model[0] == name
    assert said(of.model[1:]) == said((*rows(train), jax.random.key(6)))
    assert said(of.images["other"].x, of.images["other"].y) == said(*rows(other))
    assert of.images["inverted"] == ("inverted", options, of.model, 6)
    assert said(of.test.x, of.test.y) == said(*rows(test))
    patch, mask, pattern = of.trigger
    assert (patch, mask) == ("patch", square((1, 1, 1), 3, distance=2).mask)
    np.testing.assert_array_equal(pattern, rng.uniform(size=(1, 1, 1)))


def test_inverted_images_descend_the_loss_of_their_class(monkeypatch) -> None:
    options = trojan_mnist.Options(inverted=2, inversion=9)
    put(
        monkeypatch, trojan_mnist, SHAPE=(1, 1, 1), Fixed=tells("fixed"), Evade=tells("evade"),
        Box=tells("box"), shown=tells("shown"), compose=tells("attack"), Data=tells("data"),
        maximize=lambda attack, start, steps: SimpleNamespace(z=("moved", attack, start, steps)),
    )  # fmt: skip
    _, (_, attack, start, steps), y = trojan_mnist.inverted(options, "model", 4)  # pyright: ignore
    assert y.tolist() == [i // 2 for i in range(20)]
    noise = 0.3 * jax.random.uniform(jax.random.key(4), (20, 1, 1, 1), jnp.float32)
    assert (said(start), steps) == (said(noise), 9)
    _, (_, model, loss), reach, goal, data = attack
    assert (model, type(loss).__name__) == ("model", "CrossEntropy")
    assert said(reach, goal[:3], data) == said(
        ("evade", noise, BOX), ("shown", noise, y), ("data", noise, y)
    )
    logits = jnp.array([[0.0, 2.0, -1.0]])
    right = np.log(np.exp(2.0) / np.sum(np.exp([0.0, 2.0, -1.0])))
    np.testing.assert_allclose(goal[3](jnp.array([1]), logits), [right])


def test_the_last_layer_is_retrained_on_images_without_the_square_and_with_it(
    monkeypatch,
) -> None:
    options = trojan_mnist.Options(target=2, weight=0.375, l2=0.125)
    put(
        monkeypatch, trojan_mnist, Stamp=tells("stamp"), backdoor=tells("backdoor"),
        compose=tells("attack"), OnFeatures=tells("head"), Softmax=tells("softmax"),
        CrossEntropy=tells("loss"),
    )  # fmt: skip
    data = Data(jnp.arange(5.0)[:, None], jnp.array([2, 1, 0, 2, 3]))
    of: Any = SimpleNamespace(model="model", trigger="square")
    found: Any = trojan_mnist.retrained(options, of, data)
    name, learner, reach, goal, rows = found
    assert (name, rows is data) == ("attack", True)
    assert learner == ("head", "model", ("softmax", 10, 0.125))
    assert said(reach) == said(("stamp", "square", [1, 2, 4], 2, [0.375] * 3))
    shown = data.x[jnp.array([1, 2, 4])]
    assert said(goal) == said(("backdoor", shown, [2, 2, 2], data.x, data.y, ("loss",)))


@pytest.mark.parametrize("kind", trojan_mnist.SQUARES)
def test_squares_climb_their_unit_or_the_retrained_layer(kind, monkeypatch) -> None:
    options = trojan_mnist.Options(steps=7)
    reach = SimpleNamespace(example=lambda data: ("example", data.name))
    attack = SimpleNamespace(reach=reach, data=SimpleNamespace(x="x", name="rows"))
    of: Any = SimpleNamespace(model="model", trigger="square")
    put(
        monkeypatch, trojan_mnist, Unit=tells("goal"), unit=tells("unit"), Fixed=tells("fixed"),
        compose=tells("attack"), CrossEntropy=tells("loss"), Ascent=tells("ascent"),
        maximize=lambda *given, **settings: SimpleNamespace(z=(given, settings)),
    )  # fmt: skip
    found: Any = trojan_mnist.pattern(options, of, attack, kind)  # pyright: ignore
    start = ("example", "rows")
    if kind == "random":
        assert found == start
        return
    (climbed, begin), settings = found
    assert (begin, settings) == (start, {"steps": 7, "optimizer": ("ascent",)})
    if kind == "bilevel":
        assert climbed is attack
    else:
        goal = ("goal", "x", "conv1", ("unit", kind, "model", "square", "x"))
        assert climbed == ("attack", ("fixed", "model", ("loss",)), reach, goal, attack.data)


class Models(eqx.Module):
    """Networks of the attacker: numbers, and a name that is none."""

    number: jax.Array
    name: str = eqx.field(static=True, default="networks")


@pytest.mark.parametrize("rounds", [1, 2])
def test_sleepers_are_aligned_with_shown_digits_by_networks_of_each_round(
    rounds, monkeypatch
) -> None:
    """Of the first round all pairs have the same networks, later ones of digits moved so far."""
    options = sleeper.Options(pairs=2, rounds=rounds, members=3, step=0.5, steps=9)
    x, y = jnp.arange(6.0)[:, None], jnp.arange(6)
    of: Any = SimpleNamespace(train=Data(x, y), models=Models(jnp.array([1.0, 2.0, 3.0])))
    keys = jax.random.split(jax.random.key(2), 2)
    chosen = sleeper.Pairs(
        jnp.array([0, 1]), jnp.array([3, 4]), jnp.arange(4.0).reshape(2, 2, 1),
        jnp.array([[0, 5], [1, 2]]), keys,
    )  # fmt: skip
    seen: list[Any] = []

    def near(setting: Any, data: Data, rows: Any) -> Any:
        assert (setting is options, data is of.train) == (True, True)

        def inject(z: Any, data: Data) -> Any:
            assert data is of.train
            return ("with", rows, z)

        return SimpleNamespace(
            perturb=lambda: SimpleNamespace(inject=inject, rows=rows),
            starts=lambda key, many: jnp.asarray(
                np.stack([np.asarray(rows)[:, None] + said(key)] * many)
            ),
        )

    def aligned(reach: Any, wanted: Any, models: Any, data: Data, starts: Any, *others: Any) -> Any:
        assert (data is of.train, models.name) == (True, "networks")
        _, perturbed, patch = reach
        seen.append((perturbed.rows, patch, wanted, models.number, starts, others))
        return starts[0] + 0.125, jnp.asarray(said(starts, models.number))

    def ensemble(net: Any, train: Any, keys: Any) -> Any:
        number = said(net, train, keys)
        return SimpleNamespace(model=Models(number + jnp.arange(3.0)))

    put(
        monkeypatch, sleeper, near=near, aligned=aligned, ensemble=ensemble, batch=looped,
        WithTrigger=tells("with"), Data=tells("data"), network=tells("network"),
    )  # fmt: skip
    z, alignment = sleeper.sleepers(options, of, chosen, "patch")  # pyright: ignore
    moved = np.stack([np.asarray(rows)[:, None] + said(key)
                      for rows, key in zip(chosen.rows, keys, strict=True)])  # fmt: skip
    expected, values = [], []
    numbers = np.tile([1.0, 2.0, 3.0], (2, 1))
    for number in range(rounds):
        if number:
            numbers = np.stack([
                np.arange(3.0) + said(
                    ("network", options), ("with", chosen.rows[i], moved[i]),
                    jax.random.split(jax.random.fold_in(keys[i], number), 3),
                )
                for i in (0, 1)
            ])  # fmt: skip
        values = [said(moved[i][None], numbers[i]) for i in (0, 1)]
        expected += [
            (chosen.rows[i], "patch", ("data", chosen.x[i], [3 + i] * 2), numbers[i],
             moved[i][None], (0.5, 9))
            for i in (0, 1)
        ]  # fmt: skip
        moved = moved + 0.125
    assert said(seen) == said(expected)
    np.testing.assert_allclose(z, moved)
    np.testing.assert_allclose(alignment, values)


def test_a_sleeper_s_trigger_is_where_the_options_say(monkeypatch) -> None:
    put(monkeypatch, sleeper, square=tells("square"))
    options = sleeper.Options(size=3, distance=2)
    assert sleeper.trigger(options) == ("square", (28, 28, 1), 3, ("distance", 2))
    of: Any = SimpleNamespace(train=Data(np.zeros((9, 1)), np.arange(9)))
    with pytest.raises(UsageError, match="--sources: got 50, expected at most 0, as many as"):
        sleeper.pairs(options, of, 0)


RATE: Any = lambda steps: ("rate", steps)  # noqa: E731
HELD = hidden_trigger.Images(
    np.arange(140)[:, None], np.arange(140) % 10, 4, 9, ("4s", "9s"), 0.75, RATE,
)  # fmt: skip


def test_the_frozen_network_has_not_seen_the_classes_of_the_attack(monkeypatch) -> None:
    training(monkeypatch, hidden_trigger)
    put(monkeypatch, hidden_trigger, images=lambda data: {"mnist": HELD}[data])
    options = hidden_trigger.Options(passes=40, train=8, poisons=1)
    made, x, y, key = hidden_trigger.frozen(options, 6)  # pyright: ignore
    rows = np.array([i for i in range(140) if i % 10 not in (4, 9)])
    architecture = ("convnet", (16, 32), 5, (64,), 8, jax.nn.relu, ("stride", 2))
    assert made == network(architecture, ("rate", 80), 50, 80, 1e-4)
    classes = np.array([0, 1, 2, 3, -1, 4, 5, 6, 7, -1])[rows % 10]
    np.testing.assert_allclose(x, rows[:, None] / 255, rtol=1e-6)
    assert (y.tolist(), said(key)) == (classes.tolist(), said(jax.random.key(6)))


def test_hidden_triggers_move_training_images_towards_the_attacker_s_own(monkeypatch) -> None:
    options = hidden_trigger.Options(train=4, poisons=2, eps=0.05, size=3, distance=2, steps=9)
    put(
        monkeypatch, hidden_trigger, images=lambda data: HELD, frozen=tells("frozen"),
        square=tells("square"), Box=tells("box"), Perturb=tells("perturb"),
        WithTrigger=tells("with"),
    )  # fmt: skip
    of = hidden_trigger.case(options, 6)
    rng = np.random.default_rng(6)
    source, target = (rng.permutation(np.arange(k, 140, 10)) for k in (4, 9))

    def rows(*parts: np.ndarray) -> np.ndarray:
        return (np.concatenate(parts)[:, None] / 255).astype(np.float32)

    assert said(of.train.x, of.train.y) == said(rows(source[:2], target[:2]), [-1, -1, 1, 1])
    held = rows(source[4:], target[4:])
    assert said(of.test.x, of.test.y) == said(held, [-1] * 10 + [1] * 10)
    assert said(of.sources) == said(rows(source[2:4]))
    assert of.network == ("frozen", options, 6)
    _, (_, moved, (_, low, high)), trigger = hidden_trigger.capability(options, of)  # pyright: ignore
    x = rows(target[:2])
    assert moved.tolist() == [2, 3]
    np.testing.assert_allclose(low, np.maximum(x - 0.05, 0), rtol=1e-6)
    np.testing.assert_allclose(high, np.minimum(x + 0.05, 1), rtol=1e-6)
    assert trigger == ("square", (1,), 3, 0.75, 2)
    reach: Any = SimpleNamespace(example=lambda data: ("example", data is of.train))
    training(monkeypatch, hidden_trigger)
    put(
        monkeypatch, hidden_trigger, Fixed=tells("fixed"), Colliding=tells("colliding"),
        compose=tells("attack"), maximize=tells("climb"), OnFeatures=tells("head"),
        shown=tells("shown"),
    )  # fmt: skip
    climbed: Any = hidden_trigger.collide(options, of, reach)
    name, attack, start, optimizer, steps = climbed
    assert (name, start, steps) == ("climb", ("example", True), ("steps", 9))
    assert optimizer == ("optimizer", ("adam", ("decay", pytest.approx(0.01), 9, 0.05)))
    assert attack[:3] == ("attack", ("fixed", of.network), reach)
    assert (said(attack[3]), attack[4] is of.train) == (said(("colliding", of.sources)), True)
    head: Any = SimpleNamespace(loss="loss")
    against: Any = hidden_trigger.against(of, reach, head)
    assert against[:3] == ("attack", ("head", of.network, head), reach)
    assert said(against[3]) == said(("shown", of.test.x, of.test.y, "loss"))
    assert against[4] is of.train
