"""Partition aggregation: its parts, its votes, and its certificate by brute force."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from defenses._hash import row_hash
from defenses.ensemble._parts import part_of
from defenses.estimators import PartitionClassifier
from defenses.estimators._rows import Rows, class_numbers, own_order

RNG = np.random.default_rng(0)
CLASSES = np.array(["a", "b", "c"])
SIDES = np.arange(120) % 3
X = 1.6 * np.eye(3)[SIDES] + RNG.normal(size=(120, 3))
Y = CLASSES[SIDES]
TEST = 1.6 * np.eye(3)[np.arange(30) % 3] + RNG.normal(size=(30, 3))
PARTS = 12


@pytest.fixture(scope="module")
def nearest() -> PartitionClassifier:
    """Its models know single rows by heart: a row inserted at will turns a vote at will."""
    return PartitionClassifier(KNeighborsClassifier(1), PARTS).fit(X, Y)


def test_votes_are_those_of_models_trained_on_the_parts():
    model = PartitionClassifier(GaussianNB(), PARTS).fit(X, Y)
    part = part_of(X, PARTS)
    votes = np.zeros((30, 3))
    for each in range(PARTS):
        said = GaussianNB().fit(X[part == each], Y[part == each]).predict(TEST)
        votes += said[:, None] == CLASSES[None, :]
    np.testing.assert_array_equal(model.votes(TEST), votes)
    np.testing.assert_array_equal(model.predict(TEST), CLASSES[np.argmax(votes, axis=1)])
    np.testing.assert_array_equal(model.predict_proba(TEST), votes / PARTS)


def test_shares_of_votes_add_up_where_parts_have_no_rows():
    model = PartitionClassifier(GaussianNB(), 40).fit(X[:12], Y[:12])
    assert len(model.estimators_) < 40
    np.testing.assert_allclose(model.predict_proba(TEST).sum(axis=1), 1)


def test_no_order_of_the_rows_decides_nor_the_type_they_come_in(nearest):
    order = RNG.permutation(120)
    again = PartitionClassifier(KNeighborsClassifier(1), PARTS).fit(X[order], Y[order])
    np.testing.assert_array_equal(again.votes(TEST), nearest.votes(TEST))
    names = ["u", "v", "w"]
    frame = PartitionClassifier(KNeighborsClassifier(1), PARTS).fit(
        pd.DataFrame(X, columns=names), Y
    )
    np.testing.assert_array_equal(
        frame.votes(pd.DataFrame(TEST, columns=names)), nearest.votes(TEST)
    )


def test_a_row_alone_says_which_part_it_is_in():
    np.testing.assert_array_equal(row_hash(X[:7]), row_hash(X)[:7])
    np.testing.assert_array_equal(row_hash(np.zeros((1, 3))), row_hash(-np.zeros((1, 3))))
    assert len(set(row_hash(X).tolist())) == 120
    assert len(set(row_hash(X[0][np.array([[0, 1, 2], [1, 0, 2], [2, 1, 0]])]).tolist())) == 3
    counts = np.bincount(part_of(RNG.normal(size=(6000, 3)), 6))
    assert np.all(np.abs(counts - 1000) < 150)


def test_rows_added_never_swap_two_others():
    target = class_numbers(Y)
    ones = np.ones(120)
    rows = Rows(X, Y, target, ones, False, X)
    first = own_order(rows.take(np.arange(60)))
    joined = own_order(rows)
    np.testing.assert_array_equal(joined[joined < 60], first)


def poison(model, target, label: str, count: int):
    """Rows beside a target, with this label, one in each of `count` parts that say the winner."""
    said = [each.predict(target[None])[0] for each in model.estimators_]
    winner = model.predict(target[None])[0]
    wanted = [each for each in range(PARTS) if said[each] == winner][:count]
    rows, tried = {}, np.random.default_rng(1)
    while len(rows) < len(wanted):
        row = target + 1e-6 * tried.normal(size=3)
        each = int(part_of(row[None], PARTS)[0])
        if each in wanted:
            rows.setdefault(each, row)
    return np.stack(list(rows.values())), np.full(len(rows), label)


def test_the_certificate_holds_and_is_tight(nearest):
    """The strongest attacker turns one vote from the winner to a rival with each row."""
    certified, predicted = nearest.certify(TEST), nearest.predict(TEST)
    assert certified.max() >= 3
    assert certified.min() == 0
    for i in np.argsort(-certified)[[0, 6, 12, 29]]:
        turned = []
        for more in (0, 1):
            predictions = set()
            for label in CLASSES[predicted[i] != CLASSES]:
                count = certified[i] + more
                x, y = poison(nearest, TEST[i], label, count) if count else (X[:0], Y[:0])
                data = np.concatenate([X, x]), np.concatenate([Y, y])
                model = PartitionClassifier(KNeighborsClassifier(1), PARTS).fit(*data)
                predictions |= set(model.predict(TEST[i : i + 1]))
            turned.append(predictions != {predicted[i]})
        assert turned == [False, True]


def test_rows_removed_or_relabelled_cannot_break_it_either(nearest):
    certified, predicted = nearest.certify(TEST), nearest.predict(TEST)
    for trial in range(10):
        rng = np.random.default_rng(trial)
        changed = rng.permutation(120)[:3]
        if trial % 2:
            x, y = np.delete(X, changed, axis=0), np.delete(Y, changed)
        else:
            x, y = X, Y.copy()
            y[changed] = rng.choice(CLASSES, 3)
        model = PartitionClassifier(KNeighborsClassifier(1), PARTS).fit(x, y)
        np.testing.assert_array_equal(
            model.predict(TEST)[certified >= 3], predicted[certified >= 3]
        )


def test_ties_go_to_the_first_class_and_the_certificate_knows():
    model = PartitionClassifier(GaussianNB(), 4)
    model.classes_ = CLASSES
    counts = np.array([[5, 5, 0], [0, 5, 4], [5, 4, 0], [3, 0, 5], [5, 0, 3], [0, 7, 0]])
    model.votes = lambda X: counts
    np.testing.assert_array_equal(model.predict(None), ["a", "b", "a", "c", "a", "b"])
    np.testing.assert_array_equal(model.certify(None), [0, 0, 0, 0, 1, 3])


def test_parts_of_one_label_or_of_none_are_no_trouble():
    """Of 200 parts of 120 rows most hold one row or none: a part of one label votes for it."""
    model = PartitionClassifier(RidgeClassifier(), 200).fit(X, Y)
    assert 60 < len(model.estimators_) < 120
    part, votes = part_of(X, 200), np.zeros((30, 3))
    for each in np.unique(part):
        rows = part == each
        alone = len(set(Y[rows])) == 1
        member = DummyClassifier() if alone else RidgeClassifier()
        voted = np.asarray(member.fit(X[rows], Y[rows]).predict(TEST))
        votes += (voted[:, None] == CLASSES[None]).astype(float)
    np.testing.assert_array_equal(model.votes(TEST), votes)
    np.testing.assert_array_equal(model.predict(TEST), CLASSES[np.argmax(votes, axis=1)])


def test_a_missing_value_is_refused_in_a_part_of_one_label_too():
    x = RNG.normal(size=(60, 3))
    x[0, 0] = np.nan
    y = np.where(part_of(x, 10) == part_of(x, 10)[0], 0, np.arange(60) % 2)
    with pytest.raises(ValueError, match="NaN"):
        PartitionClassifier(RidgeClassifier(), 10).fit(x, y)


def test_it_says_itself_that_its_parts_are_too_small_for_a_rare_class():
    y = np.where(np.arange(120) < 12, "rare", "common")
    model = PartitionClassifier(GaussianNB(), PARTS)
    x_kept, y_kept = model.fit_resample(X, y)
    assert x_kept is X
    assert y_kept is y
    part = part_of(X, PARTS)
    none = PARTS - len(set(part[:12]))
    alone = sum(len(set(y[part == each])) == 1 for each in range(PARTS))
    assert model.message_.startswith(
        f"120 rows in 12 parts, {alone} of them of a single class; a part has 1 rows of class rare "
        f"on average, {none} have none: warning: most votes are likely to miss this class. Ask for "
        "2 partitions or fewer"
    )
    assert "warning" not in PartitionClassifier(GaussianNB(), 4).fit(X, Y).message_
