"""The experiments on networks, small: rows, controls, and what they are judged on."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import Greedy
from benchmarks.__main__ import main
from benchmarks.augment import augmented
from benchmarks.data import cifar10
from benchmarks.experiments.networks import (
    _one_by_one,
    _victims,
    cnn_mnist,
    network_speed,
)
from benchmarks.report import UNFINISHED, Report, UsageError, checkpoint
from bilevel import Checkpoint, append


def write_cifar(folder: Path, count: int) -> np.ndarray:
    """A cut of CIFAR-10 in its binary format; its records."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (count, 3073)).astype(np.uint8)
    records[:, 0] = np.arange(count) % 10
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (folder / name).write_bytes(records.tobytes())
    return records


FEW = ("--splits", "1", "--points", "2", "--every", "1", "--length", "60", "--steps", "6")


def rows_of(file: Path) -> list[dict]:
    return json.loads(file.read_text())["rows"]


@pytest.mark.slow
def test_points_are_added_one_by_one_and_beat_mislabelled_digits(tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "mlp-mnist", *FEW, *files]) == 0
    rows = rows_of(tmp_path / "a.json")
    assert [row["points"] for row in rows] == [0, 1, 2]
    assert rows[0]["test_err"] == rows[0]["flip_err"]
    assert rows[2]["test_err"] > rows[2]["flip_err"]
    assert rows[2]["val_loss"] > rows[1]["val_loss"]
    assert (tmp_path / "mlp-mnist.png").stat().st_size > 10_000


@pytest.mark.slow
def test_an_interrupted_split_goes_on_after_its_last_point(tmp_path: Path, monkeypatch) -> None:
    options = _one_by_one.Options(splits=1, points=2, every=1, length=60, steps=6)
    whole = _one_by_one.make_rows(options, "mlp-mnist", 0)
    monkeypatch.setenv(UNFINISHED, str(tmp_path))
    save, saved = Checkpoint.save, []

    def interrupted(self, tree):
        save(self, tree)
        saved.append(len(tree.y))
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _one_by_one.make_rows(options, "mlp-mnist", 0)
    assert saved == [1]
    assert len(list(tmp_path.glob("*.npz"))) == 1
    other = dataclasses.replace(options, steps=7)
    assert not checkpoint(other, data="mlp-mnist", split=0).path.exists()  # pyright: ignore
    assert not checkpoint(options, data="mlp-mnist", split=1).path.exists()  # pyright: ignore
    monkeypatch.setattr(Checkpoint, "save", lambda self, tree: saved.append(len(tree.y)))
    assert _one_by_one.make_rows(options, "mlp-mnist", 0) == whole
    assert saved == [1, 2]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, file, folder = tmp_path / "whole.json", tmp_path / "a.json", tmp_path / "kept"
    many = [*FEW[:2], "--points", "6", *FEW[4:]]
    command = [sys.executable, "-m", "benchmarks", "run", "mlp-mnist", *many, "--json"]
    subprocess.run([*command, str(whole)], check=True)
    resumed = [*command, str(file), "--resume", str(folder)]
    process = subprocess.Popen(resumed)
    while not list(folder.glob("mlp-mnist/unfinished/*.npz")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert list(folder.glob("mlp-mnist/unfinished/*.npz"))
    subprocess.run(resumed, check=True)
    assert rows_of(file) == rows_of(whole)
    assert not list(folder.glob("mlp-mnist/unfinished/*.npz"))


def test_errors_are_those_of_networks_trained_one_by_one() -> None:
    options = _one_by_one.Options(length=60)
    learner = _one_by_one.victim(options)
    train, _, test = _victims.dealt(_one_by_one.ones_and_sevens(), (100, 400), 0)
    keys = jax.random.split(jax.random.key(1), 3)
    errors = _victims.errors(learner, train.data(), keys, test)
    for key, error in zip(keys, errors, strict=True):
        model = learner.fit(train.data(), key=key).model
        assert np.mean(np.asarray(model.predict(test.x)) != test.y) == pytest.approx(error)
    wrong = _victims.Rows(test.x, -test.y)
    np.testing.assert_allclose(_victims.errors(learner, train.data(), keys, wrong), 1 - errors)


def test_errors_of_points_are_of_their_rows_and_weights(monkeypatch) -> None:
    """Trainings say what they were given: moved rows or not, how many, known weights or fresh."""

    def said(learner, data, keys, test) -> np.ndarray:
        rows = np.asarray(data.x[40:])
        weight = np.asarray(data.weight[40:])
        moved = float(np.all(rows == 0.5))
        return np.full(len(keys), 100 * len(keys) + 10 * weight.sum() + moved)

    def added(data, x, y, pose) -> Greedy:
        return Greedy(jnp.full_like(x, 0.5), y, jnp.asarray([0.25, 0.75]), x)

    monkeypatch.setattr(_one_by_one, "errors", said)
    monkeypatch.setattr(_one_by_one, "one_by_one", added)
    options = _one_by_one.Options(splits=1, points=2, every=1, train=40)
    _one_by_one.run_on("mlp-mnist", options, report := Report("a", options))
    for count, row in enumerate(report.rows):
        assert row["points"] == count
        assert row["test_err"] == 100 + 10 * count + 1
        assert row["flip_err"] == 100 + 10 * count
        assert row["fresh_err"] == 500 + 10 * count + 1
        assert row["fresh_flip_err"] == 500 + 10 * count
        assert row["val_loss"] == (None, 0.25, 0.75)[count]


def test_verdicts_on_images_are_of_known_keys_fresh_keys_and_the_other_network(monkeypatch) -> None:
    monkeypatch.setattr(_victims, "errors", lambda net, data, keys, test: np.array([net, keys]))
    found: tuple = _victims.judged(1, 2, None, 4, 8, None)  # pyright: ignore
    assert found == (2.5, 4.5, 5.0)


def test_notes_on_networks_are_of_their_own_rows() -> None:
    report, image = Report("a", None), Report("a", None)
    for split in (0, 1):
        for count, shift in ((0, 0.5), (3, 0.0)):
            report.row(
                split=split, points=count, test_err=0.4 + 0.2 * split, flip_err=0.1 + shift,
                fresh_err=0.25, fresh_flip_err=0.1 * split,
            )  # fmt: skip
        for shift, attacker in enumerate(("clean", "not moved", "one")):
            here = 0.1 * shift + 0.2 * split
            image.row(attacker=attacker, same_err=here, fresh_err=here + 0.3, other_err=0.75)
    _one_by_one._notes(report)
    assert report.notes[1] == (
        "3 points: test error poison 50.0 +- 10.0 %, not moved 10.0 +- 0.0 %, poison, other "
        "initial weights 25.0 +- 0.0 %, not moved, other initial weights 5.0 +- 5.0 %; 2 splits"
    )
    assert "not moved 60.0 +- 0.0 %" in report.notes[0]
    cnn_mnist._notes(cnn_mnist.Options(attackers=("one",)), image)
    assert image.notes[2] == (
        "one: test error known 30.0 +- 10.0 %, fresh 60.0 +- 10.0 %, dense network "
        "75.0 +- 0.0 %; 2 seeds"
    )
    assert image.notes[0].startswith("clean: test error known 10.0 +- 10.0 %")


def test_the_label_of_a_digit_that_starts_as_poison_is_wrong() -> None:
    of = cnn_mnist.case(cnn_mnist.Options(points=60, train=20, test=20), 3)
    for image, label in zip(of.start.x, of.start.y, strict=True):
        row = np.flatnonzero(np.all(of.validation.x == image, axis=(1, 2, 3)))[0]
        assert of.validation.y[row] != label
    assert set(of.start.y) == set(range(10))


def test_rows_of_the_three_roles_are_other_digits() -> None:
    parts = _victims.dealt(_one_by_one.ones_and_sevens(), (100, 400), 3)
    assert [len(part.y) for part in parts] == [100, 400, 500]
    seen = np.concatenate([part.x for part in parts])
    assert len(np.unique(seen, axis=0)) >= 999
    start = _one_by_one.start_rows(_one_by_one.Options(), parts[1], 3)
    for image, label in zip(start.x, start.y, strict=True):
        (row,) = np.flatnonzero(np.all(parts[1].x == image, axis=1))[:1]
        assert parts[1].y[row] == -label


@pytest.mark.slow
def test_each_attacker_is_judged_on_known_fresh_and_other_networks(tmp_path: Path) -> None:
    small = ["--seeds", "1", "--points", "2", "--length", "8", "--steps", "2", "--members", "2"]
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "cnn-mnist", *small, "--fresh", "2", *files]) == 0
    rows = rows_of(tmp_path / "a.json")
    names = ["clean", "not moved", "one", "averaged", "joint", "cancelling"]
    assert [row["attacker"] for row in rows] == names
    assert len({row["same_err"] for row in rows}) > 1
    assert (tmp_path / "cnn-mnist.png").stat().st_size > 10_000
    assert (tmp_path / "cnn-mnist-one.png").exists()


def test_poison_waits_in_slots_of_weight_zero() -> None:
    train, *_ = _victims.dealt(_one_by_one.ones_and_sevens(), (20, 400), 0)
    data = _victims.with_rows(train.data(), train.x[:2], train.y[:2], np.array([1, 0]))
    expected = append(train.data(), jnp.asarray(train.x[:1]), jnp.asarray(train.y[:1]))
    np.testing.assert_array_equal(data.x[:21], expected.x)
    np.testing.assert_array_equal(data.weight, [1] * 21 + [0])


@pytest.mark.parametrize("options", [_one_by_one.Options, cnn_mnist.Options])
@pytest.mark.parametrize("wrong", [{"points": 0}, {"points": 900}, {"rate": 0.0}, {"length": 0}])
def test_options_that_make_no_sense_are_sentences(options, wrong) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(wrong))}"):
        options(**wrong)


def test_more_rows_than_there_are_is_a_sentence(capsys) -> None:
    with pytest.raises(UsageError, match="--train"):
        cnn_mnist.Options(train=4900)
    assert main(["run", "mlp-mnist", "--train", "900", "--validation", "100"]) == 2
    assert (
        "--train, --validation: got 900, 100, expected fewer than 1,000" in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["dense", "small", "lenet"])
def test_the_network_of_the_peer_is_the_same_function(name, standard_promotion) -> None:
    module = network_speed._module(name)
    x = jax.random.uniform(jax.random.key(0), (2, 28, 28, 1))
    variables = module.init(jax.random.key(1), x)
    kinds = {"Conv": "conv", "Dense": "dense"}
    parameters = {
        kinds[kind] + number: {"weight": layer["kernel"], "bias": layer["bias"]}
        for (kind, number), layer in (
            (path.split("_"), layer) for path, layer in variables["params"].items()
        )
    }
    parameters["logits"] = parameters.pop(max(n for n in parameters if n.startswith("dense")))
    architecture = network_speed.ours(name, network_speed.Options()).architecture
    np.testing.assert_allclose(
        architecture.apply(parameters, x).logits, module.apply(variables, x), atol=1e-6
    )


@pytest.mark.slow
def test_training_is_timed_beside_loops_of_flax(tmp_path: Path) -> None:
    few = ["--networks", "dense", "--members", "1", "2", "--length", "20", "--repeats", "1"]
    file = tmp_path / "a.json"
    assert main(["run", "network-speed", *few, "--json", str(file)]) == 0
    rows = rows_of(file)
    ways = ["ours"] * 2 + ["flax loop"] * 2 + ["flax scan"] * 2 + ["hypergradient"] * 2
    assert [row["way"] for row in rows] == ways
    errors = [row["test_err"] for row in rows[:6]]
    assert max(errors) - min(errors) < 0.05
    assert all(row["cpu_seconds"] > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["dense", "convolutional"])
def test_memory_is_measured_on_both_networks(tmp_path: Path, network) -> None:
    few = ["--steps", "10", "--modes", "forward", "sqrt", "reversible", "--network", network]
    file = tmp_path / "a.json"
    assert main(["run", "memory", *few, "--json", str(file), "--out", str(tmp_path)]) == 0
    rows = {row["mode"]: row for row in rows_of(file)}
    assert rows["reversible"]["difference"] < 1e-9
    assert rows["sqrt"]["peak_mb"] > 100
    assert (tmp_path / "memory.png").stat().st_size > 10_000


def test_images_are_read_channel_by_channel(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("BILEVEL_DATA", str(tmp_path))
    records = write_cifar(tmp_path / "cifar-10-batches-bin", 12)
    train, test = cifar10()
    assert train.x.shape == (12, 32, 32, 3)
    assert test.y.tolist() == [*range(10), 0, 1]
    assert train.x[3, 2, 5, 1] == records[3, 1 + 1024 + 2 * 32 + 5]
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(b"short")
    with pytest.raises(UsageError, match=r"test_batch\.bin: has 5 bytes"):
        cifar10()


@pytest.mark.parametrize("edges", ["reflect", "constant"])
def test_augmented_images_are_cuts_of_the_images_and_half_are_mirrored(edges) -> None:
    x = jax.random.uniform(jax.random.key(1), (120, 12, 12, 2))
    y = np.asarray(augmented(jax.random.key(0), x, edges))
    wide = np.pad(np.asarray(x), ((0, 0), (4, 4), (4, 4), (0, 0)), mode=edges)
    mirrored = 0
    for image, source in zip(y, wide, strict=True):
        cuts = [source[i : i + 12, j : j + 12] for i in range(9) for j in range(9)]
        plain = any(np.array_equal(image, cut) for cut in cuts)
        flipped = any(np.array_equal(image[:, ::-1], cut) for cut in cuts)
        assert plain or flipped
        mirrored += not plain
    assert 30 < mirrored < 90


@pytest.mark.slow
def test_a_residual_network_trains_on_several_devices(tmp_path: Path) -> None:
    write_cifar(tmp_path / "cifar-10-batches-bin", 40)
    few = ["--rows", "40", "--batch", "10", "--widths", "4", "8", "--passes", "2", "--seeds", "4"]
    command = [sys.executable, "-m", "benchmarks", "run", "cifar-10", *few, "--json"]
    reports = []
    for devices in (1, 2):
        file = tmp_path / f"{devices}.json"
        flags = f"--xla_force_host_platform_device_count={devices}"
        variables = {**os.environ, "XLA_FLAGS": flags, "BILEVEL_DATA": str(tmp_path)}
        subprocess.run([*command, str(file)], check=True, env=variables)
        reports.append(json.loads(file.read_text()))
    one, two = (report["rows"] for report in reports)
    assert [row["test_err"] for row in one] == [row["test_err"] for row in two]
    assert len({row["test_err"] for row in one}) > 1
    assert [report["notes"][0][:3] for report in reports] == ["1 x", "2 x"]
