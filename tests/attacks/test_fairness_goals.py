"""Goals of fairness: their numbers, their gradients (also in lambda), kinks, sentences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import (
    Box,
    Insert,
    World,
    compose,
    disparity,
    fairness,
    goals,
    group_loss,
    indiscriminate,
)
from attacks.fairness import Between, Extremes
from bilevel import Data, maximize
from bilevel.learners import LinearModel, Logistic, SoftmaxModel
from bilevel.losses import Logistic as LogisticLoss

RNG = np.random.default_rng(0)
N, D = 24, 3
Y = np.where(np.arange(N) % 2, 1.0, -1.0)
GROUP = np.arange(N) // 2 % 3
X = RNG.normal(size=(N, D)) + 0.5 * Y[:, None] + 0.4 * GROUP[:, None]
MODEL = LinearModel(jnp.array([1.0, -0.6, 0.3]), jnp.asarray(0.2))
F = X @ np.asarray(MODEL.w) + 0.2
WORLD = World(Data(X, Y))
TWO = np.minimum(GROUP, 1)
MEASURES = {
    "impact": fairness.DisparateImpact,
    "parity": fairness.ParityDifference,
    "opportunity": fairness.EqualOpportunity,
    "equalised": fairness.EqualisedOdds,
    "average": fairness.AverageOdds,
}
HARD = dict(zip(MEASURES, fairness.Disparities._fields, strict=True))


@pytest.mark.parametrize("name", MEASURES)
def test_cold_measures_are_those_of_the_report(name: str) -> None:
    found = fairness.report(Y, np.sign(F), GROUP)
    pairs = (Extremes(), found.disparities), (Between(2, 0), found.between(2, 0))
    for contrast, expected in pairs:
        goal = disparity(X, Y, GROUP, MEASURES[name](contrast), temperature=1e-6)
        score = goal.score(MODEL, WORLD)
        np.testing.assert_allclose(score, getattr(expected, HARD[name]), atol=1e-12)


def test_smooth_rates_are_weighted_means_of_sigmoids() -> None:
    goal = disparity(X, Y, TWO, fairness.ParityDifference(Between()), temperature=0.5)
    weight = RNG.uniform(0.5, 2.0, N)
    weighed = eqx.tree_at(lambda g: g.weight, goal, jnp.asarray(weight))
    soft, sides = 1 / (1 + np.exp(-F / 0.5)), (TWO < 1, TWO > 0)
    rates = [np.average(soft[side], weights=weight[side]) for side in sides]
    np.testing.assert_allclose(weighed.score(MODEL, WORLD), rates[0] - rates[1], rtol=1e-12)
    shares = [weight[side].sum() / weight.sum() for side in sides]
    np.testing.assert_allclose(weighed.rates(MODEL).share, shares, rtol=1e-12)


def test_the_difference_of_mean_decisions_is_a_covariance() -> None:
    goal = disparity(X, Y, TWO, fairness.MeanDecision())
    expected = np.mean((TWO - TWO.mean()) * F)  # group 1 against group 0
    np.testing.assert_allclose(goal.score(MODEL, WORLD), -expected, rtol=1e-12)
    three = disparity(X, Y, GROUP, fairness.MeanDecision(Between(2, 0)))
    some = GROUP != 1  # the rows of other groups have no part in it
    pair = disparity(X[some], Y[some], GROUP[some] // 2, fairness.MeanDecision(Between(1, 0)))
    np.testing.assert_allclose(three.score(MODEL, WORLD), pair.score(MODEL, WORLD), rtol=1e-12)


def test_group_loss_is_the_sum_of_the_paper() -> None:
    """sum over unprivileged rows + lambda sum over privileged rows, divided by p."""
    loss = np.logaddexp(0, -Y * F)
    p, m = np.sum(TWO == 0), np.sum(TWO == 1)
    factor = 0.7
    goal = group_loss(X, Y, TWO, [1.0, factor * m / p])
    expected = loss[TWO == 0].sum() + factor * loss[TWO == 1].sum()
    np.testing.assert_allclose(goal.score(MODEL, WORLD), expected / p, rtol=1e-12)
    three = group_loss(X, Y, GROUP).score(MODEL, WORLD)
    parts = loss[GROUP < 1], loss[GROUP % 2 > 0], loss[GROUP > 1]
    np.testing.assert_allclose(three, sum(part.mean() for part in parts), rtol=1e-12)


BASE = disparity(X, Y, TWO, fairness.ParityDifference(Between()))
ERROR = indiscriminate(X, Y, goals.SoftError())


def test_goals_of_goals() -> None:
    gap, error = (float(g.score(MODEL, WORLD)) for g in (BASE, ERROR))
    assert float(goals.Sum([BASE, ERROR], [-1.0, 2.0]).score(MODEL, WORLD)) == 2 * error - gap
    near = goals.Near(BASE, 0.1).score(MODEL, WORLD)
    np.testing.assert_allclose(near, -((gap - 0.1) ** 2) / 2, rtol=1e-12)
    above = goals.AtMost(ERROR, error - 0.1)
    np.testing.assert_allclose(above.score(MODEL, WORLD), -0.005, rtol=1e-9)
    np.testing.assert_allclose(above.kinks(MODEL, WORLD), [0.1], rtol=1e-9)
    assert float(goals.AtMost(ERROR, error + 0.1).score(MODEL, WORLD)) == 0
    expected = np.mean(1 / (1 + np.exp(Y * F / 0.25)))
    np.testing.assert_allclose(error, expected, rtol=1e-12)


CASES = {
    "group loss": group_loss(X, Y, GROUP, [1.0, -0.5, 2.0]),
    "impact of extremes": disparity(X, Y, GROUP, fairness.DisparateImpact()),
    "equalised odds": disparity(X, Y, GROUP, fairness.EqualisedOdds(Between(1, 2))),
    "constrained": goals.Sum(
        [goals.Near(disparity(X, Y, TWO, fairness.AverageOdds(Between())), 0.4),
         disparity(X, Y, TWO, fairness.MeanDecision()), goals.AtMost(ERROR, 0.1)],
        [1.0, -0.3, 5.0],
    ),
}  # fmt: skip
REACH = Insert([1.0, -1.0], Box(-4.0, 4.0))


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_central_differences_also_in_the_weights(name: str) -> None:
    attack = compose(Logistic(0.05), REACH, CASES[name], Data(X, Y))
    numbers = {
        "group loss": lambda a: a.goal.weights,
        "impact of extremes": lambda a: a.goal.temperature,
        "equalised odds": lambda a: a.goal.weight,
        "constrained": lambda a: (a.goal.weights, a.goal.goals[0].level, a.goal.goals[2].level),
    }[name]

    @jax.jit
    @jax.value_and_grad
    def both(leaves):
        z, numbers_of = leaves
        return eqx.tree_at(numbers, attack, numbers_of).evaluate(z)[0]

    at = jax.tree.map(np.asarray, (X[:2] + 0.2, numbers(attack)))
    slopes = both(at)[1]
    rng = np.random.default_rng(1)
    for part in range(2):
        drawn = jax.tree.map(lambda leaf: np.asarray(rng.choice([-1.0, 1.0], leaf.shape)), at)
        still = jax.tree.map(np.zeros_like, at)
        along = (drawn[0], still[1]) if part == 0 else (still[0], drawn[1])

        def moved(t, along=along):
            return float(both(jax.tree.map(lambda a, d: a + t * d, at, along))[0])

        h = 2e-4
        near, far = (moved(t) - moved(-t) for t in (h, 2 * h))
        expected = (8 * near - far) / (12 * h)
        assert abs(expected) > 1e-5
        parts = jax.tree.map(np.vdot, slopes, along)
        np.testing.assert_allclose(sum(jax.tree.leaves(parts)), expected, rtol=1e-8)


def test_kinks_are_where_the_measure_has_them() -> None:
    tied = jnp.array([0.2, 0.5, 0.5])
    rates = fairness.Rates(*[tied] * 5)
    for measure in (fairness.DisparateImpact(), fairness.EqualOpportunity()):
        np.testing.assert_allclose(measure.kinks(rates), [0.3, 0.3, 0.0], atol=1e-12)
    assert fairness.DisparateImpact(Between()).kinks(rates) == []
    odds = fairness.EqualisedOdds(Between(0, 1))
    np.testing.assert_allclose(odds.kinks(rates), [-0.6, 0.0], atol=1e-12)  # a + b, a - b
    assert BASE.kinks(MODEL, WORLD).size == 0
    assert CASES["impact of extremes"].kinks(MODEL, WORLD).shape == (3,)


def test_the_direction_is_the_attackers() -> None:
    """Away from parity, towards it, and past it."""
    begin = jnp.zeros((2, D))
    away, hide, past = (
        maximize(compose(Logistic(0.05), REACH, goal, Data(X, Y)), begin, steps=15).z
        for goal in (goals.Sum([BASE], [-1.0]), goals.Near(BASE, -0.2), goals.Sum([BASE], [1.0]))
    )
    gap = compose(Logistic(0.05), REACH, BASE, Data(X, Y))
    low, level, start, high = (float(gap(z)) for z in (away, hide, begin, past))
    assert low < start < level < high
    np.testing.assert_allclose(level, -0.2, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: disparity(X, Y, GROUP[:5], fairness.DisparateImpact()), "group: got shape"),
        (lambda: disparity(X, Y, np.where(np.arange(N) == 3, 2, TWO), fairness.DisparateImpact()),
         "group: group 2 has a single row: its rates are 0 or 1; add validation rows"),
        (lambda: disparity(X, Y, (Y > 0).astype(int), fairness.EqualOpportunity()),
         r"group: group 0 has no row with the label \+1: no true positive rate; add"),
        (lambda: disparity(X, Y, (Y > 0).astype(int), fairness.AverageOdds(Between())),
         r"group: group 0 has no row with the label \+1"),
        (lambda: disparity(X, Y, np.where(Y < 0, 0, TWO), fairness.EqualisedOdds()),
         "group: group 1 has no row with the label -1: no false positive rate; add"),
        (lambda: disparity(X, Y, TWO, fairness.DisparateImpact(Between(0, 2))),
         "measure: compares group 2, expected groups 0 to 1"),
        (lambda: disparity(X, Y, TWO, fairness.DisparateImpact(), 0.0), "temperature: got 0.0"),
        (lambda: disparity(X, (Y + 1) / 2, TWO, fairness.DisparateImpact()), "y_val: got labels"),
        (lambda: disparity(X[:, :2], Y, TWO, fairness.DisparateImpact()).check(Data(X, Y)),
         r"x_val: got rows of shape \(2,\), expected \(3,\)"),
        (lambda: BASE.score(SoftmaxModel(jnp.ones((D, 2)), jnp.zeros(2)), WORLD),
         r"goal: the model's decision has shape \(24, 2\), expected one number per row"),
        (lambda: goals.Sum([BASE], [1.0, 2.0]), r"weights: got shape \(2,\) for 1 goals"),
        (lambda: goals.Sum([]), "weights: got shape"),
        (lambda: goals.Sum([BASE], [np.nan]), "weights: got .* expected finite"),
        (lambda: goals.Near(BASE, np.inf), "level: got inf"),
        (lambda: group_loss(X, Y, TWO, loss=LogisticLoss(), weights=[1.0]), "weights: got shape"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
