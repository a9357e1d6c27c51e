"""TRIM and its smooth surrogate: which rows, that order does not matter, and derivatives."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference

from attacks import XY, Box, InsertXY, compose, indiscriminate, poison_regression
from bilevel import Data, certify, losses
from bilevel.learners import SVM, Fixed, Lasso, LinearModel, Logistic, Ridge
from bilevel.losses import Squares
from bilevel.results import CONVERGED, MAX_STEPS
from defenses import Filter, SoftTrim, Trim, scores
from defenses.sanitise.trim import Search, _once_more

N, POISON, D = 40, 8, 3
L2 = 0.05


def regression(seed=0):
    """A line with noise, and poison far from it among the rows, in random order."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(N, D))
    y = x @ np.array([0.5, -0.2, 0.3]) + 0.2 + 0.02 * rng.normal(size=N)
    bad = rng.permutation(N)[:POISON]
    y[bad] += 1
    return x, y, np.isin(np.arange(N), bad)


X, Y, BAD = regression()
DATA = Data(X, Y)
LEARNER = Ridge(L2)


def by_hand(keep):
    """The loop, with scikit-learn's ridge."""
    while True:
        model = Reference(L2 * keep.sum()).fit(X[keep], Y[keep])
        order = np.argsort((model.predict(X) - Y) ** 2)
        new = np.isin(np.arange(N), order[: N - POISON])
        if np.all(new == keep):
            return keep
        keep = new


def test_the_rows_kept_are_those_of_the_loop_by_hand_and_no_poison():
    fitted = Trim(LEARNER, POISON / N).fit(DATA)
    model, seen = fitted.model, fitted.report
    np.testing.assert_array_equal(seen.kept, by_hand(np.ones(N, bool)))
    np.testing.assert_array_equal(seen.kept, ~BAD)
    assert isinstance(model, LinearModel)
    expected = Reference(L2 * (N - POISON)).fit(X[~BAD], Y[~BAD])
    np.testing.assert_allclose(model.w, expected.coef_, rtol=1e-9)
    assert "kept 32 of 40 rows" in seen.message(DATA)
    assert "no gap" not in seen.message(DATA)


def test_too_much_trimming_is_told_by_the_missing_gap():
    defense = Trim(LEARNER, 0.4)
    assert "no gap" in defense.inspect(DATA).message(DATA)


@pytest.mark.parametrize(("seed", "share"), [(5, 1 + 1e-12), (11, 0.75)])
def test_restarts_end_with_no_larger_trimmed_loss_and_at_times_a_smaller_one(seed, share):
    x, y, _ = regression(seed)
    y = np.where(np.arange(N) % 3 == 0, 1 - y, y)  # more poison than is trimmed
    data = Data(x, y)

    def loss(defense):
        seen = defense.inspect(data)
        return float(jnp.mean(seen.score[seen.kept]))

    alone, helped = loss(Trim(LEARNER, 0.3)), loss(Trim(LEARNER, 0.3, restarts=20))
    assert helped <= alone * share


@pytest.mark.parametrize("seed", [5, 7])
def test_restarts_end_with_the_least_mean_loss_by_weight(seed):
    """Of all sets that stay, found by scikit-learn's ridge from many random sets: there the least
    weighted mean is that of another set than the least plain mean.
    """
    x, y, _ = regression(seed)
    y = np.where(np.arange(N) % 3 == 0, 1 - y, y)  # more poison than is trimmed
    rng = np.random.default_rng(seed)
    weight, count = 10 ** rng.uniform(-1, 1, N), round(0.7 * N)

    def losses(keep):
        model = Reference(L2 * weight[keep].sum()).fit(x[keep], y[keep], weight[keep])
        return (model.predict(x) - y) ** 2

    ends = []
    for _ in range(40):
        old, keep = np.zeros(N, bool), rng.permutation(N) < count
        while np.any(old != keep):
            old, keep = keep, np.isin(np.arange(N), np.argsort(losses(keep))[:count])
        left = losses(keep)[keep]
        ends.append((np.average(left, weights=weight[keep]), np.mean(left), keep))
    best, _, where = min(ends, key=lambda end: end[0])
    plain, *_ = min(ends, key=lambda end: end[1])
    assert plain > 1.05 * best
    fitted = Trim(LEARNER, 0.3, restarts=20).fit(Data(x, y, weight))
    np.testing.assert_array_equal(fitted.report.kept, where)
    expected = Reference(L2 * weight[where].sum()).fit(x[where], y[where], weight[where])
    np.testing.assert_allclose(fitted.model.w, expected.coef_, rtol=1e-8)


@pytest.mark.parametrize("seed", [10, 11, 17])
def test_a_set_that_stays_as_it_was_drawn_is_trained_on_all_the_same(seed):
    """Two lines, and random sets that find the better one in two trainings; from all rows not."""
    x, y, _ = regression(seed)
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(N) < 0.45, 1.5 * rng.normal() - y, y)
    fitted = Trim(LEARNER, 0.3, restarts=20).fit(Data(x, y))
    kept = np.asarray(fitted.report.kept)
    expected = Reference(L2 * kept.sum()).fit(x[kept], y[kept])
    np.testing.assert_allclose(fitted.model.w, expected.coef_, rtol=1e-6)


def test_equal_losses_are_told_apart_by_content_not_by_order():
    """Under a model that is not trained, three losses of which many rows have the middle one."""
    steps = np.arange(N)
    x = np.stack([steps % 7, steps**2 % 11, steps], axis=1) / 8.0
    off = np.where(steps < 10, 0.0, np.where(steps < 34, (-1.0) ** steps, 3.0))
    model = LinearModel(jnp.asarray([1.0, 0.0, 0.0]), jnp.asarray(0.0))
    defense, y = Trim(Fixed(model, Squares()), 0.4), x[:, 0] + off
    kept = np.asarray(defense.inspect(Data(x, y)).kept)
    assert kept[:10].all()
    assert not kept[34:].any()
    assert kept[10:34].sum() == 14
    for order in (steps[::-1], np.random.default_rng(0).permutation(N)):
        np.testing.assert_array_equal(defense.inspect(Data(x[order], y[order])).kept, kept[order])


def test_rows_of_weight_zero_do_not_count():
    weight = jnp.ones(N).at[:5].set(0)
    seen = Trim(LEARNER, 0.2).inspect(Data(X, Y, weight))
    assert int(jnp.sum(seen.kept)) == round(0.8 * (N - 5))
    assert not bool(jnp.any(seen.kept[:5]))
    alone = Trim(LEARNER, 0.2).inspect(Data(X[5:], Y[5:]))
    np.testing.assert_array_equal(seen.kept[5:], alone.kept)


def goal_of(learner, labels=None):
    y = Y if labels is None else labels

    def value(x):
        model = learner.fit(Data(x, y), throw=False).model
        return jnp.mean(Squares()(jnp.asarray(y), model.decision(jnp.asarray(X))))

    return value


def checked_gradient(value, rtol):
    both = jax.jit(jax.value_and_grad(value))
    towards = np.random.default_rng(1).normal(size=X.shape)
    gradient = both(X)[1]
    ours = float(np.sum(gradient * towards))
    t = 1e-4
    near, far = (
        float(both(X + s * towards)[0] - both(X - s * towards)[0]) / (2 * s) for s in (t, 2 * t)
    )
    np.testing.assert_allclose(ours, (4 * near - far) / 3, rtol=rtol)
    return np.asarray(gradient)


def test_the_gradient_through_the_rows_kept_is_exact():
    slopes = checked_gradient(goal_of(Trim(LEARNER, POISON / N)), 1e-8)
    assert not np.any(slopes[BAD])
    assert np.all(np.any(slopes[~BAD] != 0, axis=1))


@pytest.mark.slow
def test_the_gradient_of_the_smooth_surrogate_is_exact_in_all_rows():
    slopes = checked_gradient(goal_of(SoftTrim(LEARNER, 0.2)), 1e-8)
    assert np.all(np.any(slopes != 0, axis=1))


def test_the_smooth_surrogate_keeps_the_share_and_nears_the_hard_one():
    near, far = (SoftTrim(LEARNER, 0.2, sharpness=t).inspect(DATA) for t in (20.0, 2.0))
    hard = Trim(LEARNER, POISON / N).fit(DATA).report
    for seen in (near, far):
        np.testing.assert_allclose(jnp.sum(seen.data.weight), 0.8 * N, rtol=1e-9)
    np.testing.assert_allclose(near.data.weight, hard.data.weight, atol=0.02)


def test_columns_far_from_the_origin_have_the_shares_of_near_ones():
    far = SoftTrim(LEARNER, 0.2).inspect(Data(X + np.array([1e3, 1e6, 1e5]), Y))
    assert int(far.result) == CONVERGED
    near = SoftTrim(LEARNER, 0.2).inspect(DATA)
    np.testing.assert_allclose(far.data.weight, near.data.weight, atol=1e-7)


def separated(seed=0):
    """Two classes far apart, but for three rows on the wrong side."""
    y = np.where(np.arange(N) % 2, 1.0, -1.0)
    x = np.random.default_rng(seed).normal(size=(N, D)) + 2 * y[:, None]
    x[:3] *= -1
    return Data(jnp.asarray(x), jnp.asarray(y))


def test_rows_without_loss_have_shares_in_the_order_of_their_margins():
    data = separated()
    model = LinearModel(jnp.ones(D), jnp.asarray(0.0))
    seen = SoftTrim(Fixed(model, losses.Hinge()), 0.2, balance=0).inspect(data)
    margin, share = np.asarray(data.y * model.decision(data.x)), np.asarray(seen.data.weight)
    assert np.mean(margin > 1) > 0.8
    assert np.all(np.diff(share[np.argsort(margin)]) > 0)
    np.testing.assert_allclose(np.sum(share), 0.8 * N, rtol=1e-9)


@pytest.mark.slow
def test_around_an_svm_without_loss_on_most_rows_shares_settle():
    data, learner = separated(), SVM(1.0)
    seen = SoftTrim(learner, 0.2).inspect(data)
    assert int(seen.result) == CONVERGED
    margin = np.asarray(data.y * learner.fit(seen.data).model.decision(data.x))
    assert np.mean(margin > 1) > 0.8


@pytest.mark.slow
def test_an_adaptive_attack_is_the_same_composition():
    reach = InsertXY(4, Box(0.0, 1.0), Box(0.0, 1.0))
    start = XY(jnp.asarray(X[:4]), jnp.asarray(np.clip(1 - Y[:4], 0, 1)))
    goal = indiscriminate(X[~BAD], Y[~BAD], Squares())
    clean = Data(X[~BAD], Y[~BAD])

    def poison(learner):
        return (
            poison_regression(clean, start, clean, learner, domain=Box(0.0, 1.0), steps=50)
            .climb()
            .z
        )

    hard = compose(Trim(LEARNER, 0.1), reach, goal, clean)
    unaware, aware = poison(LEARNER), poison(Trim(LEARNER, 0.1))  # one word of difference
    assert float(hard(aware)) > 1.3 * float(hard(unaware))
    assert bool(certify(hard, aware).error_bound >= 0)
    kinks = hard.pose(aware).kinks(jnp.zeros(D + 1))
    assert kinks.shape == (clean.rows + 4,)
    assert float(jnp.min(kinks)) > 0


@pytest.mark.parametrize("learner", [Logistic(0.05), SVM(1.0), Lasso(0.001)])
def test_other_learners_are_trimmed_too(learner):
    labels = np.where(X[:, 0] > 0.5, 1.0, -1.0)
    bad = np.argsort(np.abs(X[:, 0] - 0.5))[-5:]  # far on the wrong side
    flipped = labels.copy()
    flipped[bad] *= -1
    defense = Trim(learner, 5 / N)
    seen = jax.jit(lambda data: defense.inspect(data))(Data(X, flipped))
    np.testing.assert_array_equal(np.flatnonzero(~np.asarray(seen.kept)), np.sort(bad))


def test_defenses_chain():
    defense = Filter(Trim(LEARNER, 0.1), scores.Distance(), 0.05, classes=())
    data = defense.inspect(DATA).data
    assert int(jnp.sum(data.weight > 0)) == 38
    alone, x = Trim(LEARNER, 0.1).fit(data), jnp.asarray(X)
    assert int(jnp.sum(alone.report.kept)) == round(0.9 * 38)
    expected = alone.model.decision(x)
    np.testing.assert_allclose(defense.fit(DATA).model.decision(x), expected)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Trim(LEARNER, 1.0), r"^contamination: got 1.0, expected a share"),
        (lambda: SoftTrim(LEARNER, -0.1), r"^contamination: got -0.1"),
        (lambda: Trim(LEARNER, 0.1, restarts=-1), r"^restarts: got -1"),
        (lambda: SoftTrim(LEARNER, 0.1, sharpness=0), r"^sharpness: got 0"),
        (lambda: Trim(LEARNER).fit(Data(X[:0], Y[:0])), r"^x: got no rows"),
    ],
)
def test_bad_input_is_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.slow
def test_ties_by_rounding_do_not_keep_the_search_from_ending():
    """Encoded categories: rows of different content have the same margin, up to rounding."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        y = np.where(np.arange(22) % 2, 1.0, -1.0)
        x = rng.normal(size=(22, 2)) + 0.7 * y[:, None]
        x = np.concatenate([np.eye(2)[(x[:, j] > 0).astype(int)] for j in range(2)], axis=1)
        seen = Trim(SVM(10 ** rng.uniform(-1, 1)), 0.2).inspect(Data(x, y))
        assert int(seen.result) == CONVERGED


def test_of_the_starts_whose_set_stays_the_best_alone_is_trained_once_more() -> None:
    """Their losses ascend: the second is the best that stayed, the third has nothing to add."""
    keep = jnp.array([[True, False], [True, False], [False, True], [True, True]])
    trained = keep.at[0].set(jnp.array([False, True]))
    loss = jnp.array([1.0, 2.0, 3.0, 4.0])
    blank: Any = None
    state = Search(keep, trained, blank, None, blank, loss, blank, blank)
    after = _once_more(state)
    again = jnp.any(after.keep != after.trained, axis=1)
    np.testing.assert_array_equal(again, [True, True, False, False])
    np.testing.assert_array_equal(after.loss, [1, 2, np.inf, np.inf])
    none = _once_more(state._replace(trained=~keep))
    np.testing.assert_array_equal(none.trained, ~keep)
    np.testing.assert_array_equal(none.loss, loss)


def test_a_set_that_settles_in_the_last_training_allowed_has_settled() -> None:
    @jax.jit
    def inspect(most):
        defense = eqx.tree_at(lambda d: d.max_trainings, Trim(LEARNER, POISON / N), most)
        seen = defense.inspect(DATA)
        return seen.result, seen.trainings

    result, needed = inspect(jnp.int32(100))
    assert (int(result), int(needed) > 1) == (CONVERGED, True)
    assert [int(a) for a in inspect(needed)] == [CONVERGED, int(needed)]
    assert [int(a) for a in inspect(needed - 1)] == [MAX_STEPS, int(needed) - 1]
