"""Matching of learners, the order of suspicious rows, signs, and pictures."""

import xml.etree.ElementTree as ET
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import bilevel
from bilevel import Data
from bilevel.learners import Logistic
from defenses.data_audit.audit import standard_error
from defenses.data_audit.bound import _spread
from defenses.data_audit.certified import Inserted, certify_damage
from defenses.data_audit.charts import damage_chart, defense_chart
from defenses.data_audit.damage import by_group
from defenses.data_audit.defending import offered
from defenses.data_audit.indicators import indicators
from defenses.data_audit.influence import Influence
from defenses.data_audit.ingest import ingest
from defenses.data_audit.judge import Judge, Parts, Poison, Rows, parts_of
from defenses.data_audit.match import match
from defenses.data_audit.ranking import FOLDS, LOOSE, Doubts, ranked
from defenses.data_audit.reading import TableError
from defenses.data_audit.report import Attempt, Budget, Defended

SHAPE = 100, 4


@pytest.mark.parametrize(
    ("learner", "classes", "name", "frames", "surrogate"),
    [
        ("auto", 2, "logistic", False, False),
        ("auto", 5, "softmax", False, False),
        ("auto", 0, "ridge", False, False),
        (LogisticRegression(C=3.0), 2, "logistic", False, False),
        (make_pipeline(StandardScaler(), SVC(kernel="linear")), 2, "svm", True, False),
        (GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {}), 0, "ridge", True, False),
        (Lasso(0.5), 0, "lasso", False, False),
        (SVC(), 2, "logistic", False, True),
        (SVC(kernel="linear"), 3, "softmax", False, True),
        (RidgeClassifier(), 2, "ridge", False, False),
        (RidgeClassifier(), 3, "softmax", False, True),
        (RandomForestClassifier(), 2, "logistic", False, True),
    ],
)
def test_a_judge_is_attacked_by_the_learner_that_matches(
    learner, classes, name, frames, surrogate
) -> None:
    found = match(learner, "classes" if classes else "numbers", classes, SHAPE)
    assert (found.name, found.takes_frames, "surrogate" in found.remark) == (
        name, frames, surrogate,
    )  # fmt: skip
    if isinstance(learner, LogisticRegression):
        ours = found.ours(100)
        assert isinstance(ours, Logistic)
        assert float(ours.l2) == pytest.approx(1 / 300)
        assert found.twin().C == 3.0


@pytest.mark.parametrize(
    ("learner", "classes", "strength", "words"),
    [
        (
            LogisticRegression().set_params(C=np.int64(3)),
            2,
            3.0,
            "of the strength of LogisticRegression.",
        ),
        (LogisticRegression(C=np.inf), 2, 1.0, "C = 1, other than LogisticRegression may have."),
        (LogisticRegressionCV(), 2, 1.0, "C = 1, other than LogisticRegressionCV may have."),
        (Ridge().set_params(alpha=np.float32(0.5)), 0, 0.5, "of the strength of Ridge."),
        (Ridge(0.0), 0, 1.0, "alpha = 1, other than Ridge may have."),
        (LinearRegression(), 0, 1e-6, "of the strength of LinearRegression."),
    ],
)
def test_the_strength_of_the_attacked_learner_is_told_as_it_is(
    learner, classes, strength, words
) -> None:
    found = match(learner, "classes" if classes else "numbers", classes, SHAPE)
    assert getattr(found.twin(), "C" if classes else "alpha") == strength
    assert found.remark.endswith(words)


def test_a_lasso_of_the_user_gets_numbers_in_their_units_and_ours_is_as_strong() -> None:
    table = ingest(flowers(False), "y")
    parts, learner = parts_of(table, 0), Lasso(0.05)
    judge = Judge(table, match(learner, "numbers", 0, SHAPE, spread=2.4))
    theirs = judge.fit(parts.train)
    by_hand: Any = clone(learner)
    by_hand.fit(parts.train.x, flowers(False)["y"].iloc[parts.train.like])
    np.testing.assert_allclose(theirs.coef_, by_hand.coef_, rtol=1e-9)
    ours = judge.match.twin().fit(parts.train.x, parts.train.y)
    np.testing.assert_allclose(2.4 * ours.coef_, theirs.coef_, rtol=1e-2, atol=1e-3)
    assert "RandomForest" in match(RandomForestClassifier(), "classes", 2, SHAPE).remark


def test_equal_weights_of_training_rows_count_where_others_differ() -> None:
    table = ingest(flowers(False), "y")
    judge, train = Judge(table, match("ridge", "numbers", 0, SHAPE)), parts_of(table, 0).train
    heavy = judge.fit(train._replace(weight=np.full(train.y.size, 5.0)))
    np.testing.assert_allclose(heavy.coef_, Ridge(1 / 5).fit(train.x, train.y).coef_)


@pytest.mark.parametrize("learner", [Ridge(), "lasso", "svm"])
def test_a_judge_of_another_task_is_refused(learner) -> None:
    with pytest.raises(TableError, match="learner"):
        match(learner, "classes", 3, SHAPE)


def test_the_error_of_a_mean_counts_rows_by_their_weights() -> None:
    misses = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    assert standard_error(misses, np.full(5, 3.0)) == pytest.approx(misses.std() / 5**0.5)
    weight = np.array([1.0, 1.0, 1.0, 1.0, 0.0])  # a row without weight is none
    assert standard_error(misses, weight) == pytest.approx(misses[:4].std() / 2)


def flowers(classes: bool) -> pd.DataFrame:
    iris: Any = load_iris(as_frame=True)
    frame = iris.frame
    frame.columns = [*"abcd", "y"]
    return frame if classes else frame.drop(columns="y").rename(columns={"d": "y"})


@pytest.mark.parametrize("classes", [True, False])
def test_wrong_labels_come_first(classes: bool) -> None:
    frame = flowers(classes)
    wrong = np.array([3, 40, 60, 110, 149])
    flipped = (frame["y"] + 1) % 3 if classes else frame["y"].max() * 2 - frame["y"]
    frame.loc[wrong, "y"] = flipped[wrong]
    table = ingest(frame, "y")
    matched = match("auto", table.task, len(table.classes), SHAPE)
    found = ranked(table, matched, 0)
    assert found.wrong[wrong].sum() >= 3  # 110 and 149 are near the threshold of their class
    assert found.wrong.sum() < 15
    assert set(wrong) <= set(np.argsort(-found.score)[:9])


@pytest.mark.stand_ins
@pytest.mark.parametrize(("name", "strength"), [("C", 0.5), ("alpha", 8.0)])
def test_stiffer_judges_have_so_many_times_the_penalty_and_the_weights_of_their_rows(
    name: str, strength: float
) -> None:
    asked = []

    class Twin:
        def __init__(self):
            setattr(self, name, 2.0)

        def set_params(self, **settings):
            asked.append(settings)

        def fit(self, x, y, sample_weight=None):
            asked[-1] |= {"rows": x[:, 0].astype(int), "y": y, "weight": sample_weight}

        def predict(self, x):
            return np.zeros(len(x))

    x, y, weight = np.arange(40.0)[:, None], np.linspace(0, 2, 40), np.linspace(0.5, 1.5, 40)
    twins: Any = SimpleNamespace(twin=Twin)
    doubts = Doubts(x, y, weight, twins, 0, 0)
    asked.clear()
    keep = np.arange(40) % 5 > 0
    residual, told = doubts.of(keep, 4.0)
    assert len(asked) == FOLDS
    for settings, (train, _) in zip(asked, doubts.folds, strict=True):
        rows = train[keep[train]]
        assert settings["tol"] == LOOSE
        assert settings[name] == strength
        np.testing.assert_array_equal(settings["rows"], rows)
        np.testing.assert_array_equal(settings["y"], y[rows])
        np.testing.assert_array_equal(settings["weight"], weight[rows])
    assert not told.any()
    spread = 1.4826 * np.median(np.abs(y - np.median(y)))
    np.testing.assert_allclose(residual, np.abs(y) / spread)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_defenses_on_offer_are_told_the_share_around_both_models(classes: int) -> None:
    labels = {0: (), 2: (-1.0, 1.0), 3: (0.0, 1.0, 2.0)}[classes]
    ours = bilevel.learners.Ridge(0.1)
    for defense in offered(classes, 100):
        theirs = defense.sklearn(Ridge(), 0.07)
        assert isinstance(theirs.estimator, Ridge)
        assert theirs.__class__.__name__.endswith("Regressor" if classes == 0 else "Classifier")
        assert getattr(theirs, "contamination", 0.07) == 0.07
        if defense.ours is not None:
            made = defense.ours(ours, 0.07)
            assert theirs.__class__.__name__.startswith(type(made).__name__)
            assert (made.contamination, made.learner) == (0.07, ours)
            assert getattr(made, "classes", labels) == labels


def test_near_copies_with_another_label_are_seen_across_the_edges_of_a_cell() -> None:
    frame = flowers(True)
    copy = frame.iloc[[100]].assign(y=0, a=frame["a"][100] - 3e-3)
    table = ingest(pd.concat([frame, copy], ignore_index=True), "y")
    found = ranked(table, match("auto", "classes", 3, SHAPE), 0)
    assert found.copies[100] == found.copies[150] == 1
    assert found.copies.sum() == 2


@pytest.mark.parametrize("classes", [True, False])
def test_signs_are_numbers_with_a_line_each(classes: bool) -> None:
    table = ingest(flowers(classes), "y")
    judge = Judge(table, match("auto", table.task, len(table.classes), SHAPE))
    signs = {sign.name: sign for sign in indicators(judge, parts_of(table, 0))}
    assert signs["training rows for each feature"].value == pytest.approx(90 / (3 + classes))
    assert all(sign.value is not None and np.isfinite(sign.value) for sign in signs.values())
    assert all(sign.line.endswith(".") for sign in signs.values())


@pytest.mark.parametrize("certified", [None, 0.4])
def test_pictures_are_sound_svg_and_a_certificate_makes_a_band(certified) -> None:
    budgets = [
        Budget(share, 3, found, "a", 0.02, 0.0, certified, (Attempt("a", found, found),))
        for share, found in ((0.01, 0.05), (0.1, 0.3))
    ]
    text = damage_chart(budgets, 0.01)
    kinds = [element.get("class") for element in ET.fromstring(text).iter()]
    assert kinds.count("band") == (certified is not None)
    bars = [Defended(name, 0.1, 0.2, 0.3, 0.3, True, 1, 2, 3) for name in ("none", "<b>&")]
    picture = ET.fromstring(defense_chart(bars))
    assert [e.get("class") for e in picture.iter()].count("bar-found") == 2
    assert "<b>&" in [e.text for e in picture.iter()]


@pytest.mark.stand_ins
def test_leaving_out_counts_equal_weights_of_another_size() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)), np.where(rng.random(40) < 0.5, 1.0, -1.0)
    rows = Rows(x, y, np.full(40, 3.0), np.arange(40))
    held = Rows(x[:9], y[:9], np.ones(9), np.arange(9))
    matched = match("auto", "classes", 2, x.shape)
    losses = []
    for kept in (np.arange(40), np.arange(1, 40)):
        model: Any = LogisticRegression(C=3.0, tol=1e-10)
        f = model.fit(x[kept], y[kept]).decision_function(held.x)
        losses.append(np.mean(np.logaddexp(0, -held.y * f)))
    certificate: Any = None
    found = Influence(matched, rows, held, -y, certificate).exact_removal(np.array([0]))
    np.testing.assert_allclose(found, losses[1] - losses[0], rtol=1e-3)


def weighed(labels: np.ndarray) -> tuple[Rows, Rows]:
    """Rows of which one weighs 2 and one 0, and with the first in the place of both."""
    rng = np.random.default_rng(3)
    x, weight = rng.normal(size=(30, 2)), rng.uniform(0.5, 1.5, 30)
    weight[[4, 29]] = 2, 0
    once = Rows(x, labels, weight, np.arange(30))
    order = np.r_[np.arange(29), 4]
    return once, once.take(order)._replace(weight=np.where(np.isin(order, 4), 1, weight))


@pytest.mark.parametrize("squared", [True, False])
def test_a_row_of_weight_two_is_the_row_twice_to_bounds_errors_and_groups(squared) -> None:
    rng = np.random.default_rng(4)
    names = np.where(np.arange(30) % 2, "a", "b")
    labels = rng.normal(size=30) if squared else np.where(rng.random(30) < 0.5, 1.0, -1.0)
    once, twice = weighed(labels)
    table = pd.DataFrame(once.x, columns=["p", "q"]).assign(y=labels if squared else labels > 0)
    ready = ingest(table, "y")
    judge = Judge(ready, match("auto", ready.task, len(ready.classes), (30, 2)))
    model: Any = (Ridge() if squared else LogisticRegression()).fit(once.x, labels)
    assert judge.error(model, once) == pytest.approx(judge.error(model, twice))
    assert judge.error(model, once) != pytest.approx(
        judge.error(model, once._replace(weight=np.ones(30))), rel=1e-3
    )
    found = [
        by_group(judge, Parts(once, once, rows), Poison("none"), names)[0]
        for rows in (once, twice._replace(like=twice.like))
    ]
    for one, two in zip(*found, strict=True):
        assert one.clean == pytest.approx(two.clean)
    if squared:
        assert _spread(once) == pytest.approx(_spread(twice))
    learner = bilevel.learners.Ridge(0.1) if squared else Logistic(0.1)
    reach = Inserted(np.full(2, -1.0), np.ones(2))
    bounds = [
        certify_damage(learner, Data(rows.x, rows.y, rows.weight),
                       Data(test.x, test.y, test.weight), 2, reach)
        for rows, test in ((once, once), (twice, once), (once, twice))
    ]  # fmt: skip
    for bound in bounds[1:]:
        assert bound is not None
        assert bounds[0] is not None
        np.testing.assert_allclose(bound.loss, bounds[0].loss, rtol=1e-6)
        np.testing.assert_allclose(bound.clean_loss, bounds[0].clean_loss, rtol=1e-6)
