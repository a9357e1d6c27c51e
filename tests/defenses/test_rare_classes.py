"""No class is lost: on clean tables with a rare class, at the defaults of every defense."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import recall_score

import defenses.estimators as estimators
from bilevel import Data
from bilevel.learners import Logistic, Softmax
from bilevel.losses import CrossEntropy, Squares
from defenses import Filter, MicroModels, Relabel, Roni, Sever, Trim
from defenses.sanitise._inspection import class_gaps, quota_gaps
from defenses.sanitise._quotas import by_quota, class_of, least_mass, quota
from defenses.sanitise._selection import first_lowest, kept_count, lowest, soft_lowest

N, D = 300, 4


def table(rows: int, seed: int):
    """Classes that overlap, of which one has 11 % of the rows."""
    rng = np.random.default_rng(seed)
    rare = np.arange(rows) < round(0.11 * rows)
    x = rng.normal(size=(rows, D)) + np.where(rare, 0.7, 0.0)[:, None]
    order = rng.permutation(rows)
    return x[order], np.where(rare, 1.0, -1.0)[order]


X, Y = table(N, 0)
X_TEST, Y_TEST = table(4000, 1)
PLAIN = LogisticRegression()
JAX = {
    "trim": Trim(Logistic(0.01)),
    "sever": Sever(Logistic(0.01)),
    "filter": Filter(Logistic(0.01)),
    "relabel": Relabel(Logistic(0.01)),
    "micro-models": MicroModels(Logistic(0.01), 5),
    "roni": Roni(Logistic(0.01), draws=1),
}
ESTIMATORS = {
    "trim": estimators.TrimClassifier(PLAIN),
    "sever": estimators.SeverClassifier(PLAIN),
    "filter": estimators.FilterClassifier(PLAIN),
    "relabel": estimators.RelabelClassifier(PLAIN),
    "micro-models": estimators.MicroModelsClassifier(PLAIN),
}


def shares(left):
    return np.mean(left[Y > 0]), np.mean(left[Y < 0])


@pytest.mark.parametrize("name", JAX)
def test_a_rare_class_is_kept_as_others_are(name):
    data = Data(X, Y)
    seen = eqx.filter_jit(lambda data: JAX[name].inspect(data))(data)
    rare, common = shares(np.asarray(seen.kept) & (np.asarray(seen.data.y) == Y))
    assert rare >= 0.8 * common
    assert f"{100 * rare:.0f} % of class 1" in seen.message(data)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_keeps_it_and_its_recall(name):
    fitted = ESTIMATORS[name].fit(X, Y)
    rare, common = shares(fitted.support_mask_ & ~fitted.relabelled_)
    assert rare >= 0.8 * common
    assert f"{100 * rare:.0f} % of class 1" in fitted.message_
    assert ("warning: class 1 loses more" in fitted.message_) == (rare < 0.9 * common)
    plain = recall_score(Y_TEST, PLAIN.fit(X, Y).predict(X_TEST))
    assert plain > 0.05
    assert recall_score(Y_TEST, fitted.predict(X_TEST)) >= 0.9 * plain


@pytest.mark.parametrize("contamination", [0.5, 0.9])
def test_a_class_of_few_rows_is_never_emptied(contamination):
    y = np.where(np.arange(N) < 3, 2.0, np.where(Y > 0, 1.0, 0.0))
    trim = estimators.TrimClassifier(PLAIN, contamination).fit(X, y)
    np.testing.assert_array_equal(trim.classes_, [0, 1, 2])
    assert trim.predict_proba(X).shape == (N, 3)
    softmax = Trim(Softmax(3, 0.01), contamination)
    kept = np.asarray(softmax.inspect(Data(X, y.astype(int))).kept)
    assert set(y[kept]) == {0, 1, 2}
    assert kept.sum() == trim.support_mask_.sum() == round((1 - contamination) * N)


def test_labels_are_classes_if_those_that_count_are():
    y, weight = np.array([1.0, -1.0, 0.5]), np.array([1.0, 2.0, 0.0])
    data, whole = Data(np.ones((3, 1)), y, weight), Data(np.ones((3, 1)), y)
    np.testing.assert_array_equal(class_of(data, Squares())[:2], y[:2])
    np.testing.assert_array_equal(class_of(whole, Squares()), 0)
    np.testing.assert_array_equal(class_of(whole, CrossEntropy()), y)


def test_targets_of_a_regression_are_one_group():
    trim = estimators.TrimRegressor(Ridge()).fit(X, np.where(Y > 0, 5.0, 0.1 * X[:, 0]))
    assert trim.support_mask_[Y > 0].mean() < 0.1
    assert "class" not in trim.message_
    assert trim.support_mask_.sum() == round(0.8 * N)


GROUP = np.array([0.0, 1, 1, 0, 2, 1, 0, 0, 1, 0, 2, 1])
SCORE = np.array([0.3, 5, 6, 0.1, 9, 4, 0.2, 0.5, 7, 0.4, 8, 3.5])


def quotas_by_hand(among, share, balance):
    least = {}
    for label in set(GROUP[among]):
        size, rest = np.sum(among & (label == GROUP)), np.sum(among & (label != GROUP))
        part = share * (size + rest) / (balance * size + rest) * balance
        least[label] = max(1, np.ceil(part * size - 1e-3))
    return least


@pytest.mark.parametrize("space", [np, jnp])
@pytest.mark.parametrize("balance", [0.0, 0.5, 0.8, 1.0])
def test_quotas_come_first_and_the_lowest_of_all_then(space, balance):
    among = np.arange(12) != 5
    least = quotas_by_hand(among, 0.6, balance)
    expected = set()
    for label, many in least.items():
        rows = [i for i in np.argsort(SCORE) if among[i] and GROUP[i] == label]
        expected |= set(rows[: int(many)])
    for row in np.argsort(SCORE):
        if among[row] and len(expected) < round(0.6 * 11):
            expected.add(row)
    score, group, mask = (space.asarray(a) for a in (SCORE, GROUP, among))

    def keep(score, group, mask):
        quotas = quota(group, mask, 0.6, balance)
        return lowest(score, mask, kept_count(mask, 0.4), None, quotas)

    kept = (jax.jit(keep) if space is jnp else keep)(score, group, mask)
    assert set(np.flatnonzero(kept).tolist()) == expected
    assert (2 in GROUP[np.asarray(kept)]) == (1 in GROUP[np.asarray(kept)]) == True  # noqa: E712


@pytest.mark.parametrize("space", [np, jnp])
def test_a_quota_adds_the_least_suspect_rows_of_its_class(space):
    score, group, among = (space.asarray(a) for a in (SCORE, GROUP, np.ones(12, bool)))
    within = among & (score <= 4.5)  # 5 of 5, 2 of 5, 0 of 2
    add = jax.jit(by_quota) if space is jnp else by_quota
    kept = np.asarray(add(score, within, among, group, 0.8))
    # others of class 1 keep 5 of 7: at least ceil(.8 * 5 / 7 * 5) = 3; of class 2: ceil(1.12) = 2
    np.testing.assert_array_equal(np.flatnonzero(~kept), [2, 8])
    least = np.asarray(add(score, within, among, group, 0.0))  # one row of each class
    np.testing.assert_array_equal(least[[4, 10]], [False, True])


def test_margins_are_those_of_the_threshold_of_the_class():
    @jax.jit
    def margins(score, group, among):
        quotas = quota(group, among, 0.5, 1.0)  # 3 of 5, 3 of 5, 1 of 2: more than 6 in all
        kept = lowest(score, among, 6, None, quotas)
        first = first_lowest(score, among, jnp.arange(12), quotas)
        of_rank = class_gaps(score, kept, among, group, first)
        within = score <= 4.5
        kept = by_quota(score, within, among, group, 0.8)
        return of_rank, quota_gaps(jnp.abs(score - 4.5), score, within, kept, among, group)

    of_rank, margin = margins(SCORE, GROUP, np.ones(12, bool))
    middle = np.array([0.35, 5.5, 8.5])[GROUP.astype(int)]
    np.testing.assert_allclose(of_rank, np.abs(SCORE - middle), rtol=1e-12)
    np.testing.assert_allclose(margin[1], 0.5)  # kept by the quota, amid 4.5 and 5.5
    np.testing.assert_allclose(margin[2], 0.5)  # 6 is not


def test_no_score_that_moves_by_less_than_the_margin_changes_what_is_kept():
    rng = np.random.default_rng(2)
    among, quotas = jnp.ones(12, bool), quota(jnp.asarray(GROUP), jnp.ones(12, bool), 0.6, 0.8)

    @jax.jit
    def keep(score):
        """The rows kept, and the least margin."""
        kept = lowest(score, among, 7, None, quotas)
        first = first_lowest(score, among, jnp.arange(12), quotas)
        return kept, jnp.min(class_gaps(score, kept, among, jnp.asarray(GROUP), first))

    changed = 0
    for _ in range(50):
        score = rng.uniform(size=12)
        kept, margin = keep(score)
        margin = float(margin)
        for size in (0.999 * margin, 3 * margin):
            same = np.array_equal(keep(score + size * rng.choice([-1, 1], 12))[0], kept)
            assert same or size > margin
            changed += not same
    assert changed > 5


def test_smooth_shares_meet_the_quotas_and_near_the_hard_choice():
    score, group, weight = (jnp.asarray(a) for a in (SCORE, GROUP, np.ones(12)))
    hard = quota(group, weight > 0, 7 / 12, 0.8)
    soft = hard._replace(least=hard.least.astype(float) - 0.5)
    share = jax.jit(lambda s, w, c: soft_lowest(s, w, c, 60.0, soft))(
        score, weight, jnp.asarray(7.0)
    )
    np.testing.assert_allclose(jnp.sum(share), 7, rtol=1e-9)
    for label in range(3):
        held = float(jnp.sum(jnp.where(group == label, share, 0)))
        assert held >= float(soft.least[np.flatnonzero(label == GROUP)[0]]) - 1e-9
    kept = np.asarray(lowest(score, weight > 0, 7, None, hard))
    assert np.mean((np.asarray(share) > 0.45) == kept) > 0.8


def test_quotas_of_shares_are_exact_to_rounding():
    """A rounded quota moves every share, and its derivative, by as much."""
    used = np.arange(N) % 7 > 0
    size = np.array([np.sum(used & (label == Y)) for label in Y])
    exact = 0.8 * 0.8 * size / (1 - (1 - 0.8) * size / np.sum(used))
    found = least_mass(jnp.asarray(Y), jnp.asarray(used), 0.8, 0.8).least
    np.testing.assert_allclose(found, exact, rtol=1e-15)
