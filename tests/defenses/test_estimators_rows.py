"""What rows, labels and weights the estimators take, and pass on."""

import warnings
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import sklearn
from joblib import parallel_config
from scipy.sparse import csc_array, csr_array, issparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from test_estimators import labels, numbers

from defenses._hash import row_hash
from defenses.estimators import (
    ConfidentLearningClassifier,
    DuplicatesClassifier,
    FilterClassifier,
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
from defenses.estimators import roni as roni_module

X, Y, _ = labels(n=60, bad=8)
THIN = np.where(np.random.default_rng(0).random((60, 40)) < 0.8, 0, X[:, :1] * 0.3 + 1)
PLAIN = LogisticRegression()


def thorough(inner, n_jobs=None) -> list[Any]:
    """Those that leave rows to the estimator."""
    return [
        TrimClassifier(inner, 0.2, restarts=4, random_state=0, n_jobs=n_jobs),
        ConfidentLearningClassifier(inner, check=False, n_jobs=n_jobs),
        MicroModelsClassifier(inner, 4, 0.5, n_jobs=n_jobs),
        RoniClassifier(inner, 1, 10, random_state=0, budget=30, n_jobs=n_jobs),
        PartitionClassifier(inner, 3, n_jobs=n_jobs),
    ]


def fresh(defense, /, **parameters) -> Any:
    """A clone with other parameters."""
    copy: Any = clone(defense)
    return copy.set_params(**parameters)


def judged(defense) -> Any:
    """What it made of its rows."""
    return getattr(defense, "scores_", getattr(defense, "_counts", None))


@pytest.mark.parametrize("defense", thorough(PLAIN), ids=lambda d: type(d).__name__)
def test_sparse_rows_are_judged_as_dense_ones_and_stay_sparse(defense):
    seen = []

    class Spy(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            seen.append(issparse(X))
            return super().fit(X, y, sample_weight)

    dense = fresh(defense).fit(THIN, Y)
    sparse = fresh(defense, estimator=Spy()).fit(csc_array(THIN), Y)
    assert all(seen)
    np.testing.assert_allclose(judged(sparse), judged(dense), rtol=1e-2, atol=1e-2)
    np.testing.assert_array_equal(sparse.predict(csr_array(THIN)), dense.predict(THIN))
    np.testing.assert_allclose(
        sparse.predict_proba(csr_array(THIN)), dense.predict_proba(THIN), rtol=0.02
    )


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("y", [None, Y.astype(float)])
def test_sparse_rows_have_the_numbers_of_dense_ones(seed, y):
    stored = csr_array(THIN - np.eye(60, 40))
    stored.data[::7] = 0  # zeros that are stored
    np.testing.assert_array_equal(row_hash(stored, y, seed), row_hash(stored.toarray(), y, seed))
    assert len(set(row_hash(stored).tolist())) == 60


@pytest.mark.parametrize(
    "defense", [FilterClassifier(PLAIN), RelabelClassifier(PLAIN), SeverClassifier(PLAIN)]
)
def test_those_that_measure_say_that_they_need_dense_rows(defense):
    with pytest.raises(TypeError, match=r"^X: got sparse rows, but .* measures .*TruncatedSVD"):
        defense.fit(csr_array(THIN), Y)


def mixed() -> pd.DataFrame:
    """A number with holes, text, booleans with holes."""
    rng = np.random.default_rng(2)
    age = np.where(rng.random(60) < 0.1, np.nan, X[:, 0])
    frame = pd.DataFrame({"age": age, "town": np.array(["Bonn", "Köln", "Ulm"])[np.arange(60) % 3]})
    frame["member"] = pd.array(
        [None if row % 7 == 0 else X[row, 1] > 0 for row in range(60)], "boolean"
    )
    return frame


@pytest.mark.parametrize("defense", thorough(None)[1:], ids=lambda d: type(d).__name__)
def test_frames_of_mixed_columns_go_to_the_pipeline_as_they_are(defense):
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["town", "member"]), remainder="passthrough"
    )
    trees = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=3)
    inner = make_pipeline(encode, trees)
    frame, order = mixed(), np.random.default_rng(0).permutation(60)
    one = fresh(defense, estimator=inner).fit(frame, Y)
    other = fresh(defense, estimator=inner).fit(frame.iloc[order], Y[order])
    assert one.feature_names_in_.tolist() == ["age", "town", "member"]
    np.testing.assert_array_equal(one.predict(frame), other.predict(frame))
    if hasattr(one, "scores_"):
        np.testing.assert_array_equal(one.scores_[order], other.scores_)
    with pytest.raises(ValueError, match="feature names"):
        one.predict(frame.rename(columns={"age": "years"}))


def test_missing_numbers_are_left_to_the_estimator():
    x = np.where(np.random.default_rng(1).random(X.shape) < 0.1, np.nan, X)
    trees = HistGradientBoostingClassifier(max_iter=5)
    trim = TrimClassifier(trees, 0.1).fit(x, Y)
    assert trim.support_mask_.sum() == 54
    assert (trim.predict(x) == Y).mean() > 0.8
    with pytest.raises(ValueError, match="NaN"):
        TrimClassifier(PLAIN).fit(x, Y)
    with pytest.raises(ValueError, match="NaN"):
        FilterClassifier(trees).fit(x, Y)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (np.array([bool(y) for y in Y], object), bool),
        (pd.Series(Y).astype("boolean"), bool),
        (pd.Series(Y).astype("Int64"), np.int64),
        (np.array([("ham", "spam")[y] for y in Y], object), object),
        ([("ham", "spam")[y] for y in Y], "<U4"),
    ],
)
def test_labels_may_be_objects(given, kind):
    trim = TrimClassifier(PLAIN, 0.2).fit(X, given)
    assert trim.classes_.dtype == kind
    np.testing.assert_array_equal(
        trim.support_mask_, TrimClassifier(PLAIN, 0.2).fit(X, Y).support_mask_
    )
    assert type(trim.fit_resample(X, given)[1]) is type(given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (pd.Series([True, None] * 30).astype("boolean"), r"^y: 30 of 60 labels are missing; drop"),
        (np.array(["a", 1] * 30, object), r"^y: got labels of the types int, str, expected one of"),
        (np.array([(1,), (2,)] * 30 + [0], object)[:60], r"^y: got labels of the types tuple"),
    ],
)
def test_labels_that_are_none_are_a_sentence(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        TrimClassifier(PLAIN).fit(X, given)


class Told(RidgeClassifier):
    """Keeps the rows and weights of all trainings."""

    trainings: ClassVar[list[tuple[np.ndarray, Any]]] = []

    def fit(self, X, y, sample_weight=None):
        self.trainings.append((X, sample_weight))
        return super().fit(X, y, sample_weight)


WEIGHT = 0.5 + np.arange(60) % 4
MEASURING = [FilterClassifier(Told(), contamination=0.1), RelabelClassifier(Told(), 5, 0.9),
             SeverClassifier(Told(), 0.2), DuplicatesClassifier(Told())]  # fmt: skip


@pytest.mark.parametrize("defense", thorough(Told()) + MEASURING, ids=lambda d: type(d).__name__)
def test_each_training_is_told_the_weights_of_its_rows(defense):
    Told.trainings.clear()
    defense.fit(X, Y, sample_weight=WEIGHT)
    weight_of = {tuple(row): weight for row, weight in zip(X, WEIGHT, strict=True)}
    for rows, weight in Told.trainings:
        np.testing.assert_array_equal(weight, [weight_of[tuple(row)] for row in rows])
    assert Told.trainings
    Told.trainings.clear()
    defense.fit(X, Y)
    assert all(weight is None for _, weight in Told.trainings)


@pytest.mark.parametrize("defense", thorough(PLAIN) + MEASURING, ids=lambda d: type(d).__name__)
def test_a_row_of_weight_zero_is_none(defense):
    weight = np.where(np.arange(60) % 5 == 0, 0.0, WEIGHT)
    some = weight > 0
    whole = fresh(defense).fit(X, Y, sample_weight=weight)
    few = fresh(defense).fit(X[some], Y[some], sample_weight=weight[some])
    np.testing.assert_array_equal(whole.predict(X), few.predict(X))
    assert whole.message_ == few.message_
    if hasattr(whole, "scores_"):
        np.testing.assert_array_equal(whole.scores_[some], few.scores_)
        assert not whole.support_mask_[~some].any()


def test_weights_count_in_votes_and_means():
    """Rows far apart: of five neighbours two outvote three if they weigh more."""
    x = np.array([[0.0], [1], [2], [3], [4], [100], [101], [102], [103], [104], [105]])
    y = np.array([0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1])
    heavy = np.where(np.isin(np.arange(11), [1, 2]), 10.0, 1.0)
    relabel = RelabelClassifier(GaussianNB(), 4, 0.5, balance=0)
    assert relabel.fit(x, y).labels_[0] == 0
    assert relabel.fit(x, y, sample_weight=heavy).labels_[0] == 1
    sever = SeverRegressor(Ridge(), 0.2, rounds=1)
    rows, targets, _ = numbers()
    weight = np.where(np.arange(60) < 30, 1.0, 1e-9)
    alone = fresh(sever).fit(rows[:30], targets[:30], sample_weight=weight[:30]).scores_
    both = sever.fit(rows, targets, sample_weight=weight).scores_[:30]
    np.testing.assert_allclose(both / both.max(), alone / alone.max(), rtol=1e-5)
    column = np.array([[0.0], [1], [2], [3], [20]])
    far = FilterRegressor(Ridge(), contamination=0.2)
    assert np.argmin(far.fit(column, np.arange(5.0)).support_mask_) == 4
    weighed = far.fit(column, np.arange(5.0), sample_weight=[1, 1, 1, 1, 100])
    assert np.argmin(weighed.support_mask_) == 0


def test_errors_that_roni_compares_count_rows_by_weight():
    for defense, y in ((RoniClassifier(PLAIN), Y), (RoniRegressor(Ridge()), X[:, 0] + Y)):
        model = fresh(defense.estimator).fit(X, y)
        misses = (model.predict(X) - y) ** 2  # of classes 0 and 1, too
        weight = 1 + 9.0 * (misses > np.median(misses))
        badness = defense._badness(model, defense._checked(X, y, weight))
        np.testing.assert_allclose(badness, np.average(misses, weights=weight), rtol=1e-12)
        assert badness > 1.2 * np.mean(misses)


def test_trim_s_restarts_compare_means_that_weights_count_in():
    """Two heaps, of which one is kept: the narrower one by the rows, the other one by weights."""
    y = np.array([-1.0, 1, 0, 0, 0, 0, 0, 0, 9.4, 10.6, 9.4, 10.6, 9.4, 10.6, 9.4, 10.6])
    x, low = np.arange(16.0)[:, None], y < 5
    trim = TrimRegressor(DummyRegressor(), 0.5, restarts=40, random_state=0)
    np.testing.assert_array_equal(trim.fit(x, y).support_mask_, low)
    weight = np.where(np.arange(16) < 2, 10.0, 1.0)
    np.testing.assert_array_equal(trim.fit(x, y, sample_weight=weight).support_mask_, ~low)


def test_an_estimator_that_takes_no_weights_is_a_sentence():
    with pytest.raises(ValueError, match=r"^sample_weight: got weights, but KNeigh.* takes none"):
        TrimClassifier(KNeighborsClassifier()).fit(X, Y, sample_weight=WEIGHT)


@pytest.mark.parametrize("partitions", [None, 3])
def test_weights_are_routed_to_the_step_that_requests_them(partitions):
    def defended(step) -> Any:
        inner = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), step)
        return TrimClassifier(inner, 0.2) if partitions is None else PartitionClassifier(inner, 3)

    with sklearn.config_context(enable_metadata_routing=True):
        told = defended(Told().set_fit_request(sample_weight=True))
        Told.trainings.clear()
        outer = make_pipeline(StandardScaler(), told.set_fit_request(sample_weight=True))
        outer[0].set_fit_request(sample_weight=False)
        outer.fit(X, Y, sample_weight=WEIGHT)
        assert Told.trainings
        assert all(set(np.unique(weight)) <= set(WEIGHT) for _, weight in Told.trainings)
        Told.trainings.clear()
        defended(Told().set_fit_request(sample_weight=False)).fit(X, Y, sample_weight=WEIGHT)
        assert all(weight is None for _, weight in Told.trainings)
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            defended(Told()).fit(X, Y, sample_weight=WEIGHT)


@pytest.mark.parametrize(
    "pair",
    list(zip(thorough(PLAIN), thorough(PLAIN, 2), strict=True)),
    ids=lambda p: type(p[0]).__name__,
)
def test_jobs_share_the_trainings_and_change_nothing(pair):
    alone, shared = pair
    with parallel_config("threading"):
        shared.fit(X, Y)
    np.testing.assert_array_equal(judged(shared), judged(alone.fit(X, Y)))
    np.testing.assert_array_equal(shared.predict(X), alone.predict(X))


def test_roni_keeps_to_its_budget_and_says_what_it_left():
    whole = RoniClassifier(GaussianNB(), 2, 10, random_state=0)
    some = fresh(whole, budget=81).fit(X, Y)
    whole.fit(X, Y)
    assert (some.n_iter_, whole.n_iter_) == (80, 240)
    assert some.message_.endswith("; 20 rows beyond the budget were not judged")
    assert "budget" not in whole.message_
    assert np.sum((some.scores_ == 0) & some.support_mask_) >= 20
    one_draw = RoniClassifier(GaussianNB(), 1, 10, random_state=0).fit(X, Y)  # the first of two
    first = one_draw.scores_ != 0
    judged = first & (some.scores_ != 0)
    assert judged.sum() > 5
    np.testing.assert_array_equal(some.scores_[judged], one_draw.scores_[judged])
    with pytest.raises(ValueError, match=r"^budget: got 1, .* at least 2"):
        RoniClassifier(GaussianNB(), budget=1).fit(X, Y)


def test_roni_says_first_that_it_will_take_long(monkeypatch):
    monkeypatch.setattr(roni_module, "LONG", 1e-3)
    told = r"RONI trains 240 models, which takes about \d+ minutes by the first 20; budget"
    with pytest.warns(UserWarning, match=told):
        RoniClassifier(GaussianNB(), 2, 10, random_state=0).fit(X, Y)
    monkeypatch.undo()
    for jobs, minutes in ((None, 120), (2, 60)):
        with pytest.warns(UserWarning, match=rf"240 models, which takes about {minutes} minutes"):
            RoniClassifier(GaussianNB(), n_jobs=jobs)._say_first(trials=120, seconds=60.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RoniClassifier(GaussianNB(), 2, 10, random_state=0).fit(X, Y)
