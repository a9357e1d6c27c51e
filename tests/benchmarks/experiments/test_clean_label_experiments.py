"""The clean-label experiments on networks, small: rows, limits, controls and intervals."""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import t as student

from benchmarks.__main__ import main
from benchmarks.clean_label import (
    LOSS,
    Setting,
    digits,
    near,
    network,
    sign_adam,
    steepest,
    with_interval,
)
from benchmarks.experiments.backdoors import sleeper
from benchmarks.experiments.targeted import _pairs, gradient_matching, metapoison
from benchmarks.report import UsageError
from bilevel import Data
from bilevel.learners import ensemble
from bilevel.tools import unstacked

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(100, 28, 28, 1)).astype(np.float32)
DATA = Data(X, np.arange(100, dtype=np.int32) % 10)


def rows_of(file: Path) -> list[dict]:
    return json.loads(file.read_text())["rows"]


def test_moved_pixels_stay_near_and_noise_is_at_the_ends() -> None:
    reach = near(Setting(train=100), DATA, jnp.asarray([3, 40]))
    starts = np.asarray(reach.starts(jax.random.key(0), 2))
    noise = np.asarray(reach.noise(jax.random.key(1)))
    low, high = np.maximum(X[[3, 40]] - 0.3, 0), np.minimum(X[[3, 40]] + 0.3, 1)
    assert np.all((starts >= low - 1e-6) & (starts <= high + 1e-6))
    assert float(np.mean(np.abs(starts[0] - starts[1]))) > 0.1
    lower = np.mean(np.abs(noise - low) < 1e-6)
    assert np.all((np.abs(noise - low) < 1e-6) | (np.abs(noise - high) < 1e-6))
    assert 0.4 < lower < 0.6
    far = reach.perturb().project(jnp.full(noise.shape, 2.0, noise.dtype))
    np.testing.assert_allclose(far, high, atol=1e-6)


@pytest.mark.usefixtures("standard_promotion")
def test_every_pixel_moves_by_the_step_and_by_a_tenth_after_each_third() -> None:
    optimizer, z = sign_adam(0.1, 16), jnp.asarray([1.0, -2.0])
    state, moved = optimizer.init(z), []
    for gradient in RNG.normal(size=(16, 2)):
        updates, state = optimizer.update(jnp.asarray(gradient), state, z)
        moved.append(np.abs(np.asarray(updates)))
    lengths = np.repeat([0.1, 0.01, 0.001, 0.0001], [6, 4, 4, 2])
    np.testing.assert_allclose(moved, np.tile(lengths[:, None], 2), rtol=1e-5)


@pytest.mark.slow
def test_the_rows_of_a_class_with_the_largest_gradients_are_chosen() -> None:
    setting = Setting(train=100, passes=1)
    models = ensemble(network(setting), DATA, jax.random.split(jax.random.key(0), 2)).model
    chosen = np.asarray(steepest(models, DATA, jnp.asarray([7, 2], jnp.int32), 3))

    def size(model, row: int) -> float:
        def loss(w):
            f = model.architecture.apply(w, DATA.x[row : row + 1]).logits
            return LOSS(DATA.y[row : row + 1], f)[0]

        leaves = jax.tree.leaves(jax.grad(loss)(model.parameters))
        return float(np.sqrt(sum(np.sum(np.square(leaf)) for leaf in leaves)))

    for label, rows in zip((7, 2), chosen, strict=True):
        of_label = np.arange(label, 100, 10)
        sizes = [np.mean([size(m, int(row)) for m in unstacked(models)]) for row in of_label]
        np.testing.assert_array_equal(rows, of_label[np.argsort(sizes)[::-1][:3]])


DIGITS = SimpleNamespace(train=DATA, test=DATA, models=None, clean=SimpleNamespace(model=None))
"""Of a seed, without networks."""


def test_targets_are_read_right_by_all_clean_victims_and_other_classes_wanted(monkeypatch) -> None:
    right = np.tile(np.asarray(DATA.y), (2, 1))
    right[0, ::2], right[1, 5:50] = -1, -1
    monkeypatch.setattr(_pairs, "predictions", lambda model, x: jnp.asarray(right))
    monkeypatch.setattr(_pairs, "steepest", lambda models, data, labels, count: labels[:, None])
    chosen = _pairs.pairs(Setting(pairs=25), DIGITS, 0)  # pyright: ignore
    index = np.asarray(chosen.index)
    assert set(index) <= {1, 3, *range(51, 100, 2)}
    assert len(set(index)) == 25
    np.testing.assert_array_equal(chosen.x, X[index])
    wanted = np.asarray(chosen.wanted)
    assert not np.any(wanted == index % 10)
    assert len(set(wanted)) > 5
    clean = _pairs.read_clean(DIGITS, chosen)  # pyright: ignore
    np.testing.assert_array_equal(clean, np.tile(right, (25, 1, 1)))


def test_too_few_digits_are_a_sentence(monkeypatch) -> None:
    with pytest.raises(UsageError, match=r"--share: got 0\.05, expected at most 4 digits"):
        digits(Setting(train=100, share=0.05), 4, 1)
    monkeypatch.setattr(_pairs, "predictions", lambda model, x: jnp.asarray(DATA.y)[None])
    with pytest.raises(UsageError, match="--pairs: got 101, expected at most 100"):
        _pairs.pairs(Setting(pairs=101), DIGITS, 0)  # pyright: ignore
    with pytest.raises(UsageError, match="--sources: got 11, expected at most 10"):
        sleeper.pairs(sleeper.Options(sources=11), DIGITS, 0)  # pyright: ignore


def test_a_hit_is_the_wanted_class_and_any_other_class_is_misread() -> None:
    keys = jax.random.split(jax.random.key(0), 2)
    chosen = _pairs.Pairs(
        jnp.asarray([4, 7]), DATA.x[:2], jnp.asarray([9, 1]), jnp.zeros((2, 1), int), keys
    )
    seen = np.tile(np.asarray(DATA.y), (2, 4, 1))
    seen[0, :3, 4], seen[1, 0, 4], seen[1, :, 7] = [9, 9, 0], 9, [7, 7, 7, 3]
    one, two = _pairs.judged(DIGITS, chosen, "matched", seen, score=[0.5, 0.6])  # pyright: ignore
    assert (one["hit"], one["misread"], one["test_err"]) == (0.5, 0.75, 3 / 400)
    assert (two["hit"], two["misread"], two["test_err"]) == (0.0, 0.25, 2 / 400)
    assert (one["label"], one["wanted"], two["target"], two["score"]) == (4, 9, 7, 0.6)


@pytest.mark.stand_ins
def test_matching_begins_and_steps_as_often_as_it_is_told(monkeypatch) -> None:
    told = []

    def aligned(capability, target, models, train, starts, step, steps):
        told.append((target.rows, models, len(starts), step, steps))
        return starts[0], jnp.zeros(())

    monkeypatch.setattr(gradient_matching, "aligned", aligned)
    options = gradient_matching.Options(members=5, restarts=3, steps=7, step=0.2, train=100)
    chosen = _pairs.Pairs(
        jnp.asarray([4]), DATA.x[:1], jnp.asarray([9]), jnp.asarray([[2, 3]]),
        jax.random.split(jax.random.key(0), 1),
    )  # fmt: skip
    moved, _ = gradient_matching.matched(options, DIGITS, chosen)  # pyright: ignore
    assert told == [(1, DIGITS.models, 3, 0.2, 7)]
    assert moved.shape == (1, 2, 28, 28, 1)


def test_sleepers_are_for_different_pairs_and_their_sources_are_of_the_source(monkeypatch) -> None:
    monkeypatch.setattr(sleeper, "steepest", lambda models, data, labels, count: labels[:, None])
    options = sleeper.Options(train=100, pairs=90, sources=5)
    chosen = sleeper.pairs(options, DIGITS, 0)  # pyright: ignore
    source, target = np.asarray(chosen.source), np.asarray(chosen.target)
    assert len(set(zip(source, target, strict=True))) == 90
    assert not np.any(source == target)
    for label, images in zip(source, np.asarray(chosen.x), strict=True):
        assert {image.tobytes() for image in images} <= {row.tobytes() for row in X[label::10]}


def test_the_interval_is_of_the_mean() -> None:
    values = [0.1, 0.5, 0.9, 0.2]
    low, high = student.interval(0.95, 3, np.mean(values), np.std(values, ddof=1) / 2)
    assert with_interval(values) == f"{np.mean(values):.3f} [{low:.3f}, {high:.3f}]"
    assert with_interval([0.25]) == "0.250"


@pytest.mark.slow
def test_gradients_are_matched_and_noise_does_not_hit(tmp_path: Path, capsys) -> None:
    few = ["--pairs", "2", "--seeds", "1", "--victims", "2", "--steps", "40", "--passes", "8",
           "--train", "400", "--members", "2", "--restarts", "1"]  # fmt: skip
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "gradient-matching", *few, *files]) == 0
    rows = rows_of(tmp_path / "a.json")
    assert [row["kind"] for row in rows] == ["matched"] * 2 + ["noise"] * 2 + ["clean"] * 2
    assert all(row["label"] != row["wanted"] for row in rows)
    assert all(row["hit"] <= row["misread"] for row in rows)
    assert all(row["alignment"] > 0.6 for row in rows[:2])
    assert sum(row["hit"] for row in rows[2:]) == 0
    assert (tmp_path / "gradient-matching.png").stat().st_size > 10_000
    assert "noise: read as wanted 0.000 [0.000, 0.000]" in capsys.readouterr().out


@pytest.mark.slow
def test_metapoison_stands_beside_matching_of_the_same_pairs(tmp_path: Path, capsys) -> None:
    few = ["--pairs", "2", "--seeds", "1", "--victims", "1", "--steps", "4", "--passes", "4",
           "--members", "2", "--restarts", "1"]  # fmt: skip
    files = ["--json", str(tmp_path / "a.json")]
    assert main(["run", "metapoison", *few, *files]) == 0
    rows = rows_of(tmp_path / "a.json")
    assert [row["kind"] for row in rows] == ["metapoison"] * 2 + ["matched"] * 2 + ["noise"] * 2
    for first, *others in (rows[::2], rows[1::2]):
        assert all(row["target"] == first["target"] for row in others)
        assert all(row["wanted"] == first["wanted"] for row in others)
    assert "CPU seconds of an attack without its networks, seed 0" in capsys.readouterr().out


@pytest.mark.slow
def test_sleepers_stand_beside_noise_and_clean_victims(tmp_path: Path, capsys) -> None:
    few = ["--pairs", "2", "--victims", "1", "--steps", "10", "--passes", "4", "--members", "1"]
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "sleeper", *few, *files]) == 0
    rows = rows_of(tmp_path / "a.json")
    assert [row["kind"] for row in rows] == ["sleeper", "noise", "clean"] * 2
    assert len({(row["source"], row["target"]) for row in rows}) == 2
    assert all(row["source"] != row["target"] for row in rows)
    assert (tmp_path / "sleeper.png").stat().st_size > 10_000
    assert "sleeper above noise" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "wrong", "sentence"),
    [
        (Setting, {"train": 99}, "--train: got 99, expected 100 to 4000"),
        (Setting, {"share": 0.06}, "--share: got 0.06, expected at least one digit"),
        (Setting, {"share": 0.001, "train": 100}, "--share: got 0.001"),
        (Setting, {"eps": 0.0}, "--eps: got 0.0"),
        (sleeper.Options, {"pairs": 91}, "--pairs: got 91, expected at most 90"),
        (sleeper.Options, {"sources": 51}, "--sources: got 51, expected at most 50"),
        (metapoison.Options, {"clean": 1001}, "--clean: got 1001, expected at most --train"),
    ],
)
def test_settings_that_make_no_sense_are_sentences(options, wrong, sentence) -> None:
    with pytest.raises(UsageError, match=sentence):
        options(**wrong)
