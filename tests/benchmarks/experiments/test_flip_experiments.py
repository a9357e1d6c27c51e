import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from attacks import LabelFlips
from benchmarks.experiments.classifiers import lasso_features
from benchmarks.experiments.flips import label_flips
from benchmarks.report import Report, UsageError


@pytest.mark.parametrize(
    "wrong", [{"splits": 0}, {"verify": 0}, {"budgets": (101,)}, {"budgets": ()}, {"C": 0.0}]
)
def test_impossible_flips_are_sentences(wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}: got"):
        label_flips.Options(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"rates": (0.0,)}, {"rates": ()}, {"features": 0}, {"strength": -1.0}, {"steps": 0}]
)
def test_impossible_features_are_sentences(wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}: got"):
        lasso_features.Options(**wrong)


def test_more_features_than_there_are_is_a_sentence() -> None:
    with pytest.raises(UsageError, match=r"^--features: got 30, expected fewer than 30"):
        lasso_features.run(options := lasso_features.Options(features=30), Report("a", options))


def test_the_cells_of_a_budget_are_those_of_its_flips(monkeypatch) -> None:
    """Flips made up, whose numbers say how many they are of, judged by the labels they leave."""
    made = {
        name: LabelFlips(jnp.arange(3), k + 0.1 * jnp.arange(3.0), 10 * k + jnp.arange(3), code)
        for code in [jnp.int32(0)]
        for k, name in enumerate(("random", "greedy", "ranked"))
    }

    def judge(kind, options, parts, labels) -> tuple[float, float]:
        flipped = labels != parts.train.y
        return float(flipped.sum()), float(np.flatnonzero(flipped).sum())

    monkeypatch.setattr(label_flips, "warm", lambda attack: (attack(), 0.5, 0.0))
    monkeypatch.setattr(
        label_flips, "attacks_on",
        lambda *of: {name: lambda flips=flips: flips for name, flips in made.items()},
    )  # fmt: skip
    monkeypatch.setattr(label_flips, "judge", judge)
    options = label_flips.Options(learners=("ridge",), budgets=(2, 3), splits=1, train=40)
    (few, many), notes = label_flips.make_rows(options, "ridge", 0).values()
    assert not notes
    for row, budget in ((few, 2), (many, 3)):
        assert (row["clean_val_err"], row["clean_test_err"]) == (0, 0)
        for k, name in enumerate(made):
            assert row[f"{name}_val_err"] == budget
            assert row[f"{name}_test_err"] == sum(range(budget))
            if name != "random":
                assert row[f"{name}_val_loss"] == pytest.approx(k + 0.1 * (budget - 1))
                assert row[f"{name}_trainings"] == 10 * k + budget - 1
    assert set(many) - set(few) == {f"{name}_cpu_seconds" for name in made}


@pytest.mark.slow
def test_label_flips_reports_errors_and_trainings(tmp_path: Path) -> None:
    options = label_flips.Options(
        learners=("ridge",), budgets=(2, 5), splits=2, train=40, validation=40, test=100
    )
    report = Report("label-flips", options, json_path=tmp_path / "a.json", out=tmp_path)
    label_flips.run(options, report)
    report.finish()
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [(row["split"], row["budget"]) for row in rows] == [(0, 2), (0, 5), (1, 2), (1, 5)]
    for row in rows:
        assert row["greedy_trainings"] == 40 * row["budget"]
        assert row["ranked_trainings"] == 6 * row["budget"]
        assert row["ranked_val_loss"] >= 0.99 * row["greedy_val_loss"]
        assert row["ranked_val_err"] >= row["clean_val_err"]
    for few, many in (rows[:2], rows[2:]):
        for name in ("greedy", "ranked"):
            assert few[f"{name}_val_loss"] < many[f"{name}_val_loss"]
    assert (tmp_path / "label-flips.png").stat().st_size > 10_000


def test_lasso_features_reports_errors_and_stability(tmp_path: Path) -> None:
    options = lasso_features.Options(
        learners=("lasso",), rates=(0.2,), splits=2, train=60, validation=60, steps=15
    )
    report = Report("lasso-features", options, json_path=tmp_path / "a.json", out=tmp_path)
    lasso_features.run(options, report)
    report.finish()
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [(row["split"], row["points"]) for row in rows] == [(0, 15), (1, 15)]
    for row in rows:
        assert row["attack_test_err"] > row["clean_test_err"]
        assert all(-1 <= row[f"{name}_stability"] <= 1 for name in lasso_features.POISONS)
        assert row["clean_across"] == rows[0]["clean_across"]
    assert (tmp_path / "lasso-features.png").stat().st_size > 10_000
