"""Estimators in use: frames, pipelines, messages, bad input."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import ClassifierTags, get_tags
from test_estimators import fitted, labels, numbers, real

from defenses import estimators
from defenses.estimators import (
    FilterRegressor,
    MicroModelsClassifier,
    PartitionClassifier,
    RelabelClassifier,
    RoniClassifier,
    RoniRegressor,
    SeverClassifier,
    SeverRegressor,
    TrimClassifier,
    TrimRegressor,
)


@pytest.mark.parametrize("name", [n for n in vars(estimators) if n[0].isupper()])
@pytest.mark.parametrize("takes", [True, False])
def test_what_rows_may_be_is_what_the_estimator_takes_unless_they_are_measured(name, takes):
    class Told(BaseEstimator):
        def __sklearn_tags__(self):
            tags = super().__sklearn_tags__()
            tags.classifier_tags = ClassifierTags(multi_class=takes)
            tags.input_tags.sparse = tags.input_tags.allow_nan = takes
            tags.input_tags.positive_only = takes
            return tags

    measures = name.startswith(("Filter", "Sever", "Relabel", "Duplicates"))
    tags = get_tags(getattr(estimators, name)(Told()))
    assert tags.input_tags.sparse == (takes and not measures)
    assert tags.input_tags.allow_nan == (takes and not measures)
    assert tags.input_tags.positive_only == takes
    if name.endswith("Classifier"):
        assert tags.classifier_tags is not None
        assert tags.classifier_tags.multi_class == takes


def test_frames_keep_their_type_names_and_index():
    x, y, _ = numbers()
    index = [f"row {i}" for i in range(60)]
    frame = pd.DataFrame(x, index, ["a", "b", "c"])
    target = pd.Series(y, index, name="price")
    trim: Any = TrimRegressor(make_pipeline(StandardScaler(), Ridge()), 0.2)
    found: Any = trim.fit_resample(frame, target)
    kept, targets = found
    pd.testing.assert_frame_equal(kept, frame.loc[trim.support_mask_])
    pd.testing.assert_series_equal(targets, target.loc[trim.support_mask_])
    assert trim.feature_names_in_.tolist() == ["a", "b", "c"]
    assert trim.estimator_.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(trim.predict(frame), fitted(trim, x, y).predict(x), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["str", "category"])
def test_relabelled_rows_keep_the_type_of_their_labels(dtype):
    x, y, flipped = labels()
    frame = pd.DataFrame(x, columns=["a", "b"])
    target = pd.Series(np.where(y == 1, "spam", "ham"), name="kind").astype(dtype)
    relabel = RelabelClassifier(GaussianNB(), agreement=0.5)
    rows, told = relabel.fit_resample(frame, target)
    pd.testing.assert_frame_equal(rows, frame)
    assert told.dtype == target.dtype
    assert told.name == "kind"
    np.testing.assert_array_equal(told != target, flipped)
    np.testing.assert_array_equal(relabel.relabelled_, flipped)
    expected = "kept 90 of 90 rows, relabelled 12"
    expected += " (unchanged: 87 % of class ham, 87 % of class spam); 0 trainings"
    assert relabel.message_ == expected
    np.testing.assert_array_equal(relabel.fit_resample(x, y)[1], relabel.labels_)


def test_a_grid_search_over_a_pipeline_runs():
    x, y, _ = numbers()
    pipeline = make_pipeline(StandardScaler(), TrimRegressor(Ridge()))
    grid = {
        "trimregressor__estimator__alpha": [0.1, 100.0],
        "trimregressor__contamination": [0, 0.2],
    }
    search = GridSearchCV(pipeline, grid, cv=3, scoring="neg_median_absolute_error").fit(x, y)
    best = search.best_estimator_.named_steps["trimregressor"]
    assert (best.contamination, best.estimator_.alpha) == (0.2, 0.1)


def test_the_message_says_whether_there_is_a_gap():
    x, y, _ = numbers()
    message = TrimRegressor(LinearRegression(), 0.2).fit(x, y).message_
    assert message.startswith(
        "kept 48 of 60 rows; 4 trainings; the least suspect row dropped scores"
    )
    assert "no gap" not in message
    assert "no gap" in TrimRegressor(LinearRegression(), 0.3).fit(x, y).message_
    with pytest.raises(AttributeError, match="not fitted"):
        _ = TrimRegressor(Ridge()).message_


def test_they_predict_in_the_ways_of_their_estimator():
    x, y, _ = labels()
    plain = TrimClassifier(RidgeClassifier())
    assert not hasattr(plain, "predict_proba")
    plain.fit(x, y)
    np.testing.assert_array_equal(plain.decision_function(x), plain.estimator_.decision_function(x))
    sure = TrimClassifier(LogisticRegression()).fit(x, y)
    np.testing.assert_array_equal(sure.predict_proba(x), sure.estimator_.predict_proba(x))
    np.testing.assert_allclose(sure.predict_log_proba(x), np.log(sure.predict_proba(x)))
    np.testing.assert_array_equal(sure.classes_, [0, 1])


def test_trim_warns_while_the_rows_kept_still_change():
    x, y, _ = numbers()
    with pytest.warns(ConvergenceWarning, match="max_trainings=1 trainings"):
        TrimRegressor(Ridge(), 0.2, max_trainings=1).fit(x, y)


X, Y, _ = numbers()
LABELS = np.sign(Y)


class Mute(BaseEstimator):
    """A classifier that only predicts."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


@pytest.mark.parametrize(
    ("estimator", "y", "sentence"),
    [
        (TrimRegressor(Ridge(), 1), Y, r"^contamination: got 1, expected a share"),
        (TrimRegressor(Ridge(), restarts=-1), Y, r"^restarts: got -1, .* at least 0"),
        (TrimRegressor(Ridge(), max_trainings=0), Y, r"^max_trainings: got 0"),
        (TrimClassifier(Mute()), LABELS, r"^estimator: got Mute\(\), expected a classifier with"),
        (FilterRegressor(Ridge(), contamination=-0.1), Y, r"^contamination: got -0.1"),
        (RelabelClassifier(GaussianNB(), k=0), LABELS, r"^k: got 0, .* at least 1"),
        (RelabelClassifier(GaussianNB(), agreement=2), LABELS, r"^agreement: got 2"),
        (RoniRegressor(Ridge(), draws=0), Y, r"^draws: got 0"),
        (RoniClassifier(GaussianNB()), np.arange(3), r"^y: got 3 classes in 3 rows"),
        (MicroModelsClassifier(GaussianNB(), models=1), LABELS, r"^models: got 1, .* at least 2"),
        (SeverRegressor(Ridge(), rounds=0), Y, r"^rounds: got 0, expected a whole number"),
        (SeverClassifier(GaussianNB()), LABELS, r"^estimator: got GaussianNB\(\), .* no coef_"),
        (PartitionClassifier(GaussianNB(), partitions=0), LABELS, r"^partitions: got 0"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(estimator, y, sentence):
    with pytest.raises(ValueError, match=sentence):
        estimator.fit(X[: len(y)], y)


@pytest.mark.slow
def test_on_real_rows_flipped_labels_are_found():
    x, y = real(load_breast_cancer)
    x = StandardScaler().fit_transform(x)[:300]
    flipped = np.random.default_rng(0).permutation(300) < 60
    y = np.where(flipped, 1 - y[:300], y[:300])
    for estimator in (
        TrimClassifier(LogisticRegression(), 0.2),
        SeverClassifier(LogisticRegression(), 0.2),
        MicroModelsClassifier(LogisticRegression(), dispute=0.5),
        RelabelClassifier(LogisticRegression(), agreement=0.5),
    ):
        estimator.fit(x, y)
        suspect = ~estimator.support_mask_ | estimator.relabelled_
        assert np.mean(suspect[flipped]) > 0.7
        assert np.mean(suspect[~flipped]) < 0.15
