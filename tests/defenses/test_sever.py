"""SEVER against a loop in NumPy, and its derivative against central differences."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn import svm
from sklearn.linear_model import Ridge as Peer

from attacks import Box, Insert, World, compose, indiscriminate
from bilevel import Data
from bilevel.learners import SVM, LinearModel, Ridge, Softmax, kernels
from bilevel.losses import Hinge, Squares
from defenses import Sever, SoftSever, Trim
from defenses.sanitise import sever, soft_sever
from defenses.sanitise._gradients import Gradients, principal, row_gradients

N, D, BAD = 40, 3, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D))
Y = X @ [1.0, -2.0, 0.5] + 0.1 * RNG.normal(size=N)
POISON = RNG.permutation(N)[:BAD]
X[POISON] = [2.0, 1.0, 1.0] + 0.1 * RNG.normal(size=(BAD, D))
Y[POISON] = 15 + 0.1 * RNG.normal(size=BAD)
WEIGHT = RNG.uniform(0.5, 2, N)
WEIGHT[(POISON[0] + 1) % N] = 0
DATA = Data(X, Y, WEIGHT)
SEVER = Sever(Ridge(0.1), contamination=0.3)


@eqx.filter_jit
def inspect(defense, data):
    return defense.inspect(data)


def scores(loss, model, data):
    gradients = row_gradients(loss, model, data)
    return gradients.scores(principal(gradients))


def numpy_scores(x, slope, weight):
    """By a singular value decomposition of the gradients (n, d + 1)."""
    gradient = slope[:, None] * np.column_stack([x, np.ones(len(x))])
    share = weight / weight.sum()
    centred = gradient - share @ gradient
    direction = np.linalg.svd(np.sqrt(share)[:, None] * centred)[2][0]
    return (centred @ direction) ** 2


def numpy_sever(defense):
    keep = WEIGHT > 0
    for number in range(defense.rounds):
        weight = WEIGHT * keep
        model = Peer(alpha=0.1 * weight.sum(), tol=1e-12).fit(X, Y, sample_weight=weight)
        score = np.where(keep, numpy_scores(X, model.predict(X) - Y, weight), np.inf)
        share = defense.contamination * (number + 1) / defense.rounds
        left = round((1 - share) * np.sum(WEIGHT > 0))
        keep = keep & (np.argsort(np.argsort(score)) < left)
    return keep


def test_it_is_the_loop_and_finds_poison_that_pulls_together():
    seen = inspect(SEVER, DATA)
    np.testing.assert_array_equal(seen.kept, numpy_sever(SEVER))
    assert not np.any(np.asarray(seen.kept)[POISON])
    assert int(seen.trainings) == SEVER.rounds
    assert "kept 27 of 39 rows" in seen.message(DATA)
    dropped = np.asarray(DATA.weight > 0) & ~np.asarray(seen.kept)
    assert seen.score[dropped].min() >= 1
    np.testing.assert_allclose(seen.score[np.asarray(seen.kept)].max(), 1, rtol=1e-12)


def test_the_scores_are_those_of_a_singular_value_decomposition():
    model = LinearModel(jnp.array([0.5, 0.3, -1.0]), jnp.array(0.2))
    slope = np.asarray(model.decision(DATA.x)) - Y
    expected = numpy_scores(X, slope, WEIGHT)
    np.testing.assert_allclose(
        jax.jit(lambda: scores(Squares(), model, DATA))(), expected, rtol=1e-6
    )


@pytest.mark.slow
def test_the_scores_of_a_kernel_are_those_of_its_matrix():
    y = np.where(np.arange(N) % 2, 1.0, -1.0)
    model = SVM(0.5, kernels.RBF(0.4)).fit(Data(X, y, WEIGHT)).model
    f = np.asarray(model.decision(DATA.x))
    slope = np.where(np.abs(y * f - 1) < 1e-9, -0.5, np.where(y * f < 1, -1.0, 0.0)) * y
    assert np.any(np.abs(slope) == 0.5)
    gram = np.exp(-0.4 * np.sum((X[:, None] - X[None]) ** 2, axis=2)) + 1
    share = WEIGHT / WEIGHT.sum()
    centre = np.eye(N) - share[None, :]
    inner = centre @ (slope[:, None] * gram * slope[None, :]) @ centre.T
    root = np.sqrt(share)
    values, vectors = np.linalg.eigh(root[:, None] * inner * root[None, :])
    projected = inner @ (root * vectors[:, -1]) / np.sqrt(values[-1])
    seen = eqx.filter_jit(scores)(Hinge(), model, Data(X, y, WEIGHT))
    np.testing.assert_allclose(seen, projected**2, rtol=1e-5, atol=1e-9)


def test_no_order_of_the_rows_matters_even_where_scores_tie():
    """Rows beyond an SVM's margin have no slope: all of these tie."""
    order = RNG.permutation(N)
    y = np.where(X @ [1.0, -2.0, 0.5] > 0, 1.0, -1.0)
    for defense, labels in ((SEVER, Y), (Sever(SVM(0.5), 0.6), y)):
        kept = inspect(defense, Data(X, labels, WEIGHT)).kept
        moved = inspect(defense, Data(X[order], labels[order], WEIGHT[order])).kept
        np.testing.assert_array_equal(moved, kept[order])
        assert int(jnp.sum(kept)) < N - 1


@pytest.mark.slow
def test_the_svm_that_is_trained_is_that_of_the_rows_kept():
    y = np.where(X @ [1.0, -2.0, 0.5] > 0, 1.0, -1.0)
    defense, data = Sever(SVM(0.5), 0.3), Data(X, y)
    kept = np.asarray(inspect(defense, data).kept)
    peer = svm.SVC(C=0.5, kernel="linear", tol=1e-10).fit(X[kept], y[kept])
    f = defense.fit(data).model.decision(data.x)
    np.testing.assert_allclose(f, peer.decision_function(X), atol=1e-6)


class Told:
    """A learner that is told its codes: 3 while all rows are there, then 1."""

    loss = Squares()

    def cold(self, data, *, key):
        return jnp.zeros(1)

    def fit(self, data, warm=None, *, key, throw):
        code = jnp.where(jnp.all(data.weight > 0), 3, 1).astype(jnp.int32)
        return SimpleNamespace(model=None, warm=warm, result=code)


def test_rows_dropped_in_the_first_round_fill_no_quota_of_the_second(monkeypatch):
    """Of two classes of six rows 9 and then 6 stay: at least four, then three of each. The rows
    that go first have the least scores afterwards.
    """
    first = np.array([1.0, 2, 3, 4, 90, 91, 5, 6, 7, 8, 9, 10])
    second = np.array([10.0, 11, 12, 50, 0.1, 0.2, 1, 2, 3, 4, 5, 0.3])

    def row_gradients(loss, model, subset):
        whole = jnp.all(subset.weight > 0)
        return SimpleNamespace(scores=lambda c: jnp.where(whole, first, second))

    monkeypatch.setattr(sever, "row_gradients", row_gradients)
    monkeypatch.setattr(sever, "principal", lambda gradients: None)
    defense = Sever(Told(), 0.5, rounds=2)  # pyright: ignore
    seen = defense.inspect(Data(np.arange(12.0)[:, None], np.repeat([-1.0, 1.0], 6)))
    assert np.flatnonzero(seen.kept).tolist() == [0, 1, 2, 6, 7, 8]
    assert (int(seen.result), int(seen.trainings)) == (3, 2)
    stayed = np.isin(np.arange(12), [4, 5, 11], invert=True)
    np.testing.assert_allclose(seen.score, np.where(stayed, second / 12, first / 9))
    # Cuts in the first round at 47, and at 9.5 for the other class and for the row beyond quotas;
    # in the second one at 31 and 3.5, and no row beyond them stays.
    one = np.abs(first - np.repeat([47, 9.5], 6)) / 9
    two = np.abs(second - np.repeat([31, 3.5], 6)) / 12
    margin = np.asarray(seen.margin, float)
    np.testing.assert_allclose(margin, np.where(stayed, np.minimum(one, two), one))


SOFT = SoftSever(Ridge(0.1), SEVER.contamination, rounds=2)


@pytest.mark.parametrize("defense", [SEVER, SOFT])
def test_gradients_are_those_of_central_differences(defense):
    at = {"y": DATA.y, "weight": DATA.weight, "x": DATA.x}

    @jax.jit
    @jax.value_and_grad
    def both(at):
        model = defense.fit(Data(at["x"], at["y"], at["weight"]), throw=False).model
        return jnp.mean(jnp.cos(model.decision(DATA.x)))

    gradient = both(at)[1]
    dropped = ~np.asarray(inspect(SEVER, DATA).kept) & (WEIGHT > 0)
    h = 2e-4
    for name, leaf in at.items():
        along = np.sin(np.arange(leaf.size)).reshape(leaf.shape) / leaf.size**0.5
        along[DATA.weight == 0] = 0  # or it would be a row
        one, two, minus_one, minus_two = (
            both({**at, name: leaf + k * h * along})[0] for k in (1, 2, -1, -2)
        )
        expected = (8 * (one - minus_one) - (two - minus_two)) / (12 * h)
        assert abs(expected) > 1e-4
        np.testing.assert_allclose(np.sum(gradient[name] * along), expected, rtol=1e-8)
        # A row dropped has no derivative: that is what the surrogate is for.
        assert np.all((np.asarray(gradient[name])[dropped] == 0) == (defense is SEVER))


def faded(share, score, log):
    return share / (1 + (score / np.exp(log)) ** SOFT.sharpness)


def numpy_soft_scores(defense):
    """Of the last round: rows that have faded count by what is left of them."""
    share, used, score = np.ones(N), WEIGHT > 0, np.zeros(N)
    for number in range(defense.rounds):
        weight = WEIGHT * share
        model = Peer(alpha=0.1 * weight.sum(), tol=1e-12).fit(X, Y, sample_weight=weight)
        score = numpy_scores(X, model.predict(X) - Y, weight)
        left = (1 - defense.contamination * (number + 1) / defense.rounds) * used.sum()

        def excess(log, share=share, score=score, left=left):
            return np.sum(faded(share, score, log)[used]) - left

        share = faded(share, score, brentq(excess, -50, 50, xtol=1e-14))
    return score


def test_the_surrogate_keeps_as_much_and_when_sharp_the_same():
    seen = inspect(SOFT, DATA)
    share = np.asarray(seen.data.weight)[WEIGHT > 0] / WEIGHT[WEIGHT > 0]
    np.testing.assert_allclose(share.sum(), 0.7 * (N - 1), rtol=1e-9)
    np.testing.assert_allclose(
        seen.score[WEIGHT > 0], numpy_soft_scores(SOFT)[WEIGHT > 0], rtol=1e-6, atol=1e-9
    )
    sharp = inspect(SoftSever(Ridge(0.1), SEVER.contamination, 2, sharpness=1e3), DATA)
    hard = inspect(Sever(Ridge(0.1), SEVER.contamination, 2), DATA)
    assert np.mean((sharp.data.weight > 0.5 * DATA.weight) == hard.kept) > 0.95


def test_scores_of_the_surrogate_follow_the_direction_as_it_turns(monkeypatch):
    """The slopes of the losses are the labels: nothing is trained."""

    def row_gradients(loss, model, subset):
        kernel, share = kernels.Linear(), subset.weight / jnp.sum(subset.weight)
        return Gradients(subset.y, share, subset.x, kernel.prepare(subset.x, subset.x), kernel)

    monkeypatch.setattr(soft_sever, "row_gradients", row_gradients)
    monkeypatch.setattr(soft_sever, "soft_lowest", lambda score, *given: jnp.ones_like(score))
    defense, moved = SoftSever(Told(), 0.3, rounds=1), np.sin(np.arange(N))  # pyright: ignore

    def score(y):
        return defense.inspect(Data(X, y, WEIGHT)).score

    found, slope = jax.jvp(score, (jnp.asarray(Y),), (jnp.asarray(moved),))
    np.testing.assert_allclose(found, numpy_scores(X, Y, WEIGHT), rtol=1e-6)
    h = 1e-5
    ends = [numpy_scores(X, Y + step * moved, WEIGHT) for step in (h, -h)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * h), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "defense", [SEVER, pytest.param(Sever(Trim(Ridge(0.1), 0.05), 0.1), marks=pytest.mark.slow)]
)
def test_an_adaptive_attack_is_one_on_another_learner(defense):
    reach, goal = Insert(np.array([6.0]), Box(-3.0, 3.0)), indiscriminate(X[:9], Y[:9], Squares())
    attack, z = compose(defense, reach, goal, DATA), jnp.ones((1, D))
    train = reach.inject(z, DATA)
    score = goal.score(defense.fit(train, throw=False).model, World(train))
    np.testing.assert_allclose(jax.jit(attack.evaluate)(z)[0], score, rtol=1e-9)


def test_sentences():
    for make, sentence in (
        (lambda: Sever(Ridge(), 1.0), r"^contamination: got 1.0, expected a share"),
        (
            lambda: Sever(Ridge(), 0.1, rounds=0),
            r"^rounds: got 0, expected a whole number, at least 1",
        ),
        (
            lambda: Sever(Softmax(2)).fit(Data(X, np.arange(N) % 2)),
            r"^learner: Sever takes models that have a kernel, .* got a learner of SoftmaxModel",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            make()
