"""The experiments on backdoors, small: rows, controls, closed forms, and what is claimed."""

import json
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import stamp
from attacks.triggers import corner_pattern
from benchmarks.__main__ import main
from benchmarks.data import Images
from benchmarks.experiments.backdoors import (
    badnets_mnist,
    hidden_trigger,
    optimised_trigger,
    toy_backdoor,
)
from benchmarks.report import Report, UsageError
from bilevel.learners import Fixed, LinearModel, Logistic, Ridge


def rows_of(file: Path) -> list[dict]:
    return json.loads(file.read_text())["rows"]


@pytest.mark.slow
def test_a_white_corner_works_from_some_share_on(tmp_path: Path, capsys) -> None:
    few = ["--splits", "1", "--shares", "0.005", "0.05", "--l2s", "0.01", "--train", "200",
           "--strengths", "0.1", "1", "50", "--directions", "3"]  # fmt: skip
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "toy-backdoor", *few, *files]) == 0
    rows = rows_of(tmp_path / "a.json")
    assert [row["part"] for row in rows] == ["share"] * 4 + ["strength"] * 3 + ["direction"] * 3
    for low, high in (rows[:2], rows[2:4]):
        assert high["success"] > max(0.5, low["success"])
        assert high["clean_success"] < 0.1
    weak, one, strong = rows[4:7]
    assert one["success"] > max(weak["success"], strong["success"])
    assert weak["peak"] == pytest.approx(strong["peak"])
    assert max(row["gap"] for row in rows[4:7]) < 1e-10
    assert rows[7]["variance"] < rows[9]["variance"]
    assert rows[7]["success"] > rows[9]["success"]
    assert (tmp_path / "toy-backdoor.png").stat().st_size > 10_000
    assert "claim 2, success peaks at a finite strength" in capsys.readouterr().out


def test_the_weight_of_the_corner_is_largest_at_the_peak() -> None:
    options = toy_backdoor.Options(train=100)
    of = toy_backdoor.case(options, 0)
    reach = toy_backdoor.copies(of, 0.04)
    assert float(reach.weight.sum()) == 4

    def weight(strength: float) -> float:
        model = toy_backdoor.closed_form(of, reach, 0.2, strength)
        return float(np.sum(np.asarray(model.w)[toy_backdoor.corner(reach)]))

    at = toy_backdoor.peak(of, reach, 0.2)
    assert weight(at) > max(weight(0.98 * at), weight(1.02 * at))
    model = toy_backdoor.closed_form(of, reach, 0.2, 3.0)
    fitted = Ridge(0.2).fit(reach.inject(3 * reach.example(of.train), of.train)).model
    assert isinstance(fitted, LinearModel)
    np.testing.assert_allclose(model.w, fitted.w, atol=1e-12)
    np.testing.assert_allclose(model.bias, fitted.bias, atol=1e-12)


def test_claims_are_of_paired_splits_and_of_the_same_eigenvector() -> None:
    options = toy_backdoor.Options(strengths=(0.1, 1.0, 50.0), splits=3)
    report = Report("toy-backdoor", options)
    for split in range(3):
        for number, (strength, success) in enumerate(((0.1, 0.1), (1.0, 0.9), (50.0, 0.2))):
            report.row(
                part="strength", split=split, strength=strength, peak=1.0, gap=1e-14,
                success=success, test_err=0.03 + 0.01 * split - 0.005 * number, loss=0.1,
            )  # fmt: skip
        for direction, success in enumerate((0.6, 0.6 + 0.1 * (split - 1), 0.1)):
            report.row(
                part="direction", split=split, direction=direction, success=success,
                variance=10.0 ** (direction - split),
            )  # fmt: skip
    toy_backdoor._claims(options, report)
    _, one, two, three = report.notes
    assert "by 1.00 +- 0.00 points (holds); square loss falls by 0.0000" in one
    assert "0.900 at 1, 0.100 at 0.1, 0.200 at 50 (holds)" in two
    assert "success 0.600 of it, 0.100 of the largest" in three
    assert "(holds); rank correlation" in three


SMALL = badnets_mnist.Options(train=100, passes=1, victims=1, fewer=1)


def test_controls_are_the_same_copies_without_trigger_or_without_relabelling() -> None:
    of = badnets_mnist.case(SMALL)
    labels = badnets_mnist.label_map("next")
    reach = stamp(jax.random.key(0), corner_pattern((28, 28, 1), distance=4), of.train, 0.2, labels)
    rows = {kind: badnets_mnist.rows_of(kind, reach, of.train)
            for kind in ("backdoor", *badnets_mnist.CONTROLS)}  # fmt: skip
    x, y = (np.asarray(a)[np.asarray(reach.rows)] for a in (of.train.x, of.train.y))
    stamped = x.copy()
    for i, j in ((24, 24), (23, 23), (24, 22), (22, 24)):
        stamped[:, i, j] = 1.0
    for kind, data in rows.items():
        np.testing.assert_array_equal(data.x[:100], of.train.x)
        np.testing.assert_array_equal(data.y[:100], of.train.y)
        np.testing.assert_array_equal(data.x[100:], x if kind == "not stamped" else stamped)
        np.testing.assert_array_equal(data.y[100:], y if kind == "not relabelled" else (y + 1) % 10)


def test_the_unit_of_the_trigger_is_the_one_that_it_raises_most() -> None:
    class Model:
        def activations(self, x):
            a = jnp.ones((3, 2, 2, 4)).at[:, 1, 0, 2].set(jnp.where(x[:, 0] > 0, 9.0, 0.5))
            return {"conv0": x, "conv1": a.at[:, 0, 0, 1].set(jnp.where(x[:, 0] > 0, 20.0, 19.0))}

    found = badnets_mnist.response(Model(), jnp.zeros((3, 1)), jnp.ones((3, 1)))  # pyright: ignore
    assert found.filter == 2
    assert found.rest == pytest.approx(0.5 / 9)
    assert found.stamped.shape == (2, 2, 4)


@pytest.mark.slow
def test_a_network_learns_the_pattern_and_both_controls_do_not(tmp_path: Path, capsys) -> None:
    few = ["--train", "400", "--passes", "60", "--victims", "2", "--fewer", "1", "--maps", "one",
           "--shares", "0.02", "--share", "0.2"]  # fmt: skip
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "badnets-mnist", *few, *files]) == 0
    backdoor, not_relabelled, not_stamped, less = rows_of(tmp_path / "a.json")
    assert backdoor["success"] > 0.7
    assert backdoor["victims"] == 2
    for row in (not_relabelled, not_stamped):
        assert row["success"] < 0.2
    assert less["success"] < backdoor["success"]
    assert backdoor["clean_success"] < 0.05
    for name in ("badnets-mnist", "badnets-mnist-one"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    assert "the unit of the last convolution" in capsys.readouterr().out


@pytest.mark.slow
def test_squares_differ_inside_their_mask_and_the_gradient_is_exact() -> None:
    options = optimised_trigger.Options(train=60, validation=40, steps=3, share=0.05)
    of = optimised_trigger.case(options, 0)
    assert len({row.tobytes() for part in of[:3] for row in np.asarray(part.x)}) > 995
    assert [part.rows for part in of[:3]] == [60, 40, 900]
    found = optimised_trigger.patterns(options, of)
    outside = np.asarray(of.reach.trigger.mask) == 0  # pyright: ignore
    assert list(found) == list(optimised_trigger.KINDS)
    for kind in ("adversarial", "optimised", "continued"):
        np.testing.assert_array_equal(found[kind][outside], found["random"][outside])
        assert float(jnp.max(jnp.abs(found[kind] - found["random"]))) > 0.1
    assert float(jnp.max(jnp.abs(found["adversarial"] - found["optimised"]))) > 0.1
    attack = optimised_trigger.composed(of, Logistic(options.l2))
    assert float(attack(found["optimised"])) > float(attack(found["random"]))
    assert optimised_trigger.error(attack, found["random"]) < 1e-6


def test_squares_climb_against_their_own_model_from_their_own_start(monkeypatch) -> None:
    climbs = []

    class Climbed(NamedTuple):
        z: jax.Array

    def climb(attack, start, **_) -> Climbed:
        climbs.append((type(attack.learner), start))
        return Climbed(start / 2)

    monkeypatch.setattr(optimised_trigger, "maximize", climb)
    options = optimised_trigger.Options(train=60, validation=40, share=0.05)
    found = optimised_trigger.patterns(options, optimised_trigger.case(options, 0))
    assert [learner for learner, _ in climbs] == [Fixed, Logistic, Logistic]
    starts = [found["random"], found["random"], found["adversarial"]]
    for (_, start), expected in zip(climbs, starts, strict=True):
        np.testing.assert_array_equal(start, expected)
    np.testing.assert_array_equal(found["continued"], found["random"] / 4)


@pytest.mark.slow
def test_an_optimised_trigger_is_judged_beside_fixed_ones(tmp_path: Path, capsys) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "optimised-trigger", "--seeds", "1", "--steps", "12", *files]) == 0
    rows = {row["kind"]: row for row in rows_of(tmp_path / "a.json")}
    assert rows["optimised"]["success"] > rows["random"]["success"] + 0.1
    assert rows["optimised"]["gradient_gap"] < 1e-6
    assert "optimised above random in 1 of 1 seeds" in capsys.readouterr().out
    for name in ("optimised-trigger", "optimised-trigger-squares"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5_000


def test_the_images_that_move_are_of_the_target(monkeypatch) -> None:
    monkeypatch.setattr(hidden_trigger, "frozen", lambda options, seed: None)
    options = hidden_trigger.Options(train=40, poisons=10)
    of = hidden_trigger.case(options, 0)
    moved = hidden_trigger.capability(options, of).example(of.train)
    np.testing.assert_array_equal(moved, of.train.x[20:30])
    np.testing.assert_array_equal(of.train.y, [-1] * 20 + [1] * 20)


@pytest.mark.slow
def test_moved_nines_stay_near_and_their_labels_stay() -> None:
    options = hidden_trigger.Options(train=40, poisons=10, passes=1, steps=2)
    of = hidden_trigger.case(options, 0)
    reach = hidden_trigger.capability(options, of)
    z = hidden_trigger.collide(options, of, reach).z
    train = reach.inject(z, of.train)
    np.testing.assert_array_equal(train.y, [-1] * 20 + [1] * 20)
    moved = np.max(np.abs(np.asarray(train.x - of.train.x)), axis=(1, 2, 3))
    assert np.all((moved[20:30] > 0.01) & (moved[20:30] <= 0.2 + 1e-6))
    assert np.all(np.delete(moved, np.arange(20, 30)) == 0)
    parts = [*(np.asarray(part.x) for part in of[:2]), np.asarray(of.sources)]
    assert [len(part) for part in parts] == [40, 1000 - 40 - 20, 10]
    assert len({row.tobytes() for part in parts for row in part}) > 965


def test_images_are_of_all_files_and_their_trigger_has_colours(monkeypatch) -> None:
    x, y = np.arange(2 * 8 * 8 * 3).reshape(2, 8, 8, 3).astype(np.uint8), np.asarray([6, 8])
    parts = Images(x, y), Images(x[:1], y[:1])
    monkeypatch.setattr(hidden_trigger, "cifar10", lambda: parts)
    held = hidden_trigger.images.__wrapped__("cifar")
    np.testing.assert_array_equal(held.labels, [6, 8, 6])
    np.testing.assert_allclose(held.rows(np.asarray([2]))[0], x[0] / 255, rtol=1e-6)
    assert (held.source, held.target, held.names) == (6, 8, ("frogs", "ships"))
    assert set(np.unique(held.colours)) == {0.0, 1.0}
    assert np.shape(held.colours) == (8, 8, 3)
    digits = hidden_trigger.images("mnist")
    assert digits.rows(np.arange(2)).shape == (2, 28, 28, 1)
    assert (digits.source, digits.target, digits.colours) == (4, 9, 1.0)


@pytest.mark.slow
def test_stamped_fours_are_read_as_nines(tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "hidden-trigger", "--seeds", "1", *files]) == 0
    (row,) = rows_of(tmp_path / "a.json")
    assert row["success"] > 5 * row["clean_success"]
    assert row["distance"] < 0.5 * row["start_distance"]
    assert (tmp_path / "hidden-trigger.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (optimised_trigger.Options, {"share": 0.0}),
        (hidden_trigger.Options, {"train": 401}),
        (hidden_trigger.Options, {"poisons": 201}),
        (hidden_trigger.Options, {"poisons": 151, "train": 600}),
        (toy_backdoor.Options, {"splits": 0}),
        (toy_backdoor.Options, {"train": 901}),
        (toy_backdoor.Options, {"shares": ()}),
        (badnets_mnist.Options, {"share": 1.0}),
        (badnets_mnist.Options, {"train": 4900}),
        (badnets_mnist.Options, {"fewer": 6}),
        (badnets_mnist.Options, {"maps": ()}),
    ],
)
def test_options_that_make_no_sense_are_sentences(options, wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}: got"):
        options(**wrong)
