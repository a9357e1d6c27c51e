"""The screen for copies: exact and near ones, in any order, JAX and scikit-learn versions alike."""

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB

from bilevel import Data
from bilevel.learners import Ridge
from defenses import Duplicates
from defenses.estimators import DuplicatesClassifier

RNG = np.random.default_rng(0)
N = 40
X = RNG.normal(size=(N, 3)) * [1.0, 1e-3, 1e4] + [0.0, 5.0, 1e6]
Y = np.where(np.arange(N) % 2, 1.0, -1.0)
X[20:26], Y[20:26] = X[20], 1.0
X[30:34] = X[30] + 1e-9 * RNG.uniform(size=(4, 3)) * [1.0, 1e-3, 1e4]
Y[30:34] = [1, 1, 1, -1]


@pytest.mark.parametrize("copies", [1, 2])
def test_of_copies_some_are_kept_and_other_labels_are_no_copies(copies):
    seen = Duplicates(Ridge(), copies).inspect(Data(X, Y))
    kept = np.asarray(seen.kept)
    assert kept[20:26].sum() == copies
    assert kept[30:33].sum() == copies
    assert kept[33]
    assert kept.sum() == N - 9 + 2 * copies
    np.testing.assert_array_equal(seen.score[20:26], 6)
    theirs = DuplicatesClassifier(GaussianNB(), copies).fit(X, Y)
    assert theirs.support_mask_.sum() == kept.sum()
    np.testing.assert_array_equal(theirs.scores_, seen.score)
    order = RNG.permutation(N)
    again = Duplicates(Ridge(), copies).inspect(Data(X[order], Y[order]))
    np.testing.assert_array_equal(again.score, seen.score[order])
    alike = np.asarray(again.kept) != kept[order]
    assert not np.any(alike & ~((order >= 20) & (order < 34)))


def test_a_wide_grid_joins_what_a_fine_one_tells_apart():
    x = np.concatenate([np.zeros((5, 1)), 1e-4 * np.arange(1, 6)[:, None], 2 * np.ones((10, 1))])
    data = Data(x, np.ones(20))
    kept = [int(Duplicates(Ridge(), 1, t).inspect(data).kept.sum()) for t in (1e-6, 0.1)]
    assert kept == [7, 2]


def test_rows_of_weight_zero_are_no_copies():
    weight = np.where(np.arange(N) == 20, 0.0, 1.0)
    assert int(Duplicates(Ridge()).inspect(Data(X, Y, weight)).kept[20:26].sum()) == 1


def test_sentences():
    for make, sentence in (
        (lambda: Duplicates(Ridge(), 0), "^copies: got 0"),
        (lambda: Duplicates(Ridge(), 1, 0.0), r"^tolerance: got 0.0, expected a number > 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            make()
