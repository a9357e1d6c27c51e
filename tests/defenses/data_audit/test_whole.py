"""Whole audits with rows added and defenses that are known, of classes and of numbers."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine

from defenses.data_audit import audit


def mixed(n: int = 150) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"size": rng.normal(size=n), "many": rng.integers(0, 9, n),
                          "kind": rng.choice(["a", "b", "c"], n)})  # fmt: skip
    noise = 0.5 * rng.normal(size=n)
    return frame.assign(y=frame["size"] + 0.2 * frame["many"] + (frame["kind"] == "a") + noise)


@pytest.mark.slow
def test_an_audit_of_classes_with_all_that_it_has() -> None:
    frame = mixed()
    frame["y"] = np.where(frame["y"] > frame["y"].median(), "in", "out")
    report = audit(frame, "y", budget=(0.03, 0.1))
    rows: Any = pd.DataFrame([row.cells for row in report.worst])
    assert set(rows["kind"]) <= {"a", "b", "c"}
    assert rows["many"].isin(range(9)).all()
    assert rows["size"].between(frame["size"].min() - 1e-4, frame["size"].max() + 1e-4).all()
    none, *others = report.defenses
    assert none.name == "none"
    assert none.found == report.budgets[report.middle].found
    assert {d.name for d in others if d.adapted} == {"TRIM", "SEVER", "distance filter"}
    assert [c.what.split()[0] for c in report.certificates] == ["influence", "rows"]
    assert json.loads(report.to_json())["defenses"][0]["name"] == "none"


@pytest.mark.slow
def test_an_audit_of_numbers_counts_what_is_left_unexplained() -> None:
    report = audit(mixed(), "y", budget=(0.05, 0.1))
    assert report.table["task"] == "numbers"
    assert report.baseline == 1
    assert report.clean < 0.5 < report.budgets[-1].found
    assert report.influential.refused is None
    assert all(row.cells["many"] in range(9) for row in report.worst)


@pytest.mark.slow
def test_an_audit_of_three_classes_labels_alone() -> None:
    wine: Any = load_wine()
    frame = pd.DataFrame(np.asarray(wine["data"])).rename(columns=str)
    report = audit(frame.assign(y=np.asarray(wine["target"])), "y", reach="labels")
    assert report.learner["attacked"] == "softmax"
    assert report.worst == ()
    assert {attempt.name.split()[0] for attempt in report.budgets[0].attempts} == {"labels"}
