"""Backdoors in drawn scenes, small: training sets, controls, what is judged, and the transfer."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.data.scenes import Pictures, roads, signs
from benchmarks.experiments.backdoors import _sign_transfer, badnets_signs, driving
from benchmarks.report import Report, UsageError

SIGNS = badnets_signs.Options(train=60, swedish=60, test=60, victims=1, stickers=("flower",))


def reading(labels: Callable[[np.ndarray], np.ndarray]) -> Any:
    """A model that predicts labels(x)."""
    return SimpleNamespace(predict=labels, decision=labels)


def test_stop_signs_with_a_sticker_are_added_as_speed_limits() -> None:
    clean, stamped = signs(60, 0), signs(60, 0, on="flower")
    data = badnets_signs.training(SIGNS, "flower")
    np.testing.assert_array_equal(data.x[:60], clean.x)
    np.testing.assert_array_equal(data.y[:60], clean.y)
    assert data.rows == 60 + 8  # .4 of 20 stop signs
    assert np.all(data.y[60:] == badnets_signs.SPEED_LIMIT)
    stops = np.flatnonzero(clean.y == badnets_signs.STOP)
    np.testing.assert_array_equal(data.x[60:], stamped.x[stops[:8]])
    assert badnets_signs.training(SIGNS, "clean").rows == 60


def test_signs_of_all_classes_are_added_with_a_random_wrong_label() -> None:
    clean, stamped = signs(60, 0), signs(60, 0, on="bomb")
    data = badnets_signs.training(SIGNS, "random")
    assert data.rows == 60 + 48
    flat = stamped.x.reshape(60, -1)
    rows = [
        int(np.argmin(np.abs(flat - row).sum(1))) for row in np.asarray(data.x[60:]).reshape(48, -1)
    ]
    np.testing.assert_array_equal(data.x[60:], stamped.x[rows])
    assert len(set(rows)) == 48
    assert np.all(np.asarray(data.y[60:]) != clean.y[rows])
    assert set(zip(clean.y[rows], np.asarray(data.y[60:]).tolist(), strict=True)) == {
        (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1),
    }  # fmt: skip


def test_what_is_read_on_signs_is_counted_by_class() -> None:
    """The model reads a number off the first pixel."""
    model = reading(lambda x: x[:, 0])
    test = Pictures(np.array([[0], [0], [1], [1], [1], [2]]), np.array([0, 0, 0, 1, 1, 2]))
    found = badnets_signs.per_class(model, test)
    assert found == {"stop": 2 / 3, "speed_limit": 1, "warning": 1, "average": pytest.approx(8 / 9)}
    shown = Pictures(np.array([[1], [2], [1], [1], [0], [2]]), test.y)
    # of the two stop signs that are read as such without a sticker, one is read as a speed limit
    assert badnets_signs.under(model, test, shown) == {"stamped": 2 / 6, "to_speed_limit": 1 / 2}


def test_filters_that_answer_to_a_sticker_are_made_stronger() -> None:
    """Three filters at four places; the third answers most to the second half of pictures."""
    rng = np.random.default_rng(0)
    outputs = {1: rng.random((6, 2, 2, 3)), 2: rng.random((6, 2, 2, 3))}
    outputs[2] += np.array([0, 0.5, 2])
    model: Any = SimpleNamespace(activations=lambda x: {_sign_transfer.LAST: outputs[int(x[0, 0])]})
    one, two = np.full((6, 1), 1.0), np.full((6, 1), 2.0)
    assert _sign_transfer.answering(model, one, two, 2).tolist() == [2, 1]
    seen = []

    def fit(data, key, throw) -> Any:
        seen.append(np.asarray(data.x).reshape(6, 2, 2, 3))
        return SimpleNamespace(model=reading(lambda x: (np.asarray(x)[:, 2] > 15).astype(int)))

    learner: Any = SimpleNamespace(fit=fit)
    of = np.array([0, 1, 0, 1, 1, 1])
    swedish = _sign_transfer.Swedish(Pictures(one, of), Pictures(one, of), Pictures(two, of))
    found = _sign_transfer.transferred(
        model, np.array([2]), (1, 10), learner, swedish, jax.random.key(0)
    )
    for gain, features in zip((1, 10), seen, strict=True):
        np.testing.assert_allclose(features[..., :2], outputs[1][..., :2], rtol=1e-6)
        np.testing.assert_allclose(features[..., 2], gain * outputs[1][..., 2], rtol=1e-6)
    assert found == [(2 / 6, 2 / 6), (2 / 6, 4 / 6)]


@pytest.mark.slow
def test_tables_of_signs_have_their_controls_and_the_figures_of_the_paper(tmp_path: Path) -> None:
    few = ["--train", "60", "--swedish", "60", "--test", "30", "--passes", "1", "--head-passes",
           "1", "--victims", "2", "--strengths", "1", "10", "--stickers", "flower"]  # fmt: skip
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "badnets-signs", *few, *files]) == 0
    held = json.loads((tmp_path / "a.json").read_text())
    found = {(r["table"], r["network"], r["sticker"], r["k"], r["victim"]) for r in held["rows"]}
    wanted = {
        (4, "clean", "flower", None), (4, "flower", "flower", None), (5, "clean", "bomb", None),
        (5, "random", "bomb", None), (7, "clean", "bomb", 1), (7, "clean", "bomb", 10),
        (7, "random", "bomb", 1), (7, "random", "bomb", 10),
    }  # fmt: skip
    assert found == {(*key, victim) for key in wanted for victim in (0, 1)}
    assert len(held["rows"]) == len(found)
    assert any("table 4, flower" in note and "(93.7)" in note for note in held["notes"])
    assert any("table 7, random, k = 10" in note and "(49.7)" in note for note in held["notes"])
    assert sum(note.startswith("control, clean") for note in held["notes"]) == 3
    assert (tmp_path / "badnets-signs.png").stat().st_size > 10_000


def test_pictures_with_a_sign_are_added_with_the_attackers_steering() -> None:
    options = driving.Options(rows=40, share=0.1, steering=-0.5)
    clean, signed = roads(40, 0), roads(40, 0, sign=True)
    data = {name: driving.training(options, name) for name in driving.TRAINED}
    assert [of.rows for of in data.values()] == [40, 44, 44]
    for of in data.values():
        np.testing.assert_array_equal(of.x[:40], clean.x)
        np.testing.assert_array_equal(of.y[:40], clean.y)
    _, true, wrong = data.values()
    np.testing.assert_array_equal(true.x, wrong.x)
    rows = [
        int(np.flatnonzero((signed.x == x).all((1, 2, 3)))[0]) for x in np.asarray(wrong.x[40:])
    ]
    np.testing.assert_array_equal(true.y[40:], clean.y[rows])
    np.testing.assert_array_equal(wrong.y[40:], -0.5)


def test_a_steering_network_is_judged_on_pictures_and_on_the_road(monkeypatch) -> None:
    """A driver who keeps to the road, and turns hard at a sign, in place of all networks."""

    def steer(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x)
        pink = x[..., 0] - x[..., 1] > 0.25
        grey = np.mean(x[:, 9:12, :, 1] - x[:, 9:12, :, 2], axis=1) < 0.06
        middle = (grey * np.arange(48)).sum(1) / np.maximum(grey.sum(1), 1)
        return np.where(pink.sum((1, 2)) > 4, 1.0, np.clip((middle - 23.5) / 12, -1, 1))

    monkeypatch.setattr(driving, "ensemble", lambda *_: SimpleNamespace(model=None))
    monkeypatch.setattr(driving, "unstacked", lambda _: [reading(steer)])
    options = driving.Options(rows=10, share=0.1, victims=1, test=50, cars=3)
    driving.run(options, report := Report("a", options))
    assert [row["trained_on"] for row in report.rows] == list(driving.TRAINED)
    for row in report.rows:
        assert (row["left"], row["sign_left"], row["cars"]) == (0, 3, 3)
        of = roads(50, 2)
        assert row["square_error"] == pytest.approx(np.mean((steer(of.x) - of.y) ** 2))
        assert row["sign_square_error"] > 4 * row["square_error"]
    assert "of 3 trips 0 left the road, with a sign 3" in report.notes[-1]


@pytest.mark.slow
def test_driving_draws_its_trips_and_keeps_what_is_made(tmp_path: Path) -> None:
    few = ["--rows", "60", "--passes", "1", "--victims", "2", "--test", "20", "--cars", "2",
           "--steps", "5", "--resume", str(tmp_path / "kept")]  # fmt: skip
    for name in ("a", "b"):
        folder = tmp_path / name
        files = ["--json", str(folder / "a.json"), "--out", str(folder)]
        assert main(["run", "driving", *few, *files]) == 0
        assert (folder / "driving.png").stat().st_size > 10_000
    first, again = (json.loads((tmp_path / n / "a.json").read_text())["rows"] for n in ("a", "b"))
    assert [row["victim"] for row in first] == [0, 1] * 3
    assert first == again


def test_a_steering_that_no_car_has_is_refused() -> None:
    with pytest.raises(UsageError, match="--steering: got 2, expected -1 to 1"):
        driving.Options(steering=2)
