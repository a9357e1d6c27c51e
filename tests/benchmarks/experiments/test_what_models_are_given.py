"""Stubs in place of trainings say what they were given: rows and labels of which role, how much
poison, which strength.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from given import Recorder
from roles import drawn

import benchmarks.experiments.classifiers._poisoned_classifiers as classifiers
import benchmarks.experiments.fairness._shares as shares
import benchmarks.experiments.regression._poisoned_regression as regression
from benchmarks.experiments.audit import leave_one_out, row_ranking
from benchmarks.experiments.classifiers import lasso_features, targeted_mnist
from benchmarks.experiments.fairness import fairness_synthetic
from benchmarks.experiments.flips import label_flips, label_sanitisation
from benchmarks.experiments.scale import restarts
from benchmarks.experiments.transfer import transfer
from benchmarks.experiments.tuning import hyperparameters
from benchmarks.twins import Twin

LABELLED, TARGETS = drawn(), drawn(targets=True)
ANY: Any = SimpleNamespace(train=None)


class Told(Exception):
    """How many rows a learner is for."""


def tells(strengths: Any, rows: int) -> Any:
    raise Told(rows)


COUNTED = {
    "classifiers": (
        classifiers, "CLASSIFIERS", 25 + 4,
        lambda: classifiers.attack("ridge", LABELLED, np.arange(4), 1),
    ),
    "features": (
        lasso_features, "REGRESSIONS", 20 + 5,
        lambda: lasso_features._attacked(
            "ridge", 0.2, lasso_features.Options(train=20), [LABELLED]
        ),
    ),
    "regressions": (
        regression, "REGRESSIONS", 25 + 3,
        lambda: regression.attacks_of(
            "ridge", regression.Options(train=25), [TARGETS],
            [regression.rows_of(TARGETS.train.x[:3], TARGETS.train.y[:3])],
        )(),
    ),
    "regressions, StatP": (
        regression, "REGRESSIONS", 25,
        lambda: regression.starts("ridge", regression.Options(train=25), TARGETS, 3, 0),
    ),
    "transfer": (
        transfer, "TWINS", transfer.TRAIN + 5,
        lambda: transfer.programs("ridge", transfer.Options(points=5)).craft(
            None, *((t.x[None], t.y[None]) for t in LABELLED[:2]), LABELLED.train.x[None, :5]
        ),
    ),
    "fairness": (
        shares, "TWINS", 30 + 10,
        lambda: fairness_synthetic.Options(train=30).setting(ANY, 0.25, 0),
    ),
    "restarts": (
        restarts, "CLASSIFIERS", 25 + 1,
        lambda: restarts.make_rows(restarts.Options(), "ridge", 0),
    ),
    "flips": (
        label_flips, "CLASSIFIERS", 30,
        lambda: label_flips.learner("ridge", label_flips.Options(train=30, budgets=(3,))),
    ),
    "sanitised flips": (
        label_sanitisation, "CLASSIFIERS", 30,
        lambda: label_sanitisation.learner(
            "svm", label_sanitisation.Options(train=30, budgets=(3,))
        ),
    ),
}  # fmt: skip
"""Where `Twin.ours` is made, and for how many rows: with those that are added, which are trained on
alike.
"""


@pytest.mark.parametrize("name", COUNTED)
def test_learners_are_as_strong_as_their_twins_of_all_rows(name, monkeypatch) -> None:
    module, table, expected, run = COUNTED[name]
    twin = Twin(tells, lambda strengths: None)
    stubs = getattr(module, table) | dict.fromkeys(("ridge", "svm", "logistic"), twin)
    monkeypatch.setattr(module, table, stubs)
    split = SimpleNamespace(
        train=(LABELLED.train.x, LABELLED.train.y),
        validation=(LABELLED.validation.x, LABELLED.validation.y),
    )
    monkeypatch.setattr(restarts, "begin", lambda options, number: (split, LABELLED.train.x[:4]))
    with pytest.raises(Told) as told:
        run()
    assert told.value.args == (expected,)


def test_the_twin_of_softmax_is_as_strong_with_poison(monkeypatch) -> None:
    """Its success is of the source's test digits, its other errors are of the others."""
    given = []

    def retrained(model, *parts):
        given.append((model.C, sum(len(part.y) for part in parts), parts[1].y))
        return SimpleNamespace(predict=lambda x: np.array([3, 3, 8, 8, 3, 1, 0, 0]))

    monkeypatch.setattr(targeted_mnist, "LogisticRegression", Recorder)
    monkeypatch.setattr(targeted_mnist, "retrained", retrained)
    options = targeted_mnist.Options(l2=0.05)
    train = np.zeros((40, 5)), np.arange(40) % 10
    test = np.zeros((8, 5)), np.array([8, 8, 8, 8, 8, 1, 2, 3])
    for count in (0, 10):
        found = targeted_mnist.outcome(options, train, test, np.ones((count, 5)))
        C, rows, labels = given[-1]
        assert rows == 40 + count
        assert set(labels) <= {3}
        assert C * rows * options.l2 == pytest.approx(1)
        assert found == {"success": 3 / 5, "source_err": 3 / 5, "rest_err": 2 / 3}


def test_the_judge_of_planted_rows_trains_with_them_and_errs_on_test_rows() -> None:
    class Judge:
        def fit(self, rows):
            return f"model of {rows}"

        def error(self, model, rows):
            return f"{model} on {rows}"

    poison: Any = SimpleNamespace(into=lambda rows: f"{rows} and poison")
    parts = SimpleNamespace(train="train", choose="choose", test="test")
    found = row_ranking._error(Judge(), poison, parts)  # pyright: ignore
    assert found == "model of train and poison on test"


def test_losses_without_a_row_are_of_rows_that_it_is_left_out_of(monkeypatch) -> None:
    """Trained without it, judged on rows that are chosen by; the rise is above all rows."""
    options = leave_one_out.Options(tables=("wine",), left_out=6, splits=1)
    trained: list[Any] = []

    class Twin:
        def fit(self, x, y):
            trained.append(x)
            return SimpleNamespace(number=len(trained), rows=len(y))

    held = []

    def mean_loss(model, rows) -> float:
        held.append(len(rows.y))
        return float(np.sin(model.number))

    every: dict[str, int] = {}
    parts_of = leave_one_out.parts_of

    def parts(*args):
        found = parts_of(*args)
        every.update({name: getattr(found, name).y.size for name in ("train", "choose", "test")})
        return found

    def pairs(model, x, y, held_x, held_y, *more):
        rises = np.zeros(len(y))
        which = np.random.default_rng(1).permutation(len(y))[:6]
        rises[which] = np.sin(np.arange(2, 8)) - np.sin(1)
        assert len(held_y) == every["choose"]
        return rises[:, None]

    monkeypatch.setattr(leave_one_out, "match", lambda *a: SimpleNamespace(twin=Twin))
    monkeypatch.setattr(leave_one_out, "mean_loss", mean_loss)
    monkeypatch.setattr(leave_one_out, "parts_of", parts)
    monkeypatch.setattr(leave_one_out, "leave_one_out", pairs)
    monkeypatch.setattr(
        leave_one_out, "influence_pairs", lambda *a: SimpleNamespace(value=2 * pairs(*a))
    )
    (row,) = leave_one_out.make_rows(options, "wine", 1)["rows"]
    assert [len(x) for x in trained] == [row["rows"], *[row["rows"] - 1] * 6]
    assert row["rows"] == every["train"]
    assert set(held) == {every["choose"]} != {every["test"]}
    assert row["newton_correlation"] == pytest.approx(1)
    assert row["newton_error"] == pytest.approx(0, abs=1e-12)
    assert row["derivative_error"] == pytest.approx(1)


def test_penalties_are_judged_on_test_rows_by_weights_of_all_training_rows(monkeypatch) -> None:
    data = hyperparameters.split("breast-cancer", seed=0, folds=3)
    given = []

    def trained(data, l2):
        given.append(l2)
        return np.r_[0.3, np.zeros(data.rows.shape[1] - 1)]

    monkeypatch.setattr(hyperparameters, "trained", trained)
    found = hyperparameters.outcome(data, np.log([0.25, 4.0]))
    np.testing.assert_allclose(given[0], [0.25, 4.0])
    assert found["test_err"] == pytest.approx(np.mean(data.test_labels < 0))
    loss = np.mean(np.log1p(np.exp(-0.3 * data.test_labels)))
    assert found["test_loss"] == pytest.approx(loss)
    assert (found["least_l2"], found["most_l2"]) == (pytest.approx(0.25), pytest.approx(4.0))
    assert np.mean(data.test_labels < 0) != np.mean(data.labels < 0)


def test_the_judge_of_features_has_the_strength_for_all_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = []

    def theirs(strengths: Any) -> Any:
        given.append(strengths)
        return SimpleNamespace(coef_=np.array([0.0, 3.0, -1.0, 0.5]))

    def errors(model: Any, *told: Any, error: Any) -> tuple[float, float]:
        assert told == (LABELLED, poison)
        assert error is lasso_features.wrong_sign
        return 0.25, 0.5

    twin = SimpleNamespace(theirs=theirs)
    monkeypatch.setattr(lasso_features, "REGRESSIONS", {"ridge": twin, "lasso": twin})
    monkeypatch.setattr(lasso_features, "errors", errors)
    options = lasso_features.Options(strength=0.5, features=2)
    poison = lasso_features.Poison(LABELLED.train.x[:3], LABELLED.train.y[:3])
    for kind in ("ridge", "lasso"):
        found = lasso_features.judge(kind, options, LABELLED, poison)
        assert (found.val, found.test, found.nonzero) == (0.25, 0.5, 3)
        np.testing.assert_array_equal(np.sort(found.chosen), [1, 2])
    assert [strengths.alpha for strengths in given] == [0.5 * (25 + 3), 0.5]
