"""Defenses of finished networks: what each is made of, fitted on which rows, with which key."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import put, said, tells

from benchmarks.experiments.model_defenses import (
    _arena_attacks,
    _found,
    _infected,
    activation_clustering,
    backdoor_arena,
    feature_sanitisers,
    februus,
    fine_pruning,
    strip,
)
from benchmarks.experiments.model_defenses._infected import Infection
from bilevel import Data

pytestmark = pytest.mark.stand_ins
SGD = SimpleNamespace(sgd=tells("sgd"), adam=tells("adam"))
CLEAN = Data(np.full((4, 1), 0.25), np.zeros(4))
TRAIN = Data(np.arange(5.0)[:, None], np.arange(5))
POISONED = Data(np.arange(8.0)[:, None], np.arange(8))


def rows_of(of: Any, seed: int) -> Any:
    """In place of `case`: it says of what it is."""
    told: Any = f"test of {of}, {seed}", "shown", "labels", "reach"
    return _infected.Case(TRAIN, POISONED, np.arange(8) >= 5, CLEAN, *told)


class Net(tuple):
    """A trained network: it says which."""


def victim(of: Any, seed: int, infected: bool = True) -> Any:
    return Net(("victim", of, seed, infected))


def trained(data: Data, passes: int, seed: int) -> Any:
    return ("trained", said(data.x, data.y), passes, seed)


ALL = said(POISONED.x, POISONED.y)


def same(found: Any, of: Any, seed: int, poisoned: Data = POISONED) -> bool:
    """Whether it is the case of an infection and seed."""
    alone = [part for part in found if isinstance(part, str)]
    return (
        alone == [f"test of {of}, {seed}", "shown", "labels", "reach"]
        and said(found.poisoned.x) == said(poisoned.x)
        and found.train is TRAIN
    )


@pytest.fixture
def arena(monkeypatch) -> None:
    put(
        monkeypatch, _arena_attacks, case=rows_of, victim=victim, trained=trained,
        network=tells("net"), NetworkModel=Net,
    )  # fmt: skip


@pytest.mark.usefixtures("arena")
def test_attackers_hand_over_networks_of_the_rows_that_are_inspected() -> None:
    for name, of in (
        ("pattern", Infection(passes=3)), ("next", Infection("next", passes=3)),
        ("square", Infection("one", "square", 6, passes=3)),
        ("blended", Infection("one", "blended", passes=3)),
    ):  # fmt: skip
        found = _arena_attacks.ATTACKERS[name].make(3, 5)
        assert same(found.rows, of, 5)
        assert found[1:] == (("victim", of, 5, True), True)
    control = _arena_attacks.ATTACKERS["clean"].make(3, 5)
    assert same(control.rows, Infection(passes=3), 5, TRAIN)
    assert control.rows.poison.tolist() == [False] * 5
    assert control[1:] == (("victim", Infection(passes=3), 5, False), True)


@pytest.mark.usefixtures("arena")
def test_attackers_who_know_a_defense_make_their_own_rows_or_network(monkeypatch) -> None:
    more = Data(np.arange(9.0)[:, None], np.arange(9))
    blended = Infection("next", "blended", passes=3)

    def adapted(options: Any, of: Any, seed: int) -> Any:
        assert (options.passes, of, seed) == (3, blended, 5)
        return SimpleNamespace(case=rows_of(of, seed)._replace(poisoned=more))

    def covered(options: Any, rows: Any, seed: int) -> Any:
        assert (options, seed, same(rows, Infection(passes=3), 5)) == (strip.Options(), 5, True)
        return rows._replace(poisoned=more)

    put(monkeypatch, activation_clustering, adapted=adapted)
    put(monkeypatch, strip, covered=covered)
    put(
        monkeypatch, _arena_attacks,
        hide_from_pruning=lambda *given, **settings: SimpleNamespace(model=(given, settings)),
    )  # fmt: skip
    whole = ("trained", said(more.x, more.y), 3, 5)
    among = _arena_attacks.ATTACKERS["among"].make(3, 5)
    assert (same(among.rows, blended, 5, more), among[1:]) == (True, (whole, True))
    covers = _arena_attacks.ATTACKERS["covers"].make(3, 5)
    assert (same(covers.rows, Infection(passes=3), 5, more), covers[1:]) == (True, (whole, True))
    assert covers.rows.poison.tolist() == [False] * 5 + [True] * 4
    decoys: Any = _arena_attacks.ATTACKERS["decoys"].make(3, 5)
    (net, clean, held, poisoned, layer), settings = decoys.model
    assert not decoys.inspected
    assert (net, clean) == (("net", 8, 3), ("victim", Infection(passes=3), 5, False))
    assert (held is CLEAN, poisoned is POISONED, layer) == (True, True, "dense0")
    assert said(settings.pop("key")) == said(jax.random.key(5))
    assert settings == {"channels": 90, "lower": 5.0}
    own = fine_pruning.Options(units=17, lower=2.5)
    put(
        monkeypatch, fine_pruning, case=rows_of, victim=victim, network=tells("net"),
        NetworkModel=Net, hide_from_pruning=_arena_attacks.hide_from_pruning,
    )  # fmt: skip
    (net, clean, held, poisoned, layer), settings = fine_pruning.hidden(  # pyright: ignore
        own, Infection(passes=4), 6
    )
    assert (net, clean) == (("net", 8, 4), ("victim", Infection(passes=4), 6, False))
    assert (held is CLEAN, poisoned is POISONED, layer) == (True, True, "dense0")
    assert said(settings.pop("key")) == said(jax.random.key(6))
    assert settings == {"channels": 17, "lower": 2.5}


def test_victims_are_trained_on_the_poisoned_rows_or_as_controls_on_clean_ones(
    monkeypatch,
) -> None:
    put(
        monkeypatch, _infected, case=rows_of, Descent=tells("descent"), optax=SGD,
        wide=lambda: "wide",
        Network=lambda *given, **settings: SimpleNamespace(fit=lambda data, key: SimpleNamespace(
            model=Net((given, sorted(settings.items()), data, said(key))))),
        AbstractDeepModel=Net,
    )  # fmt: skip
    monkeypatch.setattr(_infected, "BATCH", 2)
    of = Infection(passes=3)
    for infected, data in ((True, POISONED), (False, TRAIN)):
        found: Any = _infected.victim.__wrapped__(of, 5, infected)
        (shape,), settings, seen, key = found
        assert (shape, seen is data, key) == ("wide", True, said(jax.random.key(5)))
        solver = ("descent", ("sgd", 0.05, ("momentum", 0.9)), 3 * (data.rows // 2))
        assert settings == [("batch", 2), ("l2", 1e-4), ("solver", solver)]
    kept = SimpleNamespace(kept=jnp.arange(8) > 2)
    put(monkeypatch, _found, trained=trained, figures=lambda model, case: (model, case))
    found = _found.retrained(of, rows_of(of, 5), kept, 6)  # pyright: ignore
    model: Any = found[0]
    assert model == ("trained", said(POISONED.x[3:], POISONED.y[3:]), 3, 6)
    put(monkeypatch, _infected, blended=lambda noise, share: (said(noise), share), SHAPE=(2, 2, 1))
    noise = np.random.default_rng(0).uniform(size=(2, 2, 1))
    assert _infected.trigger(Infection("one", "blended")) == (said(noise), 0.2)


def test_features_of_stamped_rows_are_among_those_of_their_class() -> None:
    means = jnp.array([[0.0, 0.0], [2.0, 0.0]])
    x = jnp.array([[1.0], [3.0]])
    goal = activation_clustering.Among(x, means)
    world: Any = SimpleNamespace(shown=lambda x, key: x + 1.0)
    model: Any = SimpleNamespace(features=lambda x: jnp.concatenate([x, 0 * x], axis=1))
    # features (2, 0) and (4, 0): 4 and 4 from their means, which are 1 from their middle
    assert float(goal.score(model, world)) == pytest.approx(-4.0)
    wide = activation_clustering.Among(x, 2 * means)
    assert float(wide.score(model, world)) == pytest.approx(-(4.0 + 0.0) / 2 / 4)


class Says:
    """A defense that says what it was made of, fitted on which rows with which key."""

    def __init__(self, name: str, *given: Any, **settings: Any):
        self.words = (name, *given, *sorted(settings.items()))

    def fit(self, data: Any, key: Any) -> Any:
        return SimpleNamespace(model=(self.words, data, said(key)))

    def inspect(self, data: Data) -> Any:
        assert data is POISONED
        return SimpleNamespace(kept=np.arange(8) != 2, words=self.words)

    @classmethod
    def named(cls, name: str) -> Any:
        return lambda *given, **settings: cls(name, *given, **settings)


def attacked(**others: Any) -> Any:
    model = SimpleNamespace(rows=rows_of("any", 0), model="model", inspected=True)
    return SimpleNamespace(**{**vars(model), **others})


def test_defenses_of_the_arena_see_what_is_handed_over(monkeypatch) -> None:
    options = backdoor_arena.Options(passes=3)
    put(
        monkeypatch, backdoor_arena, trained=trained, Fixed=tells("fixed"), LOSS="loss", optax=SGD,
        Descent=tells("descent"), Tuning=tells("tuning"), Ball=tells("ball"),
        Picard=tells("picard"),
        ImplicitUnlearning=Says.named("unlearning"), Februus=Says.named("februus"),
        _inpainting=lambda seed: ("inpainting", seed), CLEAN=400, BATCH=50,
    )  # fmt: skip
    base, key = ("fixed", "model", "loss"), said(jax.random.key(5))
    drops = backdoor_arena._inspected(Says.named("inspector"))
    kept = np.arange(8) != 2
    whole = ("trained", said(POISONED.x[kept], POISONED.y[kept]), 3, 5)
    assert drops(options, attacked(), 5) == whole
    assert drops(options, attacked(inspected=False), 5) is None
    words, data, used = backdoor_arena._fitted(backdoor_arena._i_bau)(options, attacked(), 5)  # pyright: ignore
    ball = ("ball", 4.0, ("rate", 100.0), ("rows", 100), ("solver", ("picard", 5)))
    tuning = ("tuning", ("descent", ("adam", 1e-3), 60), 100)
    assert words == ("unlearning", base, CLEAN, ball, 0.1, tuning)
    assert (data is CLEAN, used) == (True, key)
    words, data, used = backdoor_arena._februus(options, attacked(), 5)  # pyright: ignore
    assert words == ("februus", base, ("inpainting", 5), 0.5)
    assert (data is CLEAN, used) == (True, key)
    descent = ("descent", ("sgd", 0.05, ("momentum", 0.9)), 160)
    assert backdoor_arena._tuning() == ("tuning", descent, 50)


def test_the_trigger_of_the_most_suspect_label_is_unlearned(monkeypatch) -> None:
    found = SimpleNamespace(
        suspect=jnp.array([False, True, True, False]), index=jnp.array([9.0, 2.0, 3.0, 1.0]),
        triggers=SimpleNamespace(
            trigger=lambda k: SimpleNamespace(mask=f"mask {k}", pattern=f"pattern {k}")
        ),
    )  # fmt: skip
    flagged = [True]

    def examine(model: Any, clean: Data, key: Any) -> Any:
        assert (model, clean is CLEAN, said(key)) == ("model", True, said(jax.random.key(5)))
        return SimpleNamespace(flagged=flagged[0], evidence=found)

    put(
        monkeypatch, backdoor_arena, NeuralCleanse=lambda: SimpleNamespace(examine=examine),
        Unlearn=Says.named("unlearn"), Fixed=tells("fixed"), LOSS="loss", _tuning=lambda: "tuning",
    )  # fmt: skip
    options = backdoor_arena.Options()
    words, data, key = backdoor_arena._cleanse(options, attacked(), 5)  # pyright: ignore
    base = ("fixed", "model", "loss")
    assert words == ("unlearn", base, CLEAN, "mask 2", "pattern 2", ("tuning", "tuning"))
    assert (data is CLEAN, key) == (True, said(jax.random.key(5)))
    flagged[0] = False
    assert backdoor_arena._cleanse(options, attacked(), 5) == "model"


def test_inpainters_are_of_the_defender_s_clean_rows(monkeypatch) -> None:
    def inpainter(**settings: Any) -> Any:
        return SimpleNamespace(fit=lambda x, key: (settings, said(x), said(key)))

    for module in (backdoor_arena, februus):
        put(monkeypatch, module, Inpainter=inpainter, case=rows_of)
    key = said(jax.random.key(5))
    assert backdoor_arena._inpainting.__wrapped__(5) == ({}, said(CLEAN.x), key)
    options = februus.Options(steps=9, trigger="square", size=7, passes=3)
    found = februus.inpainting(options, rows_of("any", 0), 5)
    assert found == ({"steps": 9}, said(CLEAN.x), key)
    assert februus.infection(options) == Infection("one", "square", 7, passes=3)


def test_defenses_have_the_settings_of_their_experiment(monkeypatch) -> None:
    names = ("ActivationClustering", "SpectralSignatures", "DeepNeighbours", "Fixed")
    put(monkeypatch, feature_sanitisers, **{name: tells(name) for name in names})
    options = feature_sanitisers.Options(share=0.25, neighbours=7)
    found = [feature_sanitisers.defense(options, name, "model") for name in (
        "clustering", "spectral", "neighbours",
    )]  # fmt: skip
    base = ("Fixed", "model")
    assert found == [
        ("ActivationClustering", base), ("SpectralSignatures", base, 0.2),
        ("DeepNeighbours", base, 7),
    ]  # fmt: skip
    names = ("Strip", "FewerLevels", "MedianFilter", "MeanFilter", "Fixed")
    put(monkeypatch, strip, **{name: tells(name) for name in names})
    of = strip.Options(overlays=9, refusals=0.125)
    rows = rows_of("any", 0)
    found = {name: strip.defended(of, name, "model", rows)
             for name in ("strip", "levels", "median", "mean")}  # fmt: skip
    assert found == {
        "strip": ("Strip", base, CLEAN, 9, 0.125), "levels": ("FewerLevels", base, 1),
        "median": ("MedianFilter", base, 3), "mean": ("MeanFilter", base, 3),
    }  # fmt: skip


def test_pruning_goes_from_the_least_active_channel_on(monkeypatch) -> None:
    """By clean rows; with the trigger and without by test rows."""
    used = np.array([3.0, 1.0, 2.0])
    of: Any = SimpleNamespace(
        clean=SimpleNamespace(x=np.full(2, 1.0)), test=SimpleNamespace(x=np.full(4, 2.0)),
        shown=np.full(4, 3.0),
    )  # fmt: skip
    model: Any = SimpleNamespace(activations=lambda x: x)

    def channels(layer: str) -> Any:
        assert layer == "dense0"

        def activity(x: Any, weight: Any) -> Any:
            assert weight.tolist() == [1.0] * len(x)
            return {1.0: used, 2.0: used * 10, 3.0: used * 100}[float(x[0])]

        return SimpleNamespace(activity=activity)

    pruned = []

    def prune(given: Any, layer: str, rank: Any, count: Any) -> Any:
        assert (given is model, layer, np.asarray(rank).tolist()) == (True, "dense0", [2, 0, 1])
        pruned.append(int(count))
        return float(count)

    put(
        monkeypatch, fine_pruning, Channels=channels, _pruned=prune, POINTS=3,
        figures=lambda k, of: SimpleNamespace(accuracy=0.5 - k / 8, success=0.25 - k / 16),
    )  # fmt: skip
    found = fine_pruning.curve(model, of, "dense0")
    assert pruned == found.counts.tolist() == [0, 1, 2]
    assert found.accuracy.tolist() == [0.5, 0.375, 0.25]
    assert found.success.tolist() == [0.25, 0.1875, 0.125]
    assert (found.without.tolist(), found.stamped.tolist()) == ([10, 20, 30], [100, 200, 300])


def test_pruned_channels_are_masked(monkeypatch) -> None:
    put(
        monkeypatch, fine_pruning, NetworkModel=lambda *given: given, Masked=lambda *given: given,
        Channels=lambda layer: SimpleNamespace(masks=lambda *given: given),
    )  # fmt: skip
    model: Any = SimpleNamespace(parameters="parameters", architecture="network")
    pruned: Any = fine_pruning._pruned.__wrapped__(model, "dense0", jnp.array([2, 0, 1]), 1)  # pyright: ignore
    parameters, (network, (layer, of, kept)) = pruned
    assert (parameters, network, layer, of) == ("parameters", "network", "dense0", "parameters")
    assert kept.tolist() == [1.0, 0.0, 1.0]


def test_all_defenses_are_tuned_alike(monkeypatch) -> None:
    options = fine_pruning.Options(passes=3, rate=0.5, channels=11, units=22, drop=0.125)
    put(
        monkeypatch, fine_pruning, Tuning=tells("tuning"), Descent=tells("descent"), optax=SGD,
        CLEAN=400, BATCH=50, FineTune=tells("tune"), Prune=tells("prune"),
        FinePrune=tells("both"),
    )  # fmt: skip
    tune = ("tuning", ("descent", ("sgd", 0.5, ("momentum", 0.9)), 24), 50)
    found = fine_pruning.defenses(options, "base", rows_of("any", 0))  # pyright: ignore
    of = ("base", CLEAN)
    assert found == {
        ("none", None): "base", ("fine-tuning", None): ("tune", *of, tune),
        ("pruning", "dense0"): ("prune", *of, "dense0", 22),
        ("fine-pruning", "conv1"): ("both", *of, "conv1", 11, ("tuning", tune)),
        ("fine-pruning", "dense0"): ("both", *of, "dense0", 22, ("tuning", tune)),
        ("fine-pruning by drop", "dense0"):
            ("both", *of, "dense0", ("drop", 0.125), ("tuning", tune)),
    }  # fmt: skip
