"""Measures of transfer on a small problem: against differences and against retraining."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import Box, Insert, compose, indiscriminate
from attacks.transfer import (
    alignment,
    gradient_alignment,
    gradient_size,
    input_gradient_size,
    loss_variability,
    sizes,
)
from bilevel import Data, losses
from bilevel.learners import SVM, Logistic, Ridge, kernels

FEATURES, POINTS = 3, 2
LEARNERS = {
    "ridge": Ridge(0.1),
    "logistic": Logistic(0.05),
    "svm": SVM(0.5),
    "rbf-svm": SVM(0.5, kernels.RBF(0.3)),
}


def rows(seed: int, count: int = 14) -> Data:
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(count) % 2, 1.0, -1.0)
    return Data(rng.normal(size=(count, FEATURES)) + 0.5 * y[:, None], y)


VALIDATION = rows(9)
LOSS = losses.Logistic()


def attack_on(name: str, seed: int):
    goal = indiscriminate(VALIDATION.x, VALIDATION.y, LOSS)
    reach = Insert(np.array([1.0, -1.0]), Box(-5.0, 5.0))
    return compose(LEARNERS[name], reach, goal, rows(seed))


Z = jnp.asarray(np.random.default_rng(4).normal(size=(POINTS, FEATURES)))


@eqx.filter_jit
def value(attack, z):
    return attack(z)


def by_differences(attack) -> np.ndarray:
    """The whole gradient, by central differences of fourth order in every entry."""

    def slope(unit, h=1e-4):
        near, far = (
            value(attack, Z + k * h * unit) - value(attack, Z - k * h * unit) for k in (1, 2)
        )
        return float((8 * near - far) / (12 * h))

    return np.array([slope(u) for u in jnp.eye(Z.size).reshape(-1, *Z.shape)]).reshape(Z.shape)


@eqx.filter_jit
def measured(surrogate, target):
    return gradient_alignment(surrogate, target, Z), gradient_size(surrogate, Z)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))


@pytest.mark.parametrize(
    ("surrogate", "target"), [("ridge", "logistic"), ("svm", "ridge"), ("rbf-svm", "svm")]
)
def test_alignment_and_size_are_those_of_finite_differences(surrogate, target):
    ours, theirs = attack_on(surrogate, 1), attack_on(target, 2)
    a, b = by_differences(ours), by_differences(theirs)
    assert min(np.linalg.norm(g, axis=1).min() for g in (a, b)) > 1e-4
    found, size = measured(ours, theirs)
    np.testing.assert_allclose(found.joint, cosine(a, b), atol=1e-8)
    np.testing.assert_allclose(found.rows, [cosine(*r) for r in zip(a, b, strict=True)], atol=1e-7)
    np.testing.assert_allclose(found.mean, np.mean(found.rows), rtol=1e-14)
    np.testing.assert_allclose(size.rows, np.linalg.norm(a, axis=1), rtol=1e-7)
    np.testing.assert_allclose(size.joint, np.linalg.norm(a), rtol=1e-7)


def test_an_attack_is_aligned_with_itself_and_a_zero_gradient_has_no_direction():
    gradient = jnp.asarray([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    other = jnp.asarray([[6.0, 8.0], [1.0, 0.0], [0.0, -2.0]])
    found = alignment(gradient, other)
    np.testing.assert_allclose(found.rows, [1.0, np.nan, 0.0], atol=1e-15)
    np.testing.assert_allclose(found.joint, 50 / np.sqrt(26 * 105), rtol=1e-15)
    np.testing.assert_allclose(found.mean, 0.5, rtol=1e-15)
    np.testing.assert_allclose(alignment(other, other).joint, 1.0, rtol=1e-15)
    assert np.isnan(alignment(0 * other, other).joint)
    many = jax.vmap(alignment)(jnp.stack([gradient, other]), jnp.stack([other, other]))
    np.testing.assert_allclose(many.mean, [0.5, 1.0], rtol=1e-15)


def test_gradients_of_rows_with_targets_count_both():
    a = {"x": jnp.asarray([[3.0, 0.0]]), "y": jnp.asarray([4.0])}
    b = {"x": jnp.asarray([[0.0, 1.0]]), "y": jnp.asarray([1.0])}
    np.testing.assert_allclose(sizes(a).rows, [5.0])
    np.testing.assert_allclose(sizes(a, order=1).joint, 7.0)
    np.testing.assert_allclose(alignment(a, b).rows, [4 / (5 * np.sqrt(2))], rtol=1e-15)


def test_the_size_of_the_input_gradient_is_that_of_the_weights_times_the_slope():
    data = rows(1)
    model = LEARNERS["ridge"].fit(data).model
    found = input_gradient_size(model, data.x, data.y, LOSS)
    slopes = 1 / (1 + np.exp(data.y * model.decision(data.x)))
    np.testing.assert_allclose(found, slopes * np.linalg.norm(model.w), rtol=1e-12)


@pytest.mark.parametrize("name", ["logistic", "svm"])
def test_variability_is_that_of_training_sets_without_the_rows_left_out(name):
    attack = attack_on(name, 1)
    data = attack.data
    kept = np.stack([np.arange(data.rows) % 7 != left for left in range(5)])
    values = []
    for mask in kept:
        fewer = Data(data.x[mask], data.y[mask])
        goal = indiscriminate(VALIDATION.x, VALIDATION.y, LOSS)
        values.append(float(value(compose(LEARNERS[name], attack.reach, goal, fewer), Z)))
    found = eqx.filter_jit(loss_variability)(attack, Z, jnp.asarray(kept, float))
    np.testing.assert_allclose(found, np.var(values), rtol=1e-6)


def test_sentences():
    attack = attack_on("ridge", 1)
    with pytest.raises(ValueError, match=r"^weights: got shape \(3, 5\), .*sets, 14\)"):
        loss_variability(attack, Z, jnp.ones((3, 5)))
    with pytest.raises(ValueError, match=r"^other: got \(3, 3\) .*expected \(2, 3\)"):
        alignment(jnp.ones((2, 3)), jnp.ones((3, 3)))
    with pytest.raises(ValueError, match=r"^gradient: got leaves of shapes \[\(2, 3\), \(3,\)\]"):
        sizes({"x": jnp.ones((2, 3)), "y": jnp.ones(3)})
