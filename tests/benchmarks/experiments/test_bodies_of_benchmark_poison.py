"""The field's benchmark: what each attack moves, from where, against which networks and rows."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import looped, put, said, tells

from benchmarks.experiments.targeted import poisoning_benchmark as benchmark
from benchmarks.poisons.setting import Setting
from bilevel import Data

pytestmark = pytest.mark.stand_ins
SETTING = Setting("small", "mnist", (9, 4), 100, 2, 51, 3)
SCRATCH = SETTING._replace(name="small-scratch", scratch=True)
EPS = 51 / 255
X, Y = jnp.arange(20.0)[:, None], jnp.arange(20) % 3
TEST = Data(-jnp.arange(20.0)[:, None], Y)
DRAWN = SimpleNamespace(
    target=np.array([1, 5, 7]), wanted=np.array([4, 6, 8]), clean=np.arange(9).reshape(3, 3),
    base=np.array([[10, 11], [12, 13], [14, 15]]),
)  # fmt: skip
CLEAN, BASE, START = jnp.array([0, 3, 5]), jnp.array([[0.1], [0.9]]), jnp.array([[0.2], [0.3]])
TARGET, WANTED, KEY = jnp.array([0.5]), jnp.asarray(4), jax.random.key(8)


@pytest.fixture
def told(monkeypatch) -> list[Any]:
    """Functions that say what they were given, and what climbs keeps it."""
    monkeypatch.setitem(benchmark.SETTINGS, "small", SETTING)
    monkeypatch.setitem(benchmark.SETTINGS, "small-scratch", SCRATCH)
    climbed: list[Any] = []

    def climbs(name: str, attribute: str) -> Any:
        def call(*given: Any, **settings: Any) -> Any:
            climbed.append(tells(name)(*given, **settings))
            end = SimpleNamespace(z=f"moved {len(climbed)}")
            return SimpleNamespace(z=end.z, climb=lambda: end) if attribute else (end.z, "more")

        return call

    put(
        monkeypatch, benchmark, images=lambda source: (Data(X, Y), TEST),
        labels=lambda setting, y: jnp.asarray(y) + 1, Data=tells("data"), Box=tells("box"),
        members=tells("members"), unstacked=lambda stacked: [stacked, "unstacked"],
        LinfBall=tells("ball"), Perturb=tells("perturb"), shown=tells("shown"),
        LogisticLoss=tells("loss"), compose=tells("attack"), extractor=tells("extractor"),
        collide_features=climbs("collide", "z"), maximize=climbs("maximize", "z"),
        aligned=climbs("align", ""), fitted=tells("fitted"),
        Reach=lambda rows, low, high: SimpleNamespace(
            starts=lambda key, many: ("starts", rows, low, high, key, many),
            perturb=lambda: ("reach", rows, low, high),
        ),
    )  # fmt: skip
    return climbed


GIVEN = (TARGET, WANTED, CLEAN, BASE, START, KEY)
NEAR = ("ball", BASE, EPS, ("box", 0.0, 1.0))


@pytest.mark.parametrize(("setting", "members"), [("small", 4), ("small-scratch", 5)])
def test_collisions_start_from_base_images_of_the_wanted_class(told, setting, members) -> None:
    options = benchmark.Options(setting, steps=7, members=members)
    networks = [("extractor", SETTING, "white")]
    if setting == "small-scratch":
        networks = [("members", SCRATCH, 6, 5), "unstacked"]
    for attack in ("frogs", "polytope", "bullseye")[2 * (setting == "small-scratch") :]:
        craft = benchmark.crafter(options, attack, "none", 6)  # pyright: ignore
        assert craft(*GIVEN) == f"moved {len(told)}"
        assert said(told[-1]) == said((
            "collide", ("data", BASE, [4, 4]), range(2), TARGET, 3, networks,
            benchmark.COLLISIONS[attack], ("domain", NEAR), ("steps", 7),
        ))  # fmt: skip


@pytest.mark.parametrize("defense", ["none", "trim"])
def test_the_last_layer_is_attacked_with_all_other_training_images(
    told, defense, monkeypatch
) -> None:
    class Victim:
        learner = "inner"

        def __init__(self, *words: Any):
            self.words = words

        def around(self, inner: Any) -> "Victim":
            return Victim(*self.words, "around", inner)

        def surrogate(self, rows: Any) -> Any:
            return ("surrogate", self.words, rows)

    def victim(*given: Any) -> Any:
        return Victim(*given) if defense == "trim" else ("victim", *given)

    put(monkeypatch, benchmark, victim=victim)
    monkeypatch.setitem(benchmark.DEFENSES, "trim", tells("trim"))
    rows = ("data", jnp.concatenate([X[CLEAN], BASE]), jnp.append(Y[CLEAN] + 1, jnp.full(2, 4)))
    learner: Any = ("victim", SETTING, "white")
    if defense == "trim":
        learner = ("surrogate", (SETTING, "white", "around", ("trim", "inner")), rows)
    craft = benchmark.crafter(benchmark.Options(steps=9), benchmark.HEAD, defense, 6)
    assert craft(*GIVEN) == "moved 1"
    goal = ("shown", TARGET[None], -WANTED[None], ("loss",))
    attack = ("attack", learner, ("perturb", [3, 4], NEAR), goal, rows)
    assert said(told) == said([("maximize", attack, START, ("steps", 9))])


def test_alignment_is_of_networks_of_the_attacker(told) -> None:
    options = benchmark.Options("small-scratch", steps=9, members=5)
    assert benchmark.crafter(options, "alignment", "none", 6)(*GIVEN) == "moved 1"
    low, high = [[0.0], [0.9 - EPS]], [[0.1 + EPS], [1.0]]
    name, (reach, rows, *ends), *others = told[0]
    assert (name, reach, said(rows)) == ("align", "reach", said([0, 1]))
    np.testing.assert_allclose(ends, [low, high])
    wish, stacked, data, starts, step, steps = others
    assert said(wish, data) == said(("data", TARGET[None], [4]), ("data", BASE, [4, 4]))
    assert said(stacked) == said(("members", SCRATCH, 6, 5))
    assert said(starts) == said(("starts", [0, 1], *ends, KEY, 2))
    assert (step, steps) == (pytest.approx(EPS / 3), 9)


@pytest.mark.parametrize(("setting", "size"), [("small", 3), ("small-scratch", None)])
@pytest.mark.parametrize("defense", ["none", "trim"])
def test_poison_is_of_each_target_with_its_own_images(
    told, setting, size, defense, monkeypatch
) -> None:
    """Who knows the defense starts from what collides without it."""
    options = benchmark.Options(setting, steps=9)
    collided = jnp.arange(6.0).reshape(3, 2, 1) / 8
    of = benchmark.SETTINGS[setting]
    sizes: list[Any] = []
    asked: list[Any] = []

    def batched(call: Any, given: Any) -> Any:
        sizes.append(given)
        return call

    def crafter(*given: Any) -> Any:
        asked.append(given)
        bullseye = given == (options, "bullseye", "none", 6)
        return lambda *arguments: collided if bullseye else jnp.asarray([said(*arguments)])

    put(
        monkeypatch, benchmark, trials=lambda *given: {(of, 6): DRAWN}[given], batch=batched,
        crafter=crafter, timed=lambda call: (call(), 0.0, 12.0),
        Poisons=SimpleNamespace(of=lambda setting, drawn, x: SimpleNamespace(
            images=x, of=(setting, drawn is DRAWN))),
    )  # fmt: skip
    benchmark.crafted.cache_clear()
    found = benchmark.crafted(options, "through the head", defense, 6)
    start = X[DRAWN.base] if defense == "none" else collided
    expected = said(
        TEST.x[DRAWN.target], DRAWN.wanted + 1, DRAWN.clean, X[DRAWN.base], start,
        jax.random.split(jax.random.key(6), 3),
    )  # fmt: skip
    poisons: Any = found.poisons
    assert poisons.images.tolist() == [expected]
    assert (poisons.of, found.seconds) == ((of, True), 4.0)
    head = (options, "through the head", defense, 6)
    first = [] if defense == "none" else [(options, "bullseye", "none", 6)]
    assert sorted(map(str, asked)) == sorted(map(str, [*first, head]))
    assert set(sizes) == {size}
    benchmark.crafted.cache_clear()


def test_controls_and_verdicts_are_behind_the_same_defense(monkeypatch) -> None:
    options: Any = benchmark.Options()
    put(
        monkeypatch, benchmark, controls=tells("controls"),
        trials=lambda setting, seed: ("drawn", setting.name, seed),
        judge=lambda *given: SimpleNamespace(row=lambda: given),
    )  # fmt: skip
    monkeypatch.setitem(benchmark.DEFENSES, "trim", "of trim")  # pyright: ignore
    benchmark.without.cache_clear()
    setting = benchmark.SETTINGS["small"]
    beside = ("controls", setting, ("drawn", "small", 5), "black", "of trim")
    assert benchmark.without(options, "black", "trim", 5) == beside
    made: Any = SimpleNamespace(poisons="poisons")
    assert benchmark.judged(options, made, "black", "trim", 5) == (
        "poisons", "black", "of trim", beside,
    )  # fmt: skip
    benchmark.without.cache_clear()


def test_votes_bear_images_of_targets_that_they_read_right(told, monkeypatch) -> None:
    """An image that is replaced counts twice: of two, four rows."""

    class Head:
        def __init__(self, rows: int):
            self.rows = rows

        def certify(self, features: Any) -> Any:
            assert features.dtype == float
            return jnp.array([self.rows]) + jnp.asarray(features[0, 0] == 0.5).astype(int)

    bears = {-1.0: 4, -5.0: 9, -7.0: 3}
    seen: list[Any] = []
    missed: list[float] = []

    def fitted(learner: Any, *given: Any) -> Any:
        seen.append((learner, *given))
        target = float(-DRAWN.target[len(seen) - 1])
        wanted = DRAWN.wanted[len(seen) - 1] + 1

        def predict(x: Any) -> Any:
            assert x.tolist() == [[target]]
            return jnp.array([wanted if target in missed else 0])

        model = SimpleNamespace(
            head=Head(bears[target]), predict=predict, features=lambda x: x.astype(np.float32)
        )
        return SimpleNamespace(model=model)

    learner = SimpleNamespace(learner="inner", around=lambda inner: ("around", inner))
    put(
        monkeypatch, benchmark, fitted=fitted, batch=looped, VotingModel=Head,
        trials=lambda *given: {(SETTING, 6): DRAWN}[given],
        victim=lambda *given: {(SETTING, "black"): learner}[given],
    )  # fmt: skip
    monkeypatch.setitem(benchmark.DEFENSES, "partition", tells("votes"))
    options = benchmark.Options()
    for wrong, expected in ((-5.0, 1 / 2), (-7.0, 1.0), (0.0, 2 / 3)):
        benchmark.certified.cache_clear()
        seen.clear()
        missed[:] = [wrong]
        assert benchmark.certified(options, "black", "partition", 6) == pytest.approx(expected)
    for i, words in enumerate(seen):
        clean = DRAWN.clean[i]
        assert said(words) == said((
            ("around", ("votes", "inner")), X[clean], Y[clean] + 1, X[DRAWN.base[i]],
            DRAWN.wanted[i] + 1, jax.random.key(0),
        ))  # fmt: skip
    assert benchmark.certified(options, "black", "trim", 6) is None
    benchmark.certified.cache_clear()


def test_files_are_of_each_attack_and_seed_once(tmp_path, monkeypatch) -> None:
    saved: list[Any] = []
    put(
        monkeypatch, benchmark, _notes=lambda options, report: None,
        Poisons=lambda *parts: SimpleNamespace(save=lambda path: saved.append((path, parts))),
    )  # fmt: skip

    def each(make: Any, options: Any, units: Any, title: str) -> Any:
        assert make is benchmark.make_rows
        return [{"poisons": list(unit.values())} for unit in units]

    options = benchmark.Options(
        attacks=("bullseye", "through the head"), defenses=("none", "trim"), seed=(3, 4)
    )
    benchmark.run(options, SimpleNamespace(out=tmp_path, each=each))  # pyright: ignore
    assert saved == [
        (tmp_path / f"small-{attack.replace(' ', '-')}-{seed}.npz", (attack, "none", seed))
        for seed in (3, 4)
        for attack in ("bullseye", "through the head")
    ]
