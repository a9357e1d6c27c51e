"""Digits with triggers: who trains on which, with which settings, and what is drawn of them."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import put, said, tells

from benchmarks.experiments.backdoors import (
    _sign_transfer,
    badnets_mnist,
    badnets_signs,
    driving,
    optimised_trigger,
    sponge,
    toy_backdoor,
)
from benchmarks.report import UsageError
from bilevel import Data
from bilevel.learners import LinearModel

pytestmark = pytest.mark.stand_ins
OPTAX = SimpleNamespace(sgd=tells("sgd"), adam=tells("adam"), cosine_decay_schedule=tells("cosine"))
DIGITS = SimpleNamespace(
    images=np.arange(70)[:, None, None] * np.ones((1, 28, 28), int), labels=np.arange(70) * 7 % 10
)


def training(monkeypatch: Any, module: Any) -> None:
    """Trainings that say what they are."""
    stubs = {
        "Descent": tells("descent"), "Network": tells("network"), "ConvNet": tells("convnet"),
        "MLP": tells("mlp"), "optax": OPTAX,
    }  # fmt: skip
    put(monkeypatch, module, **{name: stubs[name] for name in stubs if hasattr(module, name)})


def numbers(data: Data) -> list[int]:
    """Which digits, and whether their labels are those."""
    which = np.round(np.asarray(data.x).reshape(len(data.y), -1)[:, 0] * 255).astype(int)
    np.testing.assert_array_equal(which * 7 % 10, data.y)
    return which.tolist()


def test_no_digit_has_two_roles(monkeypatch) -> None:
    order = np.random.default_rng(0).permutation(70)
    for module in (badnets_mnist, sponge):
        put(monkeypatch, module, mnist=lambda: DIGITS)
    of = badnets_mnist.case(badnets_mnist.Options(train=60, victims=3))
    found = sponge.digits(sponge.Options(train=60))
    for train, test in (of[:2], found):
        assert numbers(train) == order[:60].tolist()  # pyright: ignore
        assert numbers(test) == order[60:].tolist()  # pyright: ignore
        assert train.x.shape[1:] == (28, 28, 1)  # pyright: ignore
    assert said(of.keys) == said(jax.random.split(jax.random.key(1), 3))


def test_victims_of_a_trigger_are_trained_by_their_options(monkeypatch) -> None:
    training(monkeypatch, badnets_mnist)
    put(monkeypatch, badnets_mnist, ensemble=tells("ensemble"), case=lambda of: case,
        NETWORKS={"paper": "architecture"})  # fmt: skip
    case = SimpleNamespace(train=Data(np.zeros((120, 1)), np.zeros(120)), keys="keys")
    options = badnets_mnist.Options(passes=3, rate=0.5)
    monkeypatch.setitem(badnets_mnist.NETWORKS, options.network, "architecture")  # pyright: ignore
    badnets_mnist.clean_victims.cache_clear()
    name, net, data, keys = badnets_mnist.clean_victims(options)  # pyright: ignore
    badnets_mnist.clean_victims.cache_clear()
    solver = ("descent", ("sgd", 0.5, ("momentum", 0.9)), 6)
    assert (name, data is case.train, keys) == ("ensemble", True, "keys")
    assert net == ("network", "architecture", ("batch", 50), ("l2", 1e-4), ("solver", solver))
    fitted: Any = {"a": jnp.arange(5), "name": "kept"}
    first: Any = badnets_mnist.first(fitted, 2)
    assert (first["a"].tolist(), first["name"]) == ([0, 1], "kept")


def test_sponges_differ_by_their_strength_alone(monkeypatch) -> None:
    training(monkeypatch, sponge)
    put(
        monkeypatch, sponge, Sponge=tells("sponge"), unstacked=lambda model: ["unstacked", model],
        ensemble=lambda *given: SimpleNamespace(model=given),
    )  # fmt: skip
    options = sponge.Options(passes=3, rate=0.5, victims=2, share=0.25, sigma=0.125)
    train = Data(np.zeros((120, 1)), np.zeros(120))
    _, (net, data, keys) = sponge.trained(options, train, 0.75)  # pyright: ignore
    solver = ("descent", ("sgd", 0.5, ("momentum", 0.9)), 6)
    architecture = ("convnet", (16, 32), 5, (64,), 10, jax.nn.relu, ("stride", 2))
    assert net == (
        "network", architecture, ("activity", ("sponge", 0.75, 0.25, 0.125)), ("batch", 50),
        ("l2", 1e-4), ("solver", solver),
    )  # fmt: skip
    assert (data is train, said(keys)) == (True, said(jax.random.split(jax.random.key(1), 2)))
    put(
        monkeypatch, sponge, compose=tells("attack"), Fixed=tells("fixed"), Evade=tells("evade"),
        Box=tells("box"), Energy=tells("energy"), Data=tells("data"),
        maximize=lambda *given, **settings: SimpleNamespace(z=(given, settings)),
    )  # fmt: skip
    x = jnp.ones((2, 1))
    (attack, start), settings = sponge.sponges(  # pyright: ignore
        sponge.Options(steps=9, sigma=0.125), "model", x  # pyright: ignore
    )  # fmt: skip
    assert (start is x, settings) == (True, {"steps": 9})
    assert said(attack) == said((
        "attack", ("fixed", "model"), ("evade", x, ("box", 0.0, 1.0)), ("energy", x, 0.125),
        ("data", x, [0, 0]),
    ))  # fmt: skip


def test_networks_for_signs_have_steps_for_their_rows(monkeypatch) -> None:
    for module in (_sign_transfer, badnets_signs):
        training(monkeypatch, module)
        monkeypatch.setattr(module, "BATCH", 50)
    head = _sign_transfer.head(120, 3, 0.5)
    descent = ("descent", ("adam", ("cosine", 0.5, 6)), 6)
    relu = ("activation", jax.nn.relu)
    assert head == (
        "network",
        ("mlp", (64,), relu, ("outputs", 5)),
        ("batch", 50),
        ("solver", descent),
    )
    options = badnets_signs.Options(passes=4, rate=0.25)
    for rows, batch in ((120, 50), (20, 20)):
        steps = 4 * (rows // batch)
        descent = ("descent", ("adam", ("cosine", 0.25, steps)), steps)
        net: Any = badnets_signs.victim(options, rows)
        assert net[2:] == (("batch", batch), ("solver", descent))
        assert net[1][1:5] == ((16, 32, 48), 3, (64,), badnets_signs.CLASSES)


def test_a_hypergradient_is_held_against_differences_along_one_direction(monkeypatch) -> None:
    z = jnp.array([0.5, -0.25, 1.0])
    attack: Any = lambda z: jnp.sum(z**3)  # noqa: E731
    along = np.random.default_rng(1).normal(size=3)
    slope = float(np.sum(3 * np.asarray(z) ** 2 * along))
    for off, gap in ((0.0, 0.0), (0.25 * slope, 0.25)):
        grad = lambda f, off=off: lambda z: 3 * z**2 + off * along / (along @ along)  # noqa: E731
        put(monkeypatch, optimised_trigger, jax=SimpleNamespace(grad=grad))
        assert optimised_trigger.error(attack, z) == pytest.approx(gap, abs=1e-9)
    with pytest.raises(UsageError, match="--train, --validation: got 600, 301"):
        optimised_trigger.Options(train=600, validation=301)


def test_rows_of_a_split_are_of_every_learner_and_penalty(monkeypatch) -> None:
    put(
        monkeypatch, toy_backdoor, case=tells("case"), LEARNERS={"a": tells("A"), "b": tells("B")},
        _shares=lambda *given: [{"shares": given}],
        _strengths=lambda *given: [{"strengths": given}],
        _directions=lambda *given: [{"directions": given}],
    )  # fmt: skip
    options = toy_backdoor.Options(l2s=(0.25, 0.5))
    of = ("case", options, 6)
    expected = [
        {"shares": (options, of, name, (name.upper(), l2))}
        for name in ("a", "b")
        for l2 in (0.25, 0.5)
    ]
    expected += [{"strengths": (options, of)}, {"directions": (options, of)}]
    found = toy_backdoor.make_rows(options, 6)["rows"]
    assert found == [{"split": 6, **row} for row in expected]


class Corner:
    """Copies of rows 1, 4 and 6, of which the first two count; the corner is two pixels."""

    weight, rows, labels = np.array([1.0, 1.0, 0.0]), np.array([1, 4, 6]), np.ones(3)
    trigger = toy_backdoor.Patch(jnp.array([0.0, 0, 0, 1, 1]), jnp.ones(5))

    def inject(self, z: Any, data: Any) -> tuple:
        return ("with", float(np.asarray(z)[0]), data)

    def example(self, data: Any) -> Any:
        return np.ones(5)

    def present(self, z: Any, x: Any) -> Any:
        return np.asarray(x) + 100.0 * np.mean(z)


RNG = np.random.default_rng(5)
X = np.c_[RNG.uniform(size=(9, 3)), np.zeros((9, 2))]
Y = np.where(np.arange(9) % 2, 1.0, -1.0)
TOY: Any = SimpleNamespace(train=Data(X, Y), test=Data(X[:5] / 4 + 0.125, Y[:5]))


def ridge(strength: float, l2: float) -> tuple[np.ndarray, float]:
    """On rows and copies as they are, by normal equations of centred columns."""
    copies = X[[1, 4]].copy()
    copies[:, 3:] = strength
    x, y = np.r_[X, copies], np.r_[Y, 1.0, 1.0]
    mean, level = x.mean(0), y.mean()
    centred = x - mean
    w = np.linalg.solve(centred.T @ centred / 11 + l2 * np.eye(5), centred.T @ (y - level) / 11)
    return w, level - mean @ w


def test_the_closed_form_is_ridge_on_rows_and_copies() -> None:
    """The weight of the corner is largest at the peak."""
    reach: Any = Corner()
    assert toy_backdoor.corner(reach).tolist() == [False] * 3 + [True] * 2
    weights = []
    for strength in (0.5, 2.0):
        model = toy_backdoor.closed_form(TOY, reach, 0.125, strength)
        w, bias = ridge(strength, 0.125)
        np.testing.assert_allclose(model.w, w, atol=1e-12)
        np.testing.assert_allclose(model.bias, bias, atol=1e-12)
    top = toy_backdoor.peak(TOY, reach, 0.125)
    weights = [ridge(top * factor, 0.125)[0][3] for factor in (0.98, 1.0, 1.02)]
    assert weights[1] == max(weights)


def test_strengths_are_judged_on_test_digits_beside_their_closed_form(monkeypatch) -> None:
    """A full corner is shown, whatever the copies had; 7s count that are read right without."""
    options = toy_backdoor.Options(share=0.25, strengths=(0.5, 2.0), l2=0.375)
    fits = []

    class Model(LinearModel):
        def predict(self, x: Any, **settings: Any) -> Any:
            shown = np.mean(x) > 50
            return jnp.array([1, 1, -1, 1, 1] if shown else [-1.0, 1.0, -1.0, -1.0, 1.0])

        def decision(self, x: Any, **settings: Any) -> Any:
            return jnp.where(np.mean(x) < 50, 0.5, 9) * jnp.array(TOY.test.y)

    def fit(data: Any) -> Any:
        fits.append(data[1])
        assert data[2] is TOY.train
        return SimpleNamespace(model=Model(jnp.zeros(5).at[4].set(0.25), jnp.asarray(data[1])))

    def closed(of: Any, reach: Any, l2: float, strength: float) -> Any:
        assert (of is TOY, l2) == (True, 0.375)
        return LinearModel(jnp.zeros(5), jnp.asarray(2.0))

    put(
        monkeypatch, toy_backdoor, closed_form=closed,
        copies=lambda of, share: {0.25: Corner()}[share],
        peak=lambda of, reach, l2: {(True, 0.375): 1.5}[of is TOY, l2],
        Ridge=lambda l2: SimpleNamespace(fit=fit),
    )  # fmt: skip
    rows = list(toy_backdoor._strengths(options, TOY))
    assert fits == [0.5, 2.0]
    assert rows == [
        {"part": "strength", "strength": strength, "peak": 1.5, "gap": gap, "success": 0.5,
         "test_err": 2 / 5, "loss": 0.125}
        for strength, gap in ((0.5, 1.5), (2.0, 0.25))
    ]  # fmt: skip


def test_driving_draws_clean_and_attacked_trips(monkeypatch) -> None:
    from benchmarks.pictures import driving as picture

    shown: list[Any] = []
    trips = [{"trips": [(10 * k + i, 0.5) for i in (1, 2)]} for k in range(3)]
    put(
        monkeypatch, driving, _notes=lambda report: None,
        Trip=lambda *ends: tuple(float(end) for end in ends),
        roads=lambda count, seed, sign: SimpleNamespace(x=[(count, seed, sign)] * 9),
    )  # fmt: skip
    put(monkeypatch, picture, draw=tells("drawn"))
    report: Any = SimpleNamespace(
        out="folder", each=lambda make, options, units, title: trips,
        figure=lambda *given: shown.append(given),
    )  # fmt: skip
    options = driving.Options(test=12, sign=0.75)
    driving.run(options, report)
    ends = [(1.0, 0.5), (2.0, 0.5), (21.0, 0.5), (22.0, 0.5)]
    roads = [[(12, 2, sign)] * 6 for sign in (False, True)]
    assert shown == [("driving", ("drawn", ends, *roads, 0.75))]


def test_units_that_answer_are_drawn_of_the_first_victims(monkeypatch) -> None:
    from benchmarks.pictures import badnets_mnist as picture

    shown: list[Any] = []
    options = badnets_mnist.Options(victims=5, fewer=4, share=0.25)

    def outcome(alone: Any, name: str, kind: str, share: float) -> Any:
        assert (alone.victims, alone.fewer, name, kind, share) == (1, 1, "one", "backdoor", 0.25)
        of = SimpleNamespace(test=SimpleNamespace(x=np.arange(9.0)))
        clean, fitted = (SimpleNamespace(model=k) for k in ("clean", "attacked"))
        return of, None, np.arange(9.0) + 50, clean, fitted

    def unstacked(model: str) -> list[Any]:
        parameters = {"conv0": {"weight": [said(model)]}}
        return [SimpleNamespace(name=model, parameters=parameters), "second"]

    put(
        monkeypatch, badnets_mnist, outcome=outcome, unstacked=unstacked,
        response=lambda model, x, seen: (model.name, said(x), said(seen)),
    )  # fmt: skip
    put(monkeypatch, picture, units=lambda *given: given)
    report: Any = SimpleNamespace(figure=lambda *given: shown.append(given))
    badnets_mnist._pictured(options, report, "one")
    ((name, (images, filters, responses)),) = shown
    x = np.arange(9.0)
    assert (name, said(images)) == ("badnets-mnist-one", said((x[:4], x[:4] + 50)))
    assert said(filters) == said([[said("clean")], [said("attacked")]])
    assert responses == [(kind, said(x), said(x + 50)) for kind in ("clean", "attacked")]
