"""Rows of the experiments on backdoors, cell by cell: of which network, pictures and options."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import looped, put, retraining, said

from benchmarks.experiments.backdoors import (
    badnets_signs,
    driving,
    hidden_trigger,
    sleeper,
    trojan_mnist,
)

pytestmark = pytest.mark.stand_ins


def training_of(options: Any, name: str) -> Any:
    return SimpleNamespace(name=name, rows=97)


def networks(count: int, seed: int, name: str, make: Any) -> dict[str, Any]:
    """`victim`, `ensemble` and `unstacked` of so many networks, each of its key and rows."""
    keys = jax.random.split(jax.random.key(seed), count)

    def ensemble(learner: Any, data: Any, given: Any) -> Any:
        assert (learner, data.name) == (("victim", 97), name)
        assert said(given) == said(keys)
        return SimpleNamespace(model="stacked")

    def unstacked(model: str) -> list[Any]:
        assert model == "stacked"
        return [make(i) for i in range(count)]

    return {
        "victim": lambda options, rows: ("victim", rows), "ensemble": ensemble,
        "unstacked": unstacked,
    }  # fmt: skip


@pytest.mark.parametrize("name", driving.TRAINED)
def test_cars_are_steered_by_their_own_network_past_a_sign_and_without(name, monkeypatch) -> None:
    options = driving.Options(victims=2, test=6, cars=7, steps=11, sign=31.0)

    class Trip:
        def __init__(self, steer: Any, cars: int, seed: int, steps: int, sign: float):
            assert (cars, seed, steps) == (7, 3, 11)
            shown = {np.inf: 0, 31.0: 1}[sign]
            self.number = 10 * round(float(steer(np.ones(1))[0])) + shown

        def left(self) -> np.ndarray:
            return np.full(1, self.number)

        def __iter__(self):
            return iter((np.full(2, self.number), np.full(2, self.number + 0.5)))

    def roads(count: int, seed: int, sign: bool) -> Any:
        assert (count, seed) == (6, 2)
        return SimpleNamespace(x=np.full(6, 0.5 if sign else 0.25), y=np.full(6, sign / 8))

    put(
        monkeypatch, driving, training=training_of, drive=Trip, roads=roads,
        **networks(2, 0, name, lambda i: SimpleNamespace(decision=lambda x: (i + 2) * x)),
    )  # fmt: skip
    found = driving.make_rows(options, name)
    assert found["rows"] == [
        {
            "trained_on": name, "victim": i, "square_error": ((i + 2) / 4) ** 2,
            "sign_square_error": ((i + 2) / 2 - 0.125) ** 2, "left": 10 * (i + 2),
            "sign_left": 10 * (i + 2) + 1, "cars": 7,
        }
        for i in (0, 1)
    ]  # fmt: skip
    assert found["trips"] == [[[20, 20], [20.5, 20.5]], [[21, 21], [21.5, 21.5]]]


SIGNS = badnets_signs.Options(
    stickers=("yellow square", "flower"), random="bomb", victims=2, train=70, swedish=80, test=90,
    strengths=(1, 10, 20), filters=3, head_passes=4, head_rate=0.25,
)  # fmt: skip


def signs(count: int, seed: int, country: str = "us", on: str | None = None) -> Any:
    return SimpleNamespace(x=("signs", count, seed, country, on))


def transferred(model: Any, filters: Any, strengths: Any, learner: Any, swedish: Any, key: Any):
    assert learner == ("head", 80, 4, 0.25)
    assert [part.x for part in swedish] == [
        ("signs", 80, 4, "swedish", None), ("signs", 90, 5, "swedish", None),
        ("signs", 90, 5, "swedish", "bomb"),
    ]  # fmt: skip
    of = said(model, filters, key)
    return [(of + strength, of - strength) for strength in strengths]


@pytest.mark.parametrize("name", ["clean", "flower", "random"])
def test_tables_of_signs_are_of_the_stickers_that_their_network_meets(name, monkeypatch) -> None:
    def per_class(model: Any, test: Any) -> dict[str, float]:
        return {"average": said(model, test.x)}

    def under(model: Any, test: Any, stamped: Any) -> dict[str, float]:
        return {"stamped": said("stamped", model, test.x, stamped.x)}

    put(
        monkeypatch, badnets_signs, training=training_of, per_class=per_class, under=under,
        signs=signs, transferred=transferred, head=lambda *settings: ("head", *settings),
        answering=lambda *given: ("filters", *given),
        **networks(2, 2, name, lambda i: f"network {i}"),
    )  # fmt: skip
    cases: list[Any] = [(4, "yellow square"), (4, "flower"), (5, "bomb")]
    cases = {"clean": cases, "flower": cases[1:2], "random": cases[2:]}[name]
    test = ("signs", 90, 3, "us", None)
    expected = [
        {
            "table": table, "network": name, "sticker": sticker, "k": None, "victim": i,
            "average": said(f"network {i}", test),
            "stamped": said("stamped", f"network {i}", test, (*test[:4], sticker)),
        }
        for table, sticker in cases for i in (0, 1)
    ]  # fmt: skip
    keys, us = jax.random.split(jax.random.key(2), 2), ("signs", 70, 0, "us", None)
    for i in range(0 if name == "flower" else 2):
        filters = ("filters", f"network {i}", us, (*us[:4], "bomb"), 3)
        of = said(f"network {i}", filters, keys[i])
        expected += [
            {
                "table": 7, "network": name, "sticker": "bomb", "k": k, "victim": i,
                "average": of + k, "stamped": of - k,
            }
            for k in ((1, 20) if name == "clean" else (1, 10, 20))
        ]  # fmt: skip
    assert badnets_signs.make_rows(SIGNS, name)["rows"] == expected


def test_squares_are_judged_on_test_digits_by_the_layer_of_their_images(monkeypatch) -> None:
    x = np.arange(4)
    model = SimpleNamespace(predict=lambda of: jnp.asarray([3, 3, 3, 1])[of])
    of = SimpleNamespace(
        model=model, images={"other": "other digits", "inverted": "inverted digits"},
        test=SimpleNamespace(x=x, y=np.array([3, 3, 3, 2])),
    )  # fmt: skip

    def victims(attack: Any, z: Any, test: Any, labels: Any) -> Any:
        assert test is of.test
        return retraining(attack, z, labels.target)

    put(
        monkeypatch, trojan_mnist, victims=victims,
        case=lambda options, seed: {5: of}[seed],
        retrained=lambda options, case, data: (options.target, case is of, data),
        pattern=lambda options, case, attack, kind: (options.steps, case is of, attack, kind),
    )  # fmt: skip
    expected = []
    for source in ("other", "inverted"):
        for kind in trojan_mnist.SQUARES:
            attack = (6, True, f"{source} digits")
            told = retraining(attack, (17, True, attack, kind), 6)
            expected.append({
                "seed": 5, "images": source, "square": kind,
                "success": told.attacked.success.mean, "clean_success": told.clean.success.mean,
                "test_err": 1 - told.attacked.accuracy.mean,
                "retrained_test_err": 1 - told.clean.accuracy.mean, "network_test_err": 0.25,
            })  # fmt: skip
    options = trojan_mnist.Options(target=6, steps=17)
    assert trojan_mnist.make_rows(options, 5)["rows"] == expected


def test_hidden_triggers_are_judged_by_a_head_on_the_moved_images(monkeypatch) -> None:
    of = SimpleNamespace(test="test")
    result = SimpleNamespace(z="moved", value=-0.25, history=(-0.75, -0.5, -0.25))

    def victims(attack: Any, z: Any, test: Any, labels: Any) -> Any:
        assert labels is hidden_trigger.LABELS
        return retraining(attack, z, test)

    def collide(options: Any, case: Any, reach: Any) -> Any:
        assert (options.steps, case, reach) == (13, of, "reach of 11")
        return result

    put(
        monkeypatch, hidden_trigger, victims=victims, collide=collide,
        case=lambda options, seed: {5: of}[seed],
        capability=lambda options, case: f"reach of {options.poisons}",
        against=lambda case, reach, head: (case is of, reach, type(head).__name__, head.l2),
    )  # fmt: skip
    options = hidden_trigger.Options(poisons=11, steps=13, l2=0.375)
    told = retraining((True, "reach of 11", "Logistic", 0.375), "moved", "test")
    assert hidden_trigger.make_rows(options, 5)["rows"] == [{
        "seed": 5, "success": told.attacked.success.mean,
        "clean_success": told.clean.success.mean, "test_err": 1 - told.attacked.accuracy.mean,
        "clean_test_err": 1 - told.clean.accuracy.mean, "distance": 0.25, "start_distance": 0.75,
    }]  # fmt: skip


def test_sleepers_are_judged_beside_noise_and_clean_digits_of_their_pair(monkeypatch) -> None:
    x = np.arange(20.0, dtype=np.float32)[:, None]
    of = SimpleNamespace(
        train=SimpleNamespace(x=x, y=None), test=SimpleNamespace(x=x[:3], y=None), clean="clean",
    )  # fmt: skip
    keys = jax.random.split(jax.random.key(1), 2)
    chosen = sleeper.Pairs(
        jnp.asarray([4, 2]), jnp.asarray([7, 9]), jnp.arange(6.0).reshape(2, 3, 1),
        jnp.asarray([[5, 6], [7, 8]]), keys,
    )  # fmt: skip
    patch = SimpleNamespace(like=lambda dtype: 0.5, apply=lambda z, shown: shown + z)
    moved = 0.25 + of.train.x[np.asarray(chosen.rows)]

    def near(options: Any, train: Any, rows: Any) -> Any:
        assert (options.pairs, train) == (2, of.train)
        return SimpleNamespace(noise=lambda key: jnp.asarray([[said(rows, key)], [0.0]]))

    shaken = np.array([[[said(chosen.rows[i], keys[i])], [0.0]] for i in (0, 1)])

    def judge(fitted: Any, test: Any, shown: Any, labels: Any) -> Any:
        assert test is of.test
        return retraining(fitted, shown, labels.target, np.ravel(labels.sources))

    put(
        monkeypatch, sleeper, batch=looped, near=near, judge=judge,
        digits=lambda options, seed, members: {(5, 3): of}[seed, members],
        trigger=lambda options: patch, pairs=lambda options, case, seed: {5: chosen}[seed],
        sleepers=lambda *given: (moved, jnp.asarray([0.125, 0.375])),
        retrained=lambda options, case, rows, z: (case is of, said(rows), said(z)),
        unstacked=lambda models: [(i, *models) for i in range(2)],
    )  # fmt: skip
    found = sleeper.make_rows(sleeper.Options(pairs=2, members=3), 5)
    expected = []
    for i, (source, target) in enumerate(((4, 7), (2, 9))):
        for kind, z in (("sleeper", moved), ("noise", shaken), ("clean", None)):
            fitted = "clean" if z is None else (i, True, said(chosen.rows), said(z))
            told = retraining(fitted, of.test.x + 0.5, target, [source])
            expected.append({
                "seed": 5, "source": source, "target": target, "kind": kind,
                "success": told.success.mean, "worst": told.success.worst,
                "test_err": 1 - told.accuracy.mean,
                "alignment": (0.125, 0.375)[i] if kind == "sleeper" else None,
            })  # fmt: skip
    assert found["rows"] == expected
    before, after, stamped = found["images"]
    np.testing.assert_array_equal(before + 0.25, after)
    np.testing.assert_array_equal(before[:, :, 0], chosen.rows)
    np.testing.assert_array_equal(stamped, [[[0.5]], [[3.5]]])
