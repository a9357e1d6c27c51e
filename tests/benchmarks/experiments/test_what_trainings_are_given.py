"""Networks that are trained on poison say which rows they were given, and are judged on others."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from given import CASE, Model, Y, rows_of, stub, whose

from benchmarks.experiments.backdoors import hidden_trigger, sponge, trojan_mnist
from benchmarks.experiments.networks import cifar_10, cnn_mnist
from benchmarks.experiments.networks._victims import Judged, Rows
from bilevel import Data

SHOWN = SimpleNamespace(
    attacked=SimpleNamespace(
        success=SimpleNamespace(mean=0.75), accuracy=SimpleNamespace(mean=0.9)
    ),
    clean=SimpleNamespace(success=SimpleNamespace(mean=0.125), accuracy=SimpleNamespace(mean=0.95)),
)


def test_stamped_digits_are_judged_among_test_digits_and_beside_clean_heads(monkeypatch) -> None:
    def victims(attack: Any, z: Any, data: Data, labels: Any, *keys: Any) -> Any:
        assert data is CASE.test
        seen.append((attack, z))
        return SHOWN

    seen: list[Any] = []
    made = SimpleNamespace(z="moved", value=-2.0, history=[-5.0, -3.0])
    stub(
        monkeypatch, hidden_trigger, victims=victims, capability=lambda *a: "reach",
        collide=lambda *a: made, against=lambda of, reach, head: reach,
    )  # fmt: skip
    (row,) = hidden_trigger.make_rows(hidden_trigger.Options(), 0)["rows"]
    assert seen == [("reach", "moved")]
    told = {"success": 0.75, "clean_success": 0.125, "test_err": pytest.approx(0.1)}
    assert {name: row[name] for name in told} == told
    assert row["clean_test_err"] == pytest.approx(0.05)
    assert (row["distance"], row["start_distance"]) == (2.0, 5.0)

    of = SimpleNamespace(
        model=Model("network", (0, 1, 2)), test=CASE.test, images={"other": 1, "inverted": 2}
    )
    stub(
        monkeypatch, trojan_mnist, victims=victims, case=lambda *a: of,
        retrained=lambda options, of, data: 10 * data,
        pattern=lambda options, of, attack, kind: (attack, kind),
    )  # fmt: skip
    seen.clear()
    rows = trojan_mnist.make_rows(trojan_mnist.Options(), 0)["rows"]
    number = {"other": 10, "inverted": 20}
    assert seen == [(number[r["images"]], (number[r["images"]], r["square"])) for r in rows]
    for row in rows:
        assert {name: row[name] for name in told} == told
        assert row["retrained_test_err"] == pytest.approx(0.05)
        assert row["network_test_err"] == pytest.approx(4 / 7)


def test_sponges_are_measured_on_test_digits(monkeypatch) -> None:
    stub(
        monkeypatch, sponge, digits=lambda options: (CASE.train, CASE.test),
        trained=lambda options, train, strength: [Model(str(whose(train.x)), (0, 1))],
        fired=lambda model, x: {"fired": whose(x)}, energy=lambda model, x: whose(x),
    )  # fmt: skip
    (row,) = sponge.make_victims(sponge.Options(), 0.0)["rows"]
    assert (row["fired"], row["energy"]) == (3.0, 3.0)
    assert row["test_err"] == pytest.approx(5 / 7)


@pytest.mark.parametrize("attacker", ["clean", "not moved", "one"])
def test_images_are_judged_with_the_poison_of_the_row_that_names_it(monkeypatch, attacker) -> None:
    train, held, test = (Rows(np.asarray(rows_of(name).x), Y[name]) for name in Y)
    start = Rows(np.full((2, 1, 1, 1), 5.0), np.array([3, 4]))
    case = cnn_mnist.Case(train, held, test, start, jax.random.key(0))
    seen: list[Any] = []

    def judged(net: Any, other: Any, data: Data, known: Any, fresh: Any, rows: Rows) -> Judged:
        seen.extend((net, other, rows, data.y[12:].tolist()))
        added = float(data.weight[12:].sum())
        moved = float(np.mean(np.asarray(data.x)[12:]))
        np.testing.assert_array_equal(data.weight[:12], 1)
        return Judged(added, moved, 100 * len(known) + len(fresh))

    stub(
        monkeypatch, cnn_mnist, case=lambda *a: case, victims=lambda options: ("net", "other"),
        poison=lambda *a: start.x + 1, judged=judged,
    )  # fmt: skip
    (row,) = cnn_mnist.make_rows(cnn_mnist.Options(points=2, fresh=3), 0, attacker)["rows"]
    assert row["same_err"] == {"clean": 0.0}.get(attacker, 2.0)
    assert row["fresh_err"] == {"one": 6.0}.get(attacker, 5.0)
    assert row["other_err"] == 103
    assert seen[0:2] == ["net", "other"]
    assert seen[2] is test
    assert seen[3] == [3, 4]


def test_images_of_the_test_set_are_read_a_part_at_a_time(monkeypatch) -> None:
    train = Rows(np.full((6, 1, 1, 1), 51, np.uint8), np.arange(6))
    test = Rows(np.arange(7, dtype=np.uint8)[:, None, None, None], np.array([0, 1, 2, 3, 4, 0, 0]))

    class Reader:
        def predict(self, x: Any) -> np.ndarray:
            return np.round(255 * np.asarray(x)[:, 0, 0, 0]).astype(int)

    def ensemble(learner: Any, data: Data, keys: Any, size: int) -> Any:
        np.testing.assert_allclose(data.x, 0.2, rtol=1e-6)
        assert set(np.asarray(data.y)) <= set(range(6))
        return SimpleNamespace(model=[Reader()] * len(keys), message="")

    stub(
        monkeypatch, cifar_10, cifar10=lambda: (train, test), ensemble=ensemble, PART=3,
        unstacked=lambda models: models, spread=lambda keys: keys,
    )  # fmt: skip
    options = cifar_10.Options(rows=4, batch=2, seeds=2)
    rows = cifar_10.make_rows(options)["rows"]
    assert [(r["rows"], r["test_err"]) for r in rows] == [(4, pytest.approx(2 / 7))] * 2
