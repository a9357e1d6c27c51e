"""Finished models as functions: of JAX, and of NumPy inside programs of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel.tools import program
from defenses.models import Plain

RNG = np.random.default_rng(0)
W, X = RNG.normal(size=(6, 3)), RNG.normal(size=(5, 6))


def of_numpy(x):
    return np.dot(np.ascontiguousarray(x), W)  # no tracer gets through


MODELS = {"jax": Plain(lambda x: x @ jnp.asarray(W, x.dtype)), "numpy": Plain(of_numpy)}


@program
def decided(model, x):
    return model.decision(x)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_function_is_a_model_inside_programs_too(model):
    x = jnp.asarray(X)
    np.testing.assert_allclose(model.decision(x), X @ W)
    np.testing.assert_allclose(decided(model, x), X @ W)
    np.testing.assert_allclose(jax.vmap(model.decision)(x[:, None])[:, 0], X @ W)
    np.testing.assert_array_equal(model.predict(x), np.argmax(X @ W, axis=1))
    np.testing.assert_array_equal(model.features(x), X)
    single = model.decision(x.astype(jnp.float32))
    np.testing.assert_allclose(single, X @ W, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_numpy_function_gets_rows_as_precise_as_they_are_and_says_what_it_makes(dtype):
    seen = []

    def doubled(x):
        seen.append(x.dtype)
        return np.ascontiguousarray(x)[:, :2] * 2

    x, model = jnp.asarray(X, dtype), Plain(doubled)
    for decide in (model.decision, jax.jit(model.decision)):
        found = decide(x)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, 2 * x[:, :2])
    assert {np.dtype(each) for each in seen if isinstance(each, np.dtype)} == {np.dtype(dtype)}


def test_only_a_function_of_jax_has_a_derivative():
    def total(model):
        return lambda x: jnp.sum(model.decision(x))

    slope = jax.grad(total(MODELS["jax"]))(jnp.asarray(X))
    np.testing.assert_allclose(slope, np.tile(W.sum(axis=1), (5, 1)))
    with pytest.raises(ValueError, match="that JAX cannot differentiate"):
        jax.grad(total(MODELS["numpy"]))(jnp.asarray(X))


def test_features_are_flat_and_given_by_a_function():
    model = Plain(of_numpy, lambda x: np.asarray(x).reshape(-1, 2, 3))
    np.testing.assert_array_equal(jax.jit(model.features)(jnp.asarray(X)), X)


def test_a_function_of_another_shape_and_a_mistake_are_said():
    x = jnp.asarray(X)
    with pytest.raises(ValueError, match=r"decision: got shape \(3,\) for 5 rows"):
        Plain(lambda x: np.zeros(3)).decision(x)
    with pytest.raises(ValueError, match=r"features: got shape \(5,\) for 5 rows"):
        Plain(of_numpy, lambda x: x[:, 0]).features(x)
    with pytest.raises(ValueError, match=r"features: got shape \(4, 6\) for 5 rows"):
        Plain(of_numpy, lambda x: x[1:]).features(x)
    with pytest.raises(ValueError, match="mismatch"):
        Plain(lambda x: x @ np.zeros((2, 2))).decision(x)
