"""The LASSO and elastic net learners against scikit-learn and central differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learner_checks import (
    SHAPES,
    assert_attack,
    assert_gradients,
    rows,
    sentence,
    validation_loss,
    without,
)  # fmt: skip
from sklearn import linear_model

from bilevel import Data
from bilevel.learners.lasso import ElasticNet, Lasso

every_shape = pytest.mark.parametrize("shape", SHAPES)
LEARNERS = {
    "lasso": lambda l1: Lasso(l1),
    "elastic_net": lambda l1: ElasticNet(l1, 0.5 * l1),
}
every_learner = pytest.mark.parametrize("name", LEARNERS)


@eqx.filter_jit
def train(learner, data):
    return learner.fit(data, throw=False).model


@every_learner
@every_shape
def test_agrees_with_scikit_learn(name, shape):
    x, y, weight = rows(shape)
    for l1 in (0.01, 0.1, 10.0):
        model = train(LEARNERS[name](l1), Data(x, y, weight))
        ratio = 1.0 if name == "lasso" else 1 / 1.5
        oracle = linear_model.ElasticNet(
            alpha=l1 / ratio, l1_ratio=ratio, tol=1e-12, max_iter=100_000
        ).fit(x, y, sample_weight=weight)
        np.testing.assert_allclose(model.w, oracle.coef_, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(model.w == 0, oracle.coef_ == 0)
        np.testing.assert_allclose(model.bias, oracle.intercept_, rtol=1e-5, atol=1e-7)


@every_learner
def test_a_row_of_weight_zero_is_not_there(name):
    data, learner = Data(*rows("tall")), LEARNERS[name](0.05)
    model, same = train(learner, data), learner.fit(without(data, 2)).model
    np.testing.assert_allclose(model.w, same.w, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(model.bias, same.bias, rtol=1e-9)


@every_learner
@every_shape
def test_gradients_are_those_of_central_differences(name, shape):
    x, y, weight = (jnp.asarray(a) for a in rows(shape))
    weight = jnp.where(weight > 0, weight, 1)  # differences would make a zero negative

    def learner(p):
        return Lasso(p["l1"]) if name == "lasso" else ElasticNet(p["l1"], p["l2"])

    at = {"x": x, "y": y, "weight": weight, "l1": jnp.array(0.15)}
    if name == "elastic_net":
        at["l2"] = jnp.array(0.03)
    chosen = jnp.sum(train(learner(at), Data(x, y, weight)).w != 0)
    assert 2 <= int(chosen) < x.shape[1]  # some features in, some out

    def loss(p):
        return validation_loss(learner(p), Data(p["x"], p["y"], p["weight"]), shape)

    assert_gradients(loss, at)


@every_learner
def test_attack_and_certificate(name):
    certificate = assert_attack(LEARNERS[name](0.05), "tall")
    assert 1e-6 < float(certificate.margin) < 1  # of the support
    assert not bool(certificate.degenerate)


@pytest.mark.parametrize("shape", ["wide"])
def test_vmap_and_second_derivatives(shape):
    data = Data(*rows(shape))

    def loss(l1):
        return validation_loss(Lasso(l1), data, shape)

    path = jnp.array([0.02, 0.05, 0.3])
    both, h = jax.jit(jax.value_and_grad(loss)), 1e-5
    alone = [both(l1)[0] for l1 in path]
    np.testing.assert_allclose(jax.jit(jax.vmap(loss))(path), alone, rtol=1e-11)
    second = jax.jit(jax.hessian(loss))(path[1])
    expected = (both(path[1] + h)[1] - both(path[1] - h)[1]) / (2 * h)
    np.testing.assert_allclose(second, expected, rtol=1e-5)


def test_sentences():
    x, y, weight = rows("tall")
    for l1 in (0.0, -1.0, np.nan):
        assert sentence(lambda l1=l1: Lasso(l1)).startswith(
            f"l1: got {l1}, expected a finite number > 0"
        )
    assert sentence(lambda: ElasticNet(0.1, 0.0)).startswith("l2: got 0.0, expected")
    assert "all zero" in sentence(lambda: Lasso().fit(Data(x, y, 0 * weight)))
