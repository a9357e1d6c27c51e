"""The experiments on networks, small: rows, controls, and what they are judged on."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.experiments.networks import _victims, cnn_mnist, mlp_mnist
from benchmarks.report import UsageError
from bilevel import append


def test_points_are_added_one_by_one_and_beat_mislabelled_digits(tmp_path: Path) -> None:
    few = ["--splits", "1", "--points", "2", "--every", "1", "--length", "60", "--steps", "6"]
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "mlp-mnist", *few, *files]) == 0
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [row["points"] for row in rows] == [0, 1, 2]
    assert rows[0]["test_err"] == rows[0]["flip_err"]
    assert rows[2]["test_err"] > rows[2]["flip_err"]
    assert rows[2]["val_loss"] > rows[1]["val_loss"]
    assert (tmp_path / "mlp-mnist.png").stat().st_size > 10_000


def test_errors_are_those_of_networks_trained_one_by_one() -> None:
    options = mlp_mnist.Options(length=60)
    learner = mlp_mnist.victim(options)
    train, _, test = _victims.dealt(mlp_mnist.ones_and_sevens(), (100, 400), 0)
    keys = jax.random.split(jax.random.key(1), 3)
    errors = _victims.errors(learner, train.data(), keys, test)
    for key, error in zip(keys, errors, strict=True):
        model = learner.fit(train.data(), key=key).model
        assert np.mean(np.asarray(model.predict(test.x)) != test.y) == pytest.approx(error)
    wrong = _victims.Digits(test.x, -test.y)
    np.testing.assert_allclose(_victims.errors(learner, train.data(), keys, wrong), 1 - errors)


def test_rows_of_the_three_roles_are_other_digits() -> None:
    parts = _victims.dealt(mlp_mnist.ones_and_sevens(), (100, 400), 3)
    assert [len(part.y) for part in parts] == [100, 400, 500]
    seen = np.concatenate([part.x for part in parts])
    assert len(np.unique(seen, axis=0)) >= 999
    start = mlp_mnist.start_rows(mlp_mnist.Options(), parts[1], 3)
    for image, label in zip(start.x, start.y, strict=True):
        (row,) = np.flatnonzero(np.all(parts[1].x == image, axis=1))[:1]
        assert parts[1].y[row] == -label


@pytest.mark.slow
def test_each_attacker_is_judged_on_known_fresh_and_other_networks(tmp_path: Path) -> None:
    small = ["--seeds", "1", "--points", "2", "--length", "8", "--steps", "2", "--members", "2"]
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "cnn-mnist", *small, "--fresh", "2", *files]) == 0
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    names = ["clean", "not moved", "one", "averaged", "cancelling"]
    assert [row["attacker"] for row in rows] == names
    assert len({row["same_err"] for row in rows}) > 1
    assert (tmp_path / "cnn-mnist.png").stat().st_size > 10_000
    assert (tmp_path / "cnn-mnist-one.png").exists()


def test_poison_waits_in_slots_of_weight_zero() -> None:
    train, *_ = _victims.dealt(mlp_mnist.ones_and_sevens(), (20, 400), 0)
    data = _victims.with_rows(train.data(), train.x[:2], train.y[:2], np.array([1, 0]))
    expected = append(train.data(), jnp.asarray(train.x[:1]), jnp.asarray(train.y[:1]))
    np.testing.assert_array_equal(data.x[:21], expected.x)
    np.testing.assert_array_equal(data.weight, [1] * 21 + [0])


@pytest.mark.parametrize("options", [mlp_mnist.Options, cnn_mnist.Options])
@pytest.mark.parametrize("wrong", [{"points": 0}, {"train": 4900}, {"rate": 0.0}, {"length": 0}])
def test_options_that_make_no_sense_are_sentences(options, wrong) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(wrong))}"):
        options(**wrong)
