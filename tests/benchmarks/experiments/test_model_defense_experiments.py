"""Experiments on defenses of networks that inspect rows or inputs: what is counted, small runs."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.experiments.model_defenses import _infected, strip
from benchmarks.experiments.model_defenses._found import found
from benchmarks.experiments.model_defenses._infected import Infection, case, figures
from bilevel import Data
from bilevel.learners import AbstractModel
from defenses import Inspection


def rows_of(file: Path) -> list[dict]:
    return json.loads(file.read_text())["rows"]


def test_what_is_found_is_counted_by_class() -> None:
    y = np.repeat(np.arange(10), 4)
    poison = np.arange(40) % 4 == 0
    dropped = poison & (y != 3)
    dropped[5] = True  # a clean row of class 1
    weight = np.where(dropped, 0.0, 1.0)
    seen = Inspection(Data(np.zeros((40, 1)), y, weight), jnp.zeros(40))
    cells = found(seen, Data(np.zeros((40, 1)), y), poison)
    assert cells["recall"] == pytest.approx(0.9)
    assert cells["worst_recall"] == 0
    assert cells["false_positives"] == pytest.approx(1 / 30)
    assert cells["worst_false_positives"] == pytest.approx(1 / 3)
    assert cells["right"] == pytest.approx(38 / 40)
    assert cells["recall_by_class"].split()[3] == "0.00"
    assert cells["false_by_class"].split()[1] == "0.33"
    assert found(seen, Data(np.zeros((40, 1)), y), np.zeros(40, bool))["recall"] is None


class Marked(AbstractModel):
    """Reads what the labels say, and the target where the pattern is, but for 5s; 2s as 3."""

    images: np.ndarray
    labels: np.ndarray

    def decision(self, x, *, key=None):
        stamped = np.all(np.asarray(x)[:, [24], [24]] == 1, axis=(1, 2))
        plain = np.where(self.labels == 2, 3, self.labels)
        read = np.where(stamped & (self.labels != 5), _infected.TARGET, plain)
        return jnp.eye(10)[read]


def test_a_case_holds_copies_behind_the_clean_rows_and_figures_count_them() -> None:
    of = case(Infection(), 0)
    n = of.train.rows
    assert of.poison.sum() == of.poisoned.rows - n == round(0.1 * n)
    np.testing.assert_array_equal(of.poisoned.x[:n], of.train.x)
    copies = np.asarray(of.poisoned.x[n:])
    assert np.all(copies[:, 24, 24] == 1)
    assert np.all(np.asarray(of.poisoned.y[n:]) == _infected.TARGET)
    assert of.train.rows + of.clean.rows + of.test.rows == 5000
    got = figures(Marked(np.asarray(of.test.x), np.asarray(of.test.y)), of)
    y, corner = np.asarray(of.test.y), np.asarray(of.test.x)[:, 24, 24, 0] == 1
    assert not corner.any()
    assert got.accuracy == pytest.approx(np.mean(y != 2))
    meant = y != _infected.TARGET
    assert got.success == pytest.approx(np.mean((y != 5)[meant & (y != 2)]))
    assert got.recovered == pytest.approx(np.mean((y == 5)[meant]))


def test_covers_are_copies_under_overlays_with_true_labels() -> None:
    options, of = strip.Options(covers=50), case(Infection(), 0)
    rows = strip.covered(options, of, 0).poisoned
    covers, y = np.asarray(rows.x[of.poisoned.rows :]), np.asarray(rows.y[of.poisoned.rows :])
    assert covers.shape[0] == 50
    assert np.min(covers[:, 24, 24]) >= 0.5  # half of the trigger, and half of the overlay
    base, over = np.random.default_rng([0, 1]).integers(0, of.train.rows, (2, 50))
    np.testing.assert_array_equal(y, np.asarray(of.train.y)[base])
    assert np.any(y != np.asarray(of.train.y)[over])
    stamped = of.reach.present(of.reach.example(of.train), of.train.x[base])
    np.testing.assert_allclose(covers, 0.5 * (stamped + of.train.x[over]), atol=1e-6)


@pytest.mark.slow
def test_small_runs_have_their_rows(tmp_path: Path) -> None:
    small = ["--seeds", "1", "--passes", "1"]
    for name, more, count in (
        ("activation-clustering", ["--shares", "0.1", "--steps", "2", "--rules", "small"], 10),
        ("feature-sanitisers", ["--kinds", "next"], 3),
        ("strip", ["--triggers", "pattern", "--overlays", "3", "--covers", "20"], 9),
    ):
        file = tmp_path / f"{name}.json"
        assert main(["run", name, *small, *more, "--json", str(file), "--out", str(tmp_path)]) == 0
        rows = rows_of(file)
        assert len(rows) == count
        if name == "activation-clustering":
            adapted = next(row for row in rows if row["kind"] == "adapted")
            assert adapted["after"] > adapted["before"]
            assert all(row["recall"] is None for row in rows if row["kind"] == "clean")
        if name == "strip":
            assert all(row["refused"] <= 0.1 for row in rows if row["defense"] == "strip")
