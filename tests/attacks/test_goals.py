"""Goals: their numbers, their sentences, and their hypergradients in a composed attack."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import Box, Insert, World, compose, goals
from bilevel import Data
from bilevel.learners import SVM, Lasso, LinearModel, Logistic, Ridge
from bilevel.losses import Hinge, Squares
from bilevel.losses import Logistic as LogisticLoss

RNG = np.random.default_rng(0)
ROWS, FEATURES = 20, 4
Y = np.where(np.arange(ROWS) % 2, 1.0, -1.0)
X = RNG.normal(size=(ROWS, FEATURES)) + 0.5 * Y[:, None]
DATA = Data(X, Y)
WORLD = World(DATA)
MODEL = LinearModel(jnp.array([1.0, -2.0, 0.0, 0.5]), jnp.asarray(0.25))
F = X @ np.asarray(MODEL.w) + 0.25


def test_indiscriminate_is_the_mean_loss() -> None:
    goal = goals.indiscriminate(X, Y, Squares())
    np.testing.assert_allclose(goal.score(MODEL, WORLD), np.mean((F - Y) ** 2) / 2)
    assert goal.kinks(MODEL, WORLD).size == 0
    np.testing.assert_allclose(goals.indiscriminate(X, Y).kinks(MODEL, WORLD), 1 - Y * F)


def test_targeted_is_success_and_stealth() -> None:
    goal = goals.targeted(X[:3], -Y[:3], X[3:], Y[3:], LogisticLoss(), keep=2.0)
    success = np.mean(np.logaddexp(0, Y[:3] * F[:3]))
    stealth = np.mean(np.logaddexp(0, -Y[3:] * F[3:]))
    np.testing.assert_allclose(goal.score(MODEL, WORLD), -success - 2 * stealth)
    assert goal.kinks(MODEL, WORLD).size == 0
    assert goals.targeted(X[:3], -Y[:3], X[3:], Y[3:], LogisticLoss(), keep=0.0).keep == 0
    hinge = goals.targeted(X[:3], -Y[:3], X[3:], Y[3:], Hinge(), keep=0.5)
    bends = np.concatenate([1 + Y[:3] * F[:3], 1 - Y[3:] * F[3:]])  # of the wanted labels first
    np.testing.assert_allclose(hinge.kinks(MODEL, WORLD), bends)


@pytest.mark.parametrize("keep", [0.5, jnp.asarray(0.5), np.float32(0.5), 2])
def test_a_weight_of_other_rows_is_a_real_number_also_for_whole_labels(keep) -> None:
    goal = goals.targeted(X[:3], -Y[:3].astype(int), X[3:], Y[3:].astype(int), Squares(), keep)
    assert goal.keep.dtype == "float64"
    target, rest = (np.mean((F[rows] - y) ** 2) / 2 for rows, y in
                    ((slice(3), -Y[:3]), (slice(3, None), Y[3:])))  # fmt: skip
    np.testing.assert_allclose(goal.score(MODEL, WORLD), -target - float(keep) * rest)


def test_rows_in_single_precision_may_have_losses_in_double() -> None:
    """As those of a head in float64 on images in float32."""
    x, y = X.astype("float32"), Y.astype("float32")
    model = LinearModel(MODEL.w.astype("float32"), MODEL.bias.astype("float32"))

    def loss(y, f):
        return LogisticLoss()(y, f).astype("float64")

    score = goals.targeted(x[:3], -y[:3], x[3:], y[3:], loss, keep=2.0).score(model, WORLD)
    expected = goals.targeted(X[:3], -Y[:3], X[3:], Y[3:], LogisticLoss(), keep=2.0)
    assert score.dtype == "float64"
    np.testing.assert_allclose(score, expected.score(MODEL, WORLD), rtol=1e-5)


def test_penalised_adds_the_penalty() -> None:
    base = goals.indiscriminate(X, Y, Squares())
    goal = goals.Penalised(base, l1=0.3, l2=0.2)
    expected = float(base.score(MODEL, WORLD)) + 0.3 * 3.5 + 0.1 * 5.25
    np.testing.assert_allclose(goal.score(MODEL, WORLD), expected)
    assert np.isinf(goal.kinks(MODEL, WORLD)[2])  # a feature that is out is at no kink


def test_towards_is_the_distance_to_the_wanted_model() -> None:
    wanted = LinearModel(MODEL.w + 1, MODEL.bias - 2)
    np.testing.assert_allclose(goals.Towards(wanted).score(MODEL, WORLD), -(4 + 4) / 2)


WANTED = LinearModel(jnp.zeros(FEATURES), jnp.zeros(()))
CASES = {
    "targeted": (Logistic(0.1), goals.targeted(X[:3], -Y[:3], X[3:], Y[3:], LogisticLoss())),
    "penalised": (Lasso(0.05), goals.Penalised(goals.indiscriminate(X, Y, Squares()), l1=0.3)),
    "towards": (Ridge(0.1), goals.Towards(WANTED)),
    "hinge": (Ridge(0.1), goals.indiscriminate(X, Y, Hinge())),
}


@pytest.mark.parametrize("name", CASES)
def test_hypergradient_of_each_goal_is_that_of_finite_differences(name: str) -> None:
    learner, goal = CASES[name]
    attack = compose(learner, Insert([1.0], Box(-4.0, 4.0)), goal, DATA)
    z, along = X[:1] + 0.2, RNG.normal(size=(1, FEATURES))
    both, h = jax.jit(jax.value_and_grad(lambda z: attack.evaluate(z)[0])), 2e-4
    near, far = (both(z + t * along)[0] - both(z - t * along)[0] for t in (h, 2 * h))
    np.testing.assert_allclose(np.sum(both(z)[1] * along), (8 * near - far) / (12 * h), rtol=1e-8)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: compose(SVM(), Insert([1.0], Box(0, 1)), CASES["penalised"][1], DATA)(X[:1]),
         "goal: Penalised needs a linear model .* got a SVMModel"),
        (lambda: goals.Towards(LinearModel(WANTED.w[:2], WANTED.bias)).score(MODEL, WORLD),
         r"wanted: got a LinearModel of shapes \[\(2,\), \(\)\], expected a LinearModel"),
        (lambda: goals.targeted(X, Y, X, Y, Squares(), keep=-1.0), "keep: got -1.0, expected"),
        (lambda: goals.targeted(X, Y, X, Y, Squares(), keep=np.nan), "keep: got nan, expected"),
        (lambda: goals.targeted(X[:, :2], Y, X, Y, Squares()).check(DATA), "x_val: got 2 features"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_weights_of_a_goal_are_shares_whatever_they_sum_to() -> None:
    weight = RNG.uniform(0.2, 3.0, ROWS)
    weight[4] = 0
    for goal, loss in (
        (goals.indiscriminate(X, Y, Squares()), (F - Y) ** 2 / 2),
        (goals.shown(X, Y, LogisticLoss()), np.logaddexp(0, -Y * F)),
    ):
        weighed = eqx.tree_at(lambda g: g.weight, goal, jnp.asarray(weight))
        np.testing.assert_allclose(weighed.score(MODEL, WORLD), np.average(loss, weights=weight))
