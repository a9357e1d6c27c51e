"""Poison for single targets: which images move, near what, and whose networks are looked at."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import looped, put, said, tells

from benchmarks.experiments.targeted import frogs, metapoison, polytope
from benchmarks.pretraining import OTHER, WIDE, Images
from bilevel import Data

pytestmark = pytest.mark.stand_ins
BOX = ("box", 0.0, 1.0)
KEY = jax.random.key(8)


def numbered(start: int, counts: dict[int, int]) -> Images:
    """Images whose only pixel is a number of their own."""
    y = np.repeat([*counts], [*counts.values()])
    return Images(np.arange(start, start + len(y), dtype=float)[:, None], y.astype(np.int32))


TRAIN, TEST = numbered(0, {4: 9, 9: 12, 3: 5}), numbered(100, {3: 4, 4: 6, 9: 5})


@pytest.fixture
def drawn(monkeypatch) -> polytope.Options:
    put(monkeypatch, polytope, images=lambda data: {"mnist": (TRAIN, TEST)}[data])
    monkeypatch.setattr(polytope, "case", polytope.case.__wrapped__)
    return polytope.Options(targets=2, train=6, poisons=3, eps=0.25, steps=7, surrogates=2)


def test_no_image_of_a_case_has_two_parts(drawn) -> None:
    of = polytope.case(drawn)
    rng = np.random.default_rng(0)
    base, target = (rng.permutation(TRAIN.of(c).x) for c in (9, 4))
    base_test, target_test = (rng.permutation(TEST.of(c).x) for c in (9, 4))
    y = [1, 1, 1, -1, -1, -1]
    assert said(of.train.x, of.train.y) == said(np.concatenate([base[:3], target[:3]]), y)
    held = np.concatenate([base_test, target_test[2:]])
    assert said(of.test.x, of.test.y) == said(held, [1] * 5 + [-1] * 4)
    assert said(of.targets, of.bases) == said(target_test[:2], base[3:9].reshape(2, 3, 1))


@pytest.mark.parametrize(("depth", "layers"), [("linear", "last"), ("end to end", "all")])
def test_collisions_are_in_the_networks_that_the_attacker_has(
    drawn, depth, layers, monkeypatch
) -> None:
    given: list[Any] = []

    def collide(*words: Any, **settings: Any) -> Any:
        given.append(tells("collide")(*words, **settings))
        return SimpleNamespace(climb=lambda: SimpleNamespace(z="moved"))

    put(
        monkeypatch, polytope, collide_features=collide, Box=tells("box"), LinfBall=tells("ball"),
        Data=tells("data"), pretrained=lambda of, *words: SimpleNamespace(model=words),
    )  # fmt: skip
    target, base = jnp.array([0.5]), jnp.array([[0.1], [0.2], [0.3]])
    assert polytope.crafter(drawn, "polytope", depth)(target, base) == "moved"
    assert said(given) == said([(
        "collide", ("data", base, [1, 1, 1]), range(3), target, -1, [(WIDE, 0), (WIDE, 1)],
        polytope.RULES["polytope"], ("domain", ("ball", base, 0.25, BOX)), ("layers", layers),
        ("steps", 7),
    )])  # fmt: skip


def test_poison_is_timed_for_each_target_and_its_control_is_of_random_signs(
    drawn, monkeypatch
) -> None:
    of = SimpleNamespace(targets=jnp.array([[1.0], [2.0]]), bases=jnp.full((2, 400, 1), 0.125))
    put(
        monkeypatch, polytope, case=lambda options: of,
        crafter=lambda *given: lambda target, base: ("made", given, target, base),
        batch=lambda call, size: {2: call}[size], warm=lambda call: (call(), 5.0, 0.0),
    )  # fmt: skip
    found: Any = polytope.poison(drawn, "frogs", "linear")
    expected = ("made", (drawn, "frogs", "linear"), of.targets, of.bases)
    assert (said(found.moved), found.seconds) == (said(expected), 2.5)
    control = polytope.poison(drawn, "random", "linear")
    assert control.seconds is None
    assert set(np.unique(control.moved)) == {0.0, 0.375}
    assert 0.4 < np.mean(np.asarray(control.moved) > 0) < 0.6


def test_victims_start_from_networks_that_nobody_or_the_attacker_has(drawn, monkeypatch) -> None:
    put(monkeypatch, polytope, pretrained=lambda of, *words: SimpleNamespace(model=words))
    found = {victim: polytope.network(drawn, victim) for victim in polytope.VICTIMS}
    assert found == {"white": (WIDE, 0), "grey": (WIDE, 2), "black": (OTHER,)}
    polytope.clean.cache_clear()
    put(monkeypatch, polytope, judged=tells("judged"), case=lambda of: SimpleNamespace(bases="b"))
    assert polytope.clean(drawn, "grey", "linear") == ("judged", drawn, "grey", "linear", "b")
    polytope.clean.cache_clear()


@dataclasses.dataclass
class Shape:
    """An architecture that says how it was initialised."""

    outputs: int = 8

    def init(self, key: Any, row: Any) -> dict[str, Any]:
        return {"logits": (self.outputs, said(key), row.shape), "layer": "new"}


def test_victims_train_a_head_or_the_whole_network_with_a_new_one(drawn, monkeypatch) -> None:
    options = dataclasses.replace(drawn, l2=0.125, fine_rate=0.5, fine_steps=9)
    start: Any = SimpleNamespace(
        architecture=Shape(), parameters={"logits": "trained", "layer": "trained"}
    )

    def learner(name: str) -> Any:
        def made(*words: Any, **settings: Any) -> Any:
            def fit(data: Data, **more: Any) -> Any:
                return SimpleNamespace(model=(tells(name)(*words, **settings), data, more))

            return SimpleNamespace(fit=fit)

        return made

    put(
        monkeypatch, polytope, Logistic=tells("logistic"), LogisticLoss=tells("loss"),
        OnFeatures=learner("head"), Network=learner("network"), Descent=tells("descent"),
        optax=SimpleNamespace(sgd=tells("sgd")),
    )  # fmt: skip
    data = Data(np.zeros((3, 2)), np.ones(3))
    head, seen, more = polytope.trained(options, start, "linear", data)  # pyright: ignore
    assert (head, seen is data, more) == (
        ("head", start, ("logistic", 0.125)), True, {"throw": False},
    )  # fmt: skip
    whole, seen, more = polytope.trained(options, start, "end to end", data)  # pyright: ignore
    parameters = {"logits": (1, said(jax.random.key(2)), (2,)), "layer": "trained"}
    assert whole == (
        "network", Shape(1), ("loss",), ("batch", 35), ("l2", 1e-3),
        ("solver", ("descent", ("sgd", 0.5, ("momentum", 0.9)), 9)), ("start", parameters),
    )  # fmt: skip
    assert (seen is data, said(more.pop("key")), more) == (
        True, said(jax.random.key(3)), {"throw": False},
    )  # fmt: skip


@dataclasses.dataclass
class Net:
    """A training that adds to its start what it was given."""

    architecture: Any = None
    start: Any = None
    solver: Any = None
    batch: Any = 7
    derivative: Any = None

    def fit(self, data: Any, key: Any, throw: bool) -> Any:
        assert not throw
        more = said(self.solver, data.x, key)
        return SimpleNamespace(model=SimpleNamespace(parameters=self.start + more))


def test_members_have_had_a_share_of_the_passes(monkeypatch) -> None:
    options = metapoison.Options(members=3, passes=7, clean=5)
    x = jnp.arange(250.0)[:, None]
    of: Any = SimpleNamespace(train=Data(x, jnp.zeros(250)))

    def loop(start: int, end: Any, call: Any, carry: Any) -> Any:
        for i in range(start, int(end)):
            carry = call(i, carry)
        return carry

    shape = SimpleNamespace(init=lambda key, row: jnp.asarray(said(key, row.shape)))
    same = SimpleNamespace(**{**vars(jax), "lax": SimpleNamespace(fori_loop=loop)})
    put(
        monkeypatch, metapoison, network=lambda given: {options: Net(shape)}[given], batch=looped,
        jax=same, Descent=tells("descent"), optax=SimpleNamespace(sgd=tells("sgd")),
    )  # fmt: skip
    found = metapoison.staggered(options, of, 6)
    solver = ("descent", ("sgd", metapoison.RATE, ("momentum", 0.9)), 250 // metapoison.BATCH)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(6), 3), 3)
    for i, (key, passes) in enumerate(zip(keys, (2, 4, 7), strict=True)):
        first, second = jax.random.split(key)
        expected = said(first, (1,))
        for number in range(passes):
            expected += said(solver, x, jax.random.fold_in(key, number))
        assert float(found.parameters[i]) == pytest.approx(expected)
        clean = jax.random.choice(second, 250, (5,), replace=False)
        assert found.clean[i].tolist() == clean.tolist()


def test_unrolled_steps_are_on_the_poison_and_the_member_s_own_digits(monkeypatch) -> None:
    options = metapoison.Options(share=0.004, train=500, unroll=3, rate=0.5, steps=11, step=0.75)
    x, y = jnp.linspace(0, 1, 20)[:, None], jnp.arange(20)
    of: Any = SimpleNamespace(train=Data(x, y))
    chosen: Any = SimpleNamespace(
        x=jnp.array([[5.0], [6.0]]), wanted=jnp.array([3, 4]), rows=jnp.array([[1, 19], [0, 7]]),
        keys=jax.random.split(KEY, 2),
    )  # fmt: skip
    given: list[Any] = []

    class Start(metapoison.Reach):
        def starts(self, key: Any, count: int) -> Any:
            given.append(("starts", said(self), said(key), count))
            return jnp.zeros((1, 2, 1)) + said(key)

    def near(setting: Any, data: Data, rows: Any) -> Any:
        assert (setting, data is of.train) == (options, True)
        return Start(rows, data.x[rows] - 0.5, data.x[rows] + 0.5)

    def maximize(attack: Any, start: Any, **settings: Any) -> Any:
        around, members = attack
        assert members == "members"
        member = metapoison.Member("parameters", jnp.array([11, 12]))
        given.append((around(member), said(start), sorted(settings.items())))
        return SimpleNamespace(z=start)

    put(
        monkeypatch, metapoison, network=lambda of: Net("shape"), batch=looped, near=near,
        sign_adam=tells("sign"), Descent=tells("descent"), optax=SimpleNamespace(sgd=tells("sgd")),
        Unroll=tells("unroll"), Sum=tells("sum"), CarliniWagner=tells("loss"), maximize=maximize,
        indiscriminate=tells("goal"), Members=lambda *words: words, Data=tells("data"),
        Reach=lambda *words: SimpleNamespace(perturb=lambda: ("reach", *words)),
        compose=tells("attack"),
    )  # fmt: skip
    found = metapoison.met(options, of, chosen, "members")  # pyright: ignore
    np.testing.assert_allclose(np.asarray(found)[:, 0, 0], [said(key) for key in chosen.keys])
    net = Net("shape", "parameters", ("descent", ("sgd", 0.5), 3), None, ("unroll", 1))
    for i, key in enumerate(chosen.keys):
        rows = chosen.rows[i]
        starts, (attack, start, settings) = given[2 * i : 2 * i + 2]
        reach = rows, x[rows] - 0.5, x[rows] + 0.5
        assert starts == ("starts", said(reach), said(key), 1)
        assert start == said(jnp.zeros((2, 1)) + said(key))
        goal = ("sum", [("goal", chosen.x[i][None], chosen.wanted[i][None], ("loss",))], [-1.0])
        few = jnp.append(rows, jnp.array([11, 12]))
        expected = ("attack", net, ("reach", [0, 1], *reach[1:]), goal,
                    ("data", x[few], y[few]), ("key", key))  # fmt: skip
        assert said(attack) == said(expected)
        pace = ("optimizer", ("sign", 0.75, 11))
        assert said(settings) == said([pace, ("patience", 11), ("steps", 11)])


@pytest.mark.parametrize("kind", frogs.KINDS)
def test_a_frog_moves_from_its_watermark_or_pays_for_its_change(kind, monkeypatch) -> None:
    options = frogs.Options(targets=2, train=4, opacity=0.375, eps=0.125, steps=9, beta=0.625)
    of = SimpleNamespace(
        train=Data(jnp.arange(4.0)[:, None], jnp.ones(4, jnp.int32)),
        targets=jnp.array([[5.0], [6.0]]), bases=jnp.array([[[0.1]], [[0.2]]]),
    )  # fmt: skip
    told: list[Any] = []

    def climbs(name: str) -> Any:
        def call(*given: Any, **settings: Any) -> Any:
            told.append(tells(name)(*given, **settings))
            end = jnp.full((1, 1), 100.0 * len(told))
            return SimpleNamespace(climb=lambda: SimpleNamespace(z=end))

        return call

    put(
        monkeypatch, frogs, pretrained=lambda given: SimpleNamespace(model="network"),
        batch=looped, watermarked=lambda base, target, share: base + share * target[None],
        collide_features=climbs("collide"), Recipe=climbs("recipe"), Frogs=tells("frogs"),
        append=lambda data, x, y: SimpleNamespace(rows=5, said=said(data.x, data.y, x, y)),
        Box=tells("box"), LinfBall=tells("ball"), Perturb=tells("perturb"), Sum=tells("sum"),
        Collide=tells("close"), Resembling=tells("like"), Fixed=tells("fixed"),
        compose=lambda learner, reach, goal, data: (learner, reach, goal, data.said),
        Ascent=tells("ascent"),
    )  # fmt: skip
    monkeypatch.setattr(polytope, "case", lambda task: {options.task(): of}[task])
    found = frogs.poison(options, kind)
    faint = of.bases + 0.375 * of.targets[:, None]
    moved = jnp.array([[[100.0]], [[200.0]]])
    expected = {"watermark alone": faint, "base": of.bases}.get(kind, moved)
    np.testing.assert_allclose(found, expected)
    for words, target, base, mark in zip(told, of.targets, of.bases, faint, strict=False):
        if kind == "watermark and ball":
            name, rows, *others = words
            assert (name, rows.said) == ("collide", said(of.train.x, of.train.y, mark, [1]))
            ball = ("domain", ("ball", mark, 0.125, BOX))
            assert said(others) == said([
                [4], target, -1, ["network"], ("frogs",), ball, ("start", mark), ("steps", 9),
            ])  # fmt: skip
        else:
            rows = said(of.train.x, of.train.y, base, [1])
            close = ("close", target[None], ("frogs",))
            goal = ("sum", [close, ("like", base)], [1.0, 0.625])
            attack = ("fixed", "network"), ("perturb", [4], BOX), goal, rows
            assert said(words) == said(("recipe", attack, base, ("ascent",), 9))
