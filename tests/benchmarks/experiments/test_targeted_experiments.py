"""The targeted experiments, small: what counts, the controls, predictions beside retraining."""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from attacks import indiscriminate
from benchmarks import pretraining
from benchmarks.__main__ import main
from benchmarks.experiments.targeted import frogs, last_layer, polytope
from benchmarks.report import UsageError
from bilevel import Data, append
from bilevel.learners import Logistic, NetworkModel, OnFeatures
from bilevel.networks import MLP


def frozen(seed: int = 0) -> NetworkModel:
    row = jax.ShapeDtypeStruct((28, 28, 1), jnp.float32)
    net = MLP((6,), 8)
    return NetworkModel(net.init(jax.random.key(seed), row), net)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small random networks in place of trained ones."""
    for module in (polytope, last_layer, frogs):
        monkeypatch.setattr(
            module, "pretrained",
            lambda of, architecture=None, seed=0: pretraining.Pretrained(
                frozen(seed + 7 * (architecture is pretraining.OTHER)), 0.5
            ),
        )  # fmt: skip


def rows_of(file: Path) -> list[dict]:
    return json.loads(file.read_text())["rows"]


def test_the_images_of_the_attackers_classes_are_apart() -> None:
    train, test = pretraining.images("mnist")
    assert np.all(np.bincount(test.y) == pretraining.TEST)
    assert np.all(np.bincount(train.y) == 400)
    options = polytope.Options(targets=3, poisons=2, train=10)
    of = polytope.case(options)
    assert of.train.x.shape == (10, 28, 28, 1)
    np.testing.assert_array_equal(np.sort(of.train.y), np.repeat([-1, 1], 5))
    # no image twice, in any role
    parts = [of.train.x, of.test.x, of.targets, of.bases.reshape(-1, 28, 28, 1)]
    images = np.concatenate([np.asarray(part) for part in parts])
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)
    known = {image.tobytes(): y for part in (train, test) for image, y in zip(*part, strict=True)}

    def classes(x) -> set[int]:
        return {int(known[np.asarray(image).tobytes()]) for image in x}

    assert classes(of.targets) == {options.target}
    assert classes(of.bases.reshape(-1, 28, 28, 1)) == {options.base}
    assert not set(pretraining.others(options)) & {options.base, options.target}


def test_targets_count_that_the_same_victim_reads_right_if_nothing_is_moved(monkeypatch) -> None:
    options = polytope.Options(targets=4, poisons=2, train=10)
    right = {"moved": [True, False, False, True], "clean": [True, True, False, True]}
    monkeypatch.setattr(polytope, "poison", lambda *_: polytope.Poison(jnp.ones(1), 0.5))
    for name, found in (("judged", "moved"), ("clean", "clean")):
        answer = polytope.Judged(np.array(right[found]), np.full(4, 0.1))
        monkeypatch.setattr(polytope, name, lambda *_, answer=answer: answer)
    made = polytope.make_rows(options, "frogs", "linear")["rows"]
    assert [row["victim"] for row in made] == ["white", "grey", "black"]
    assert made[0]["success"] == pytest.approx(1 / 3)
    assert made[0]["n"] == 3
    assert made[0]["low"] == pytest.approx(0.0615, abs=1e-3)  # Wilson
    assert made[0]["high"] == pytest.approx(0.792, abs=1e-3)


def test_frogs_count_targets_that_are_right_without_them_and_measure_the_poison(
    monkeypatch,
) -> None:
    options = frogs.Options(targets=4, train=10)
    bases = np.zeros((4, 1, 2))
    targets = np.array([[1.0, 0.0], [2.0, 0.0], [4.0, 0.0], [1.0, 0.0]])
    moved = bases + np.array([0.6, -0.2])
    of = SimpleNamespace(bases=bases, targets=targets)
    right = {"moved": [True, False, False, True], "clean": [True, True, False, True]}
    network = SimpleNamespace(model=SimpleNamespace(features=lambda x: x))
    monkeypatch.setattr(frogs, "pretrained", lambda *_: network)
    monkeypatch.setattr(frogs, "poison", lambda *_: moved)
    monkeypatch.setattr(polytope, "case", lambda *_: of)
    for name, found, error in (("judged", "moved", 0.25), ("clean", "clean", 0.125)):
        answer = polytope.Judged(np.array(right[found]), np.full(4, error))
        monkeypatch.setattr(polytope, name, lambda *_, answer=answer: answer)
    made = frogs.make_rows(options, "priced")
    (row,) = made["rows"]
    assert (row["poison"], row["n"]) == ("priced", 3)
    assert row["success"] == pytest.approx(1 / 3)
    assert row["low"] == pytest.approx(0.0615, abs=1e-3)
    assert row["high"] == pytest.approx(0.792, abs=1e-3)
    assert row["change"] == pytest.approx(np.sqrt((0.6**2 + 0.2**2) / 2))
    assert row["largest"] == pytest.approx(0.6)
    away = np.linalg.norm(moved[:, 0] - targets, axis=1) / targets[:, 0]
    assert row["distance"] == pytest.approx(away.mean())
    assert (row["test_err"], row["clean_test_err"]) == (0.25, 0.125)
    np.testing.assert_array_equal(made["images"], moved[:3, 0])


@pytest.mark.slow
@pytest.mark.usefixtures("untrained")
def test_poison_stays_near_its_base_and_all_victims_are_judged(tmp_path: Path, capsys) -> None:
    few = ["--targets", "3", "--poisons", "2", "--train", "10", "--steps", "4", "--eps", "0.3",
           "--fine-steps", "15", "--fine-rate", "0.2"]  # fmt: skip
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "polytope", *few, *files]) == 0
    made = rows_of(tmp_path / "a.json")
    kinds = {(row["trained"], row["poison"], row["victim"]) for row in made}
    assert len(kinds) == len(made) == 2 * 4 * 3
    assert all((row["seconds"] is None) == (row["poison"] == "random") for row in made)
    assert "white box: frogs" in capsys.readouterr().out
    assert (tmp_path / "polytope.png").stat().st_size > 10_000
    options = polytope.Options(targets=3, poisons=2, train=10, steps=4, eps=0.3)
    of = polytope.case(options)
    pairs: tuple[tuple[polytope.Rule, float], ...] = ("bullseye", 0.05), ("random", 0.29)
    for rule, least in pairs:
        moved = polytope.poison(options, rule, "linear").moved
        assert least < float(jnp.max(jnp.abs(moved - of.bases))) <= 0.3 + 1e-6
        assert float(jnp.min(moved)) >= 0
        assert float(jnp.max(moved)) <= 1


def test_predictions_without_training_are_those_of_the_two_equations() -> None:
    """Beside a head that is trained by hand: weight that moves, and the slope along the change."""
    rng = np.random.default_rng(0)
    data = Data(rng.uniform(size=(12, 28, 28, 1)), np.where(np.arange(12) % 2, 1, -1))
    row = jax.ShapeDtypeStruct((28, 28, 1), jnp.float64)
    net = NetworkModel(MLP((4,), 2).init(jax.random.key(0), row), MLP((4,), 2))
    head = OnFeatures(net, Logistic(0.1))
    of = last_layer.Case(data, Data(data.x[:1], data.y[:1]), head, 0.0)
    goal = indiscriminate(data.x[:1] ** 2, data.y[:1], last_layer.against)
    rows, z = jnp.array([3]), data.x[3:4] + 0.01 * rng.normal(size=(1, 28, 28, 1))

    both, h = append(data, z, data.y[rows]), 1e-5

    def trained(move: Array, t: float) -> float:
        """`move` added to the rows, and weight t taken from row 3 and given to its copy."""
        weight = jnp.ones(13).at[3].add(-t).at[12].set(t)
        model = head.fit(Data(both.x.at[:12].add(move), both.y, weight)).model
        return -int(data.y[0]) * float(model.decision(data.x[:1] ** 2)[0])

    still = jnp.zeros_like(data.x)
    expected = (trained(still, h) - trained(still, 0.0)) / h
    swapped = jax.jit(lambda z: last_layer.swapped(of, goal, rows, z))(z)
    np.testing.assert_allclose(swapped, expected, rtol=1e-4)
    options = last_layer.Options(train=12, targets=1)
    found, slope = jax.jit(lambda: last_layer.strongest(options, of, goal, 0.5))()
    move = still.at[5, 3, 4, 0].set(1e-4)
    central = (trained(move, 0.0) - trained(-move, 0.0)) / 2
    np.testing.assert_allclose(slope[5, 3, 4, 0] * 1e-4, central, rtol=1e-5)
    room = jnp.where(slope > 0, 1 - data.x, data.x)
    gain = jnp.sum(jnp.abs(slope) * jnp.minimum(room, 0.5 / 255), axis=(1, 2, 3))
    assert found.tolist() == [int(jnp.argmax(gain))]


@pytest.mark.slow
@pytest.mark.usefixtures("untrained")
def test_half_a_grey_level_is_stored_alike_and_the_derivative_foretells(
    tmp_path: Path, capsys
) -> None:
    few = ["--train", "20", "--targets", "4", "--steps", "6", "--levels", "0.5"]
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "last-layer", *few, *files]) == 0
    made = rows_of(tmp_path / "a.json")
    assert len(made) == 4
    assert all(row["same"] and row["before"] > 0 for row in made)
    for row in made:
        assert row["retrained"] == pytest.approx(row["before"] - row["after"])
        assert row["retrained"] > 0
        assert row["implicit"] == pytest.approx(row["retrained"], rel=0.2)
    said = capsys.readouterr().out
    assert "0.5 grey levels (stored alike)" in said
    assert "error at most" in said
    assert (tmp_path / "last-layer.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.usefixtures("untrained")
def test_one_image_for_one_target_begins_with_a_faint_copy_or_pays_for_its_change(
    tmp_path: Path,
) -> None:
    few = ["--train", "10", "--targets", "3", "--steps", "8", "--eps", "0.05"]
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "frogs", *few, *files]) == 0
    made = {row["poison"]: row for row in rows_of(tmp_path / "a.json")}
    assert list(made) == list(frogs.KINDS)
    assert made["base"]["change"] == made["base"]["success"] == 0
    assert made["watermark alone"]["largest"] == pytest.approx(0.3, abs=1e-6)
    assert made["watermark and ball"]["largest"] <= 0.35 + 1e-6
    assert made["watermark and ball"]["distance"] < made["watermark alone"]["distance"]
    assert made["priced"]["distance"] < made["base"]["distance"]
    assert (tmp_path / "frogs.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("module", "wrong"),
    [
        (polytope, {"target": 9}),
        (polytope, {"target": 10}),
        (polytope, {"train": 7}),
        (polytope, {"targets": 80}),
        (polytope, {"eps": 1.5}),
        (last_layer, {"target": 9}),
        (last_layer, {"train": 2}),
        (last_layer, {"changed": 101}),
        (frogs, {"opacity": 1.0}),
        (frogs, {"targets": 100}),
    ],
)
def test_options_that_make_no_sense_are_sentences(module, wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}[:,]"):
        module.Options(**wrong)
