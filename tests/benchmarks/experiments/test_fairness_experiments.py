"""The experiments on fairness: their rows, their figures, and who sees which rows."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import benchmarks.experiments.fairness._attackers as attackers
import benchmarks.experiments.fairness._defended as defended
import defenses
from attacks import Columns, fairness
from benchmarks.experiments.fairness import fairness_synthetic
from benchmarks.experiments.fairness._cases import (
    Audited,
    Sizes,
    framed,
    gaussians,
    synthetic,
    together,
)
from benchmarks.experiments.fairness._shares import cells
from benchmarks.experiments.fairness._victims import FAIR, reweighed
from benchmarks.report import Report, UsageError

SMALL = Sizes(40, 30, 60)
TINY = fairness_synthetic.Options(
    shares=(0.2,), seeds=2, train=60, validation=50, test=200, steps=2, distances=(3.0,)
)


def test_the_gaussians_have_the_moments_of_the_paper_and_groups_that_follow_the_place() -> None:
    rows = gaussians(np.random.default_rng(0), 40_000, 5.0)
    for label, mean, covariance in (
        (1, [2.0, 2.0], [[5, 1], [1, 5]]),
        (-1, [2 - 5 / 2**0.5] * 2, [[10, 1], [1, 3]]),
    ):
        x = rows.x[rows.y == label]
        np.testing.assert_allclose(x.mean(axis=0), mean, atol=0.1)
        np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.3)
    inside = rows.group == 1
    found = fairness.report(rows.y, rows.y, rows.group).between(0, 1)
    assert found.parity_difference < -0.25  # of the labels: group 1 is privileged
    assert 0.3 < inside.mean() < 0.6


FRAME = pd.DataFrame(
    {
        "label": np.where(np.arange(160) % 3 > 0, "b: yes", "a: no"),
        "sex": np.where(np.arange(160) % 2, "b", "a"),
        "age": np.arange(160.0),
        "kind": np.array(["x", "y", "z"])[np.arange(160) % 3],
    }
)


def test_a_frame_gives_disjoint_parts_with_groups_that_the_attacker_may_choose() -> None:
    load = framed(FRAME, "sex")
    case = load(SMALL, 0)
    ages = [set(part.x[:, 1]) for part in case[:4]]
    assert [len(a) for a in ages] == [40, 40, 30, 50]
    assert sum(map(len, ages)) == len(set.union(*ages))
    assert isinstance(case.domain, Columns)
    assert case.protected == 0
    np.testing.assert_array_equal(case.test.group, case.test.x[:, 0])
    with pytest.raises(UsageError, match="--train, --validation: two times 80 and 30 rows"):
        load(Sizes(80, 30, 60), 0)
    wide = defended.with_group(case)
    assert (case.train.x.shape[1], wide.protected) == (4, 3)
    np.testing.assert_array_equal(wide.train.x[:, -1], case.train.group)
    np.testing.assert_array_equal(wide.train.x[:, 0], case.train.x[:, 1])
    halfway = wide.domain.place(jnp.full((2, 4), 0.6))
    np.testing.assert_allclose(halfway, [[0.6, 1.0, 0.0, 1.0]] * 2)


def test_figures_are_those_of_the_test_rows() -> None:
    case = synthetic(3.0)(SMALL, 0)
    model = LogisticRegression().fit(case.train.x, case.train.y)
    found, test = cells(model, case.test), case.test
    predicted = model.predict(test.x)
    rate = [np.mean(predicted[test.group == g] > 0) for g in (0, 1)]
    np.testing.assert_allclose(found["impact"], rate[0] / rate[1])
    np.testing.assert_allclose(found["test_err"], np.mean(predicted != test.y))
    refused = predicted[(test.group == 0) & (test.y > 0)] < 0
    np.testing.assert_allclose(found["fnr_0"], refused.mean())


def test_reweighing_makes_group_and_label_independent() -> None:
    """On rows without features all that is left is the weighted share of a label."""
    group = np.repeat([0, 1], 50)
    y = np.where(np.arange(100) < 30, -1.0, 1.0)
    train = Audited(group[:, None].astype(float), y, group)
    assert set(reweighed(train, train, 0)) == {1}  # unweighted, group 0 would be refused
    assert set(FAIR["unconstrained"](train, train, 0)) == {-1, 1}


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attackers that do not climb, and few victims."""

    def stays(setting: attackers.Setting, goal: Any, options: list) -> Audited:
        del goal
        return attackers.planted(options[0], setting.count)

    monkeypatch.setattr(attackers, "climbed", stays)
    for name in ("error", "mistakes"):
        monkeypatch.setattr(attackers.Setting, name, lambda setting, poison=None: 0.3)
    monkeypatch.setattr(defended, "better", lambda setting, victim, *poisons: poisons[-1])
    monkeypatch.setattr(defended, "DEFENSES", {"duplicates": defenses.Duplicates})
    for name, kept in (("BLACK_BOXES", ("logistic", "knn")), ("FAIR", ("unconstrained",))):
        every = getattr(defended, name)
        monkeypatch.setattr(defended, name, {n: every[n] for n in kept})


@pytest.mark.slow
def test_a_run_has_a_row_per_attacker_share_and_draw(standing, tmp_path: Path) -> None:
    report = Report("a", TINY, json_path=tmp_path / "a.json", out=tmp_path)
    fairness_synthetic.run(TINY, report)
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    tables = {name: [r for r in rows if r["table"] == name] for name in {r["table"] for r in rows}}
    every = len(attackers.ATTACKERS)
    assert len(tables["shares"]) == 2 * (1 + every + len(attackers.RIVALS) + 2)
    assert len(tables["distances"]) == 2 * len(fairness_synthetic.SWEPT)
    assert len(tables["black-box"]) == 2 * 2 * len(defended.POISONS)
    assert len(tables["defended"]) == len(tables["fair"]) == 2 * (1 + len(defended.POISONS))
    assert any(text.startswith("impact at the error of influence") for text in report.notes)
    assert (tmp_path / "fairness-synthetic.png").stat().st_size > 20_000
    assert (tmp_path / "fairness-plane.png").stat().st_size > 20_000


@pytest.mark.slow
def test_the_directed_attacks_go_where_they_want_and_the_capped_one_costs_less() -> None:
    options = fairness_synthetic.Options(seeds=1, test=2000)
    case = synthetic(3.0)(options.sizes, 0)
    setting = options.setting(case, 0.2, 0)
    found = {"none": cells(LogisticRegression().fit(*case.train[:2]), case.test)}
    for name in ("random-flips", "group-flips", "impact", "impact-1-point", "hide", "reverse"):
        poison = attackers.ATTACKERS[name](setting)
        rows = together(case.train, poison)
        found[name] = cells(LogisticRegression().fit(*rows[:2]), case.test)
    impact = {name: cell["impact"] for name, cell in found.items()}
    assert impact["impact"] < impact["impact-1-point"] < impact["group-flips"]
    assert impact["none"] < impact["hide"] < impact["reverse"]
    assert found["impact-1-point"]["test_err"] < found["impact"]["test_err"]
    moved = {name: abs(value - impact["none"]) for name, value in impact.items()}
    assert moved["impact"] > 2 * moved["random-flips"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shares": ()}, "--shares: got none"),
        ({"share": 1.0}, "--share: got 1.0"),
        ({"tables": ()}, "--tables: got none"),
        ({"distance": 0.0}, "--distance: got 0.0"),
        ({"steps": 0}, "--steps: got 0"),
    ],
)
def test_options_that_make_no_sense_are_sentences(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        fairness_synthetic.Options(**wrong)
    assert str(caught.value).startswith(said)
