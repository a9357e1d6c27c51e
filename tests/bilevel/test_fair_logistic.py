"""Logistic regression under a limit on fairness: against SciPy, and its hypergradients."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from learner_checks import assert_attack, assert_gradients, rows, sentence, validation_loss, without
from scipy.optimize import LinearConstraint, minimize

from attacks import Box, Insert, compose, indiscriminate
from bilevel import Data, maximize
from bilevel.learners import Equal, FairLogistic, Logistic, Within
from bilevel.losses import Logistic as LogisticLoss
from bilevel.results import INVALID

SHAPE, GROUP = "tall", 3
LIMITS = {"equality": Equal(), "inequality": Within(0.1)}
every_limit = pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)


def grouped(seed=0):
    """Rows whose last feature is a group, on which the labels depend."""
    x, y, weight = rows(SHAPE, seed)
    x[:, GROUP] = (y > 0) != (np.arange(len(y)) % 5 == 0)
    return x, y, weight


def covariances(f, groups, weight):
    share = weight / weight.sum()
    return (share[:, None] * (groups - share @ groups)).T @ f


@eqx.filter_jit
def train(learner, data):
    return learner.fit(data, throw=False).model


@every_limit
def test_agrees_with_scipy(limit) -> None:
    x, y, weight = grouped()
    l2, share, most = 0.05, weight / weight.sum(), 0.1 if isinstance(limit, Within) else 0.0
    model = train(FairLogistic(GROUP, limit, l2, 0.02), Data(x, y, weight))

    def cost(u):
        loss = share @ np.logaddexp(0, -y * (x @ u[:-1] + u[-1]))
        return loss + l2 / 2 * u[:-1] @ u[:-1] + 0.01 * u[-1] ** 2

    row = covariances(np.column_stack([x, np.ones(len(y))]), x[:, [GROUP]], weight)
    bound = LinearConstraint(row, -most, most)
    expected = minimize(cost, np.zeros(5), method="SLSQP", constraints=bound,
                        options={"ftol": 1e-15, "maxiter": 500}).x  # fmt: skip
    np.testing.assert_allclose(jnp.append(model.w, model.bias), expected, atol=1e-5)
    found = covariances(np.asarray(model.decision(jnp.asarray(x))), x[:, [GROUP]], weight)
    np.testing.assert_allclose(np.abs(found), most, atol=1e-12)
    free = np.asarray(train(Logistic(l2, 0.02), Data(x, y, weight)).decision(jnp.asarray(x)))
    assert covariances(free, x[:, [GROUP]], weight)[0] > 0.2


def test_a_limit_that_does_not_bind_is_logistic_regression() -> None:
    data = Data(*grouped())
    fair, free = train(FairLogistic(GROUP, Within(50.0), 0.1), data), train(Logistic(0.1), data)
    np.testing.assert_allclose(fair.w, free.w, rtol=1e-9, atol=1e-12)


def test_three_groups_have_equal_mean_decisions() -> None:
    x, y, weight = grouped()
    third = np.arange(len(y)) % 3
    x[:, 2:] = third[:, None] == np.arange(2)
    model = train(FairLogistic((2, 3), Equal(), 0.1), Data(x, y, weight))
    f = np.asarray(model.decision(jnp.asarray(x)))
    means = [np.average(f[third == g], weights=weight[third == g]) for g in range(3)]
    np.testing.assert_allclose(means, means[0], atol=1e-12)


def test_a_row_of_weight_zero_is_not_there() -> None:
    data = Data(*grouped())
    model, same = (train(FairLogistic(GROUP, Equal(), 0.1), d) for d in (data, without(data, 2)))
    np.testing.assert_allclose(model.w, same.w, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "limit", [LIMITS["equality"], pytest.param(LIMITS["inequality"], marks=pytest.mark.slow)],
    ids=LIMITS,
)  # fmt: skip
def test_gradients_are_those_of_central_differences(limit) -> None:
    x, y, weight = (jnp.asarray(a) for a in grouped())
    at = {"x": x, "y": y, "weight": weight, "l2": jnp.array(0.1), "l2_bias": jnp.array(0.05)}
    if isinstance(limit, Within):
        at["most"] = limit.most

    def loss(p):
        bound = Within(p["most"]) if "most" in p else Equal()
        learner = FairLogistic(GROUP, bound, p["l2"], p["l2_bias"])
        return validation_loss(learner, Data(p["x"], p["y"], p["weight"]), SHAPE)

    assert_gradients(loss, at)


@pytest.mark.slow
@every_limit
def test_attack_and_certificate(limit) -> None:
    certificate = assert_attack(FairLogistic(GROUP, limit, 0.05), SHAPE)
    assert "degenerate" not in str(certificate)


def test_sentences() -> None:
    x, y, weight = grouped()
    data = Data(x, y, weight)
    assert "most: got 0.0, expected a finite number > 0" in sentence(lambda: Within(0.0))
    assert "l2: got -1" in sentence(lambda: FairLogistic(GROUP, l2=-1))
    assert "protected: got (3, 3)" in sentence(lambda: FairLogistic((3, 3)))
    assert "protected: got the feature 4, expected 0 to 3" in sentence(
        lambda: FairLogistic(4).fit(data)
    )
    x[:, 2] = 1 - x[:, GROUP]
    assert "of a one-hot group leave one feature out" in sentence(
        lambda: FairLogistic((2, 3)).fit(Data(x, y, weight))
    )
    assert "got labels" in sentence(lambda: FairLogistic(GROUP).fit(Data(x, y + 1, weight)))


@pytest.mark.slow
def test_an_attack_climbs() -> None:
    """A loop of trainings with factorisations, beside constants that are in the loop too."""
    x, y, weight = grouped()
    goal = indiscriminate(x, y, LogisticLoss())
    learner = FairLogistic(GROUP, Equal(), 0.1)
    reach = Insert([1.0, -1.0], Box(-5.0, 5.0))
    attack = compose(learner, reach, goal, Data(x, y, weight))
    result = maximize(attack, jnp.asarray(x[:2]), steps=4)
    assert float(result.value) > float(attack(jnp.asarray(x[:2]))) + 0.01


@pytest.mark.parametrize("most", [0.0, -0.1, np.nan])
def test_a_traced_limit_out_of_range_is_a_failure(most) -> None:
    data = Data(*grouped())
    limit = eqx.tree_at(lambda limit: limit.most, Within(0.1), jnp.asarray(most))
    fitted = eqx.filter_jit(lambda learner: learner.fit(data, throw=False))(
        FairLogistic(GROUP, limit, 0.05)
    )
    assert int(fitted.result) == INVALID
