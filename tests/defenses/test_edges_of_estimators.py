"""Edges of the estimators: losses, slopes, weights and sentences of tiny made-up models."""

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

from defenses import estimators
from defenses._hash import row_hash
from defenses.estimators import roni as roni_module
from defenses.estimators._rows import Rows, class_numbers, own_order, plain_labels, seed_of, telling
from defenses.estimators._sanitiser import Seen
from defenses.estimators._tasks import decisions

F = np.array([[0.5, -2.0, 1.0], [3.0, 1.0, 0.2], [0.0, -0.4, -1.0]])
Y, WEIGHT = np.array(["b", "a", "c"]), np.array([1.0, 2.0, 5.0])


def rows_of(x, y, weight=None, weighed: bool = False) -> Rows:
    y = np.asarray(y)
    target = class_numbers(y) if y.dtype.kind in "US" else y.astype(float)
    return Rows(x, y, target, np.ones(y.size) if weight is None else weight, weighed, x)


def fake(**methods: Any) -> Any:
    return SimpleNamespace(classes_=np.array(["a", "b", "c"]), **methods)


def test_losses_of_classes_are_of_the_label_against_its_best_rival() -> None:
    task, rows = estimators.TrimClassifier(None), rows_of(F, Y, WEIGHT)
    margins = fake(decision_function=lambda x: x)
    np.testing.assert_allclose(task._losses(margins, rows), [3.0, -2.0, 1.0])
    p = np.array([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2], [0.0, 1.0, 0.0]])
    losses = task._losses(fake(predict_proba=lambda x: p), rows)
    np.testing.assert_allclose(losses[:2], -np.log([0.5, 0.7]))
    assert 700 < losses[2] < 710  # of a share of zero: finite


def test_slopes_of_classes_are_those_of_the_log_loss_or_of_the_hinge() -> None:
    task, rows = estimators.SeverClassifier(None), rows_of(F, Y)
    p = np.array([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2], [0.0, 1.0, 0.0]])
    slopes = task._slopes(fake(predict_proba=lambda x: p), rows)
    np.testing.assert_allclose(slopes, [[0.2, -0.5, 0.3], [-0.3, 0.1, 0.2], [0, 1, -1]])
    slopes = task._slopes(fake(decision_function=lambda x: x), rows)
    np.testing.assert_array_equal(slopes, [[1, -1, 1], [0, 1, 1], [1, 1, -1]])
    two = SimpleNamespace(classes_=np.array(["a", "b"]), decision_function=lambda x: x[:, 0])
    pair = rows_of(np.array([[-2.0], [0.3], [2.0], [0.3]]), ["a", "a", "b", "b"])
    np.testing.assert_array_equal(task._slopes(two, pair), [[0], [1], [0], [-1]])
    np.testing.assert_array_equal(decisions(two, pair)[:, 0], -pair.x[:, 0])


def test_numbers_have_squared_residuals_and_errors_count_by_weight() -> None:
    task, rows = estimators.TrimRegressor(None), rows_of(F, [1.0, 2.0, 4.0], WEIGHT)
    model = fake(predict=lambda x: np.array([[1.5], [0.0], [5.0]]))
    np.testing.assert_allclose(task._slopes(model, rows), [[0.5], [-2], [1]])
    np.testing.assert_allclose(task._losses(model, rows), [0.25, 4, 1])
    np.testing.assert_allclose(task._misses(model, rows), [0.25, 4, 1])
    np.testing.assert_allclose(task._badness(model, rows), (0.25 + 8 + 5) / 8)
    classes = estimators.TrimClassifier(None)
    model = fake(predict=lambda x: np.array(["a", "a", "c"]))
    np.testing.assert_array_equal(classes._misses(model, rows_of(F, Y)), [1, 0, 0])
    np.testing.assert_allclose(classes._badness(model, rows_of(F, Y, WEIGHT)), 1 / 8)


def test_labels_of_several_kinds_are_said_and_others_become_one_type() -> None:
    assert plain_labels(np.array([True, False], object)).dtype == bool
    assert plain_labels(np.array([1, 2.5], object)).dtype == np.float64
    with pytest.raises(ValueError, match=r"^y: 2 of 3 labels are missing"):
        plain_labels(np.array(["a", None, float("nan")], object))
    with pytest.raises(ValueError, match=r"types int, str, expected"):
        plain_labels(np.array(["a", 1], object))
    np.testing.assert_array_equal(class_numbers(np.array(["n", "y", "n"])), [-1, 1, -1])
    np.testing.assert_array_equal(class_numbers(np.array([7, 3, 9])), [1, 0, 2])


def test_cells_become_numbers_that_single_precision_holds() -> None:
    cells = telling(np.array([["red", 2.5], ["blue", True], ["red", "2.5"]], object))
    assert cells[0, 0] == cells[2, 0] != cells[1, 0]
    np.testing.assert_array_equal(cells[:2, 1], [2.5, 1.0])
    assert cells[2, 1] != 2.5
    np.testing.assert_array_equal(cells, cells.astype(np.float32))
    twice = csr_array((np.array([1.0, 2.0]), np.array([1, 1]), np.array([0, 2])), shape=(1, 3))
    assert telling(twice).nnz == 1
    assert twice.nnz == 2  # what was given stays


def test_signs_of_zero_have_one_hash() -> None:
    x = np.array([[0.0, 1.0], [2.0, 0.0]])
    for y in (None, np.array([0.0, 3.0])):
        minus = None if y is None else np.where(y == 0, -0.0, y)
        np.testing.assert_array_equal(row_hash(np.where(x == 0, -0.0, x), minus), row_hash(x, y))
        stored = csr_array((np.array([-0.0, 1, 2]), np.array([0, 1, 0]), np.array([0, 2, 3])))
        np.testing.assert_array_equal(row_hash(stored, minus), row_hash(x, y))


def test_equal_rows_come_by_label_and_then_by_weight() -> None:
    x = np.repeat(np.array([[1.0, 2.0]]), 4, axis=0)
    rows = rows_of(x, ["b", "a", "b", "a"], np.array([3.0, 9, 1, 2]))
    np.testing.assert_array_equal(own_order(rows), [3, 1, 2, 0])
    np.testing.assert_array_equal(own_order(rows._replace(x=csr_array(x))), [3, 1, 2, 0])


def test_a_seed_that_is_an_integer_is_itself() -> None:
    assert [seed_of(number) for number in (0, np.int64(7), -1)] == [0, 7, -1]
    state = np.random.RandomState(3)
    assert seed_of(np.random.RandomState(3)) == state.randint(2**31)


def test_rows_that_were_not_judged_are_dropped_with_their_own_labels() -> None:
    seen = Seen(np.array([5, 6]), np.array([True, False]), np.array([0.1, 0.2]), 3, "so")
    whole = seen.scattered(np.array([3, 1]), np.arange(4) + 10)
    np.testing.assert_array_equal(whole.y, [10, 6, 12, 5])
    np.testing.assert_array_equal(whole.keep, [False, False, False, True])
    np.testing.assert_array_equal(whole.score, [np.nan, 0.2, np.nan, 0.1])
    assert (whole.trainings, whole.remark) == (3, "so")


def test_few_rows_are_halved_and_a_budget_is_of_trainings() -> None:
    classifier = estimators.RoniClassifier(None, train=6, validation=50)
    nine = rows_of(np.zeros((9, 1)), list("abcabcabc"))
    assert classifier._sizes(nine) == (4, 4)
    assert classifier.set_params(train=2, validation=3)._sizes(nine) == (3, 3)
    regressor = estimators.RoniRegressor(None, train=3, validation=9)
    assert regressor._sizes(rows_of(np.zeros((7, 1)), np.arange(7.0))) == (3, 3)
    with pytest.raises(ValueError, match=r"^y: got 3 classes in 4 rows"):
        classifier._sizes(rows_of(np.zeros((4, 1)), list("abca")))
    assert [classifier.set_params(budget=b)._trials(10) for b in (None, 7, 99)] == [10, 3, 10]


def test_the_time_of_all_trials_is_said_by_the_jobs_that_share_them() -> None:
    roni = estimators.RoniClassifier(None, n_jobs=2)
    seconds = 6 * roni_module.LONG / 100
    minutes = 3 * roni_module.LONG / 60
    sentence = f"trains 200 models, which takes about {minutes:.0f} minutes"
    with pytest.warns(UserWarning, match=sentence):
        roni._say_first(100, seconds)
    roni._say_first(30, seconds)  # warnings are errors here


def test_neighbours_that_do_not_agree_change_no_label() -> None:
    x = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2], [5.3]])
    rows = rows_of(x, list("aabbbba"))
    heavy = rows._replace(weight=np.array([1.0, 1, 1, 1, 1, 1, 9]))
    judge = estimators.RelabelClassifier(None, k=2, agreement=0.9, balance=0.0)
    seen = judge._inspect(rows)
    assert "".join(seen.y) == "aaabbbb"
    np.testing.assert_allclose(seen.score, [0.5, 0.5, 1, 0, 0, 0.5, 1])
    assert seen.keep.all()
    np.testing.assert_allclose(judge._inspect(heavy).score[5], 0.9)  # both are as near
    few = estimators.RelabelClassifier(None, k=3, agreement=0.9, balance=0.0)._inspect(rows)
    assert "".join(few.y) == "aabbbbb"  # two of three are not enough
    held = judge.set_params(balance=1.0)._inspect(rows)
    assert "".join(held.y) == "aaabbba"  # a class keeps the share of the other


def test_a_part_has_rows_of_the_rarest_class_and_votes_are_counted_by_class() -> None:
    vote: Any = estimators.PartitionClassifier(DummyClassifier(), 4)
    vote.classes_ = np.array(["x", "y"])
    vote._counts = np.array([[3, 0, 5, 2], [1, 0, 0, 2]])
    vote.estimators_ = [DummyClassifier(strategy="constant", constant=c) for c in "yyx"]
    for each in vote.estimators_:
        each.fit(np.zeros((2, 1)), ["x", "y"])
    text = vote.message_
    assert text.startswith("13 rows in 3 parts, 1 of them of a single class; a part has 0.75 rows")
    assert "of class y on average, 2 have none" in text
    vote.n_features_in_ = 1
    np.testing.assert_array_equal(vote.votes(np.zeros((2, 1))), [[1, 2]] * 2)
    np.testing.assert_allclose(vote.predict_proba(np.zeros((1, 1))), [[1 / 3, 2 / 3]])
    np.testing.assert_array_equal(vote.predict(np.zeros((1, 1))), ["y"])
    np.testing.assert_array_equal(vote.certify(np.zeros((1, 1))), [0])


@pytest.mark.parametrize(
    ("counts", "advice"),
    [
        ([[9, 9], [5, 5]], None),
        ([[5, 4], [9, 9]], "0 have none: warning: most votes .* Ask for 1 partitions or fewer"),
        ([[9] * 4, [3, 0, 4, 5]], "1 have none: warning: most votes .* Ask for 2 partitions"),
        ([[9] * 4, [3, 0, 0, 0]], "3 have none: warning: most votes .* Ask for 1 partitions"),
    ],
)
def test_parts_of_less_than_five_rows_of_a_class_on_average_are_a_warning(counts, advice) -> None:
    vote: Any = estimators.PartitionClassifier(DummyClassifier(), 4)
    with pytest.raises(NotFittedError):
        _ = vote.message_
    vote.classes_, vote._counts = np.array(["x", "y"]), np.array(counts)
    vote.estimators_ = counts[0]
    assert ("warning" in vote.message_) == (advice is not None)
    assert advice is None or re.search(advice, vote.message_)


def test_a_class_of_rows_of_weight_zero_alone_is_none() -> None:
    x, y = np.arange(8.0)[:, None], np.array(list("ababzzab"))
    weight = np.array([1.0, 2, 1, 1, 0, 0, 3, 0])
    vote = estimators.PartitionClassifier(DummyClassifier(), 2).fit(x, y, weight)
    np.testing.assert_array_equal(vote.classes_, ["a", "b"])
    np.testing.assert_array_equal(vote._counts.sum(axis=1), [3, 2])
    assert vote.votes(x).shape == (8, 2)
    np.testing.assert_array_equal(vote.votes(x).sum(axis=1), len(vote.estimators_))
    assert vote.message_.startswith(f"5 rows in {len(vote.estimators_)} parts")


def test_micro_models_dispute_rows_of_other_parts_alone(monkeypatch) -> None:
    rows = rows_of(np.arange(6.0)[:, None], list("aaabbb"))
    monkeypatch.setattr(
        "defenses.estimators.micro_models.part_of", lambda x, parts: np.array([0, 0, 2, 2, 5, 5])
    )
    judge = estimators.MicroModelsClassifier(DummyClassifier(), 6, dispute=0.5, balance=0.0)
    seen = judge._inspect(rows)
    # The models of the three parts say a, a (of a and b, the first), and b.
    np.testing.assert_allclose(seen.score, [0.5, 0.5, 0.5, 0.5, 1, 1])
    np.testing.assert_array_equal(seen.keep, [True] * 4 + [False] * 2)
    assert seen.trainings == 3


def test_the_gradients_of_a_linear_model_are_centred_by_weight() -> None:
    x, y = np.array([[0.0], [1], [2], [4]]), np.array([0.0, 1.5, 1, 5])
    weight = np.array([1.0, 2, 1, 3])
    judge, rows = estimators.SeverRegressor(LinearRegression()), rows_of(x, y, weight, True)
    model = LinearRegression().fit(x, y, weight)
    gradients = (model.predict(x) - y)[:, None] * np.column_stack([x, np.ones(4)])
    centred = gradients - np.average(gradients, axis=0, weights=weight)
    top = np.linalg.eigh((weight[:, None] * centred).T @ centred)[1][:, -1]
    np.testing.assert_allclose(judge._score(rows), (centred @ top) ** 2, atol=1e-12)
    flat = estimators.SeverRegressor(DummyRegressor())
    with pytest.raises(ValueError, match="has no coef_ once trained"):
        flat._score(rows)
