"""What `eager` puts in the place of JAX's own operations is the same to the last bit."""

import eager
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import primitives

X = np.random.default_rng(0).normal(size=(4, 1, 3))
COUNTS = np.arange(-6, 6).reshape(4, 1, 3)
CASES = {
    "stage": lambda x, n: jnp.asarray(X),
    "broadcast": lambda x, n: jnp.broadcast_to(x[:, 0][None], (2, 4, 3)),
    "insert axes": lambda x, n: lax.broadcast_in_dim(x, (4, 2, 3), (0, 1, 2)),
    "narrow": lambda x, n: x.astype(jnp.float32),
    "wrap": lambda x, n: (300 * n).astype(jnp.uint8),
    "truth": lambda x, n: (n > 0).astype(jnp.float64),
    "cut off": lambda x, n: (3 * x).astype(jnp.int32),
    "slice": lambda x, n: x[1:4:2, :, ::2],
    "backwards": lambda x, n: x[::-1, 0],
    "one": lambda x, n: x[-1, 0, 2],
    "rows": lambda x, n: x[np.array([2, 0])],
    "reshape": lambda x, n: x.reshape(2, 6),
    "transpose": lambda x, n: x.transpose(2, 0, 1),
    "iota": lambda x, n: lax.broadcasted_iota(jnp.float32, (2, 5, 3), 1),
    "concatenate": lambda x, n: jnp.concatenate([x, 2 * x, x[:2]]),
    "stack": lambda x, n: jnp.stack([n, n + 1], axis=1),
    "select": lambda x, n: lax.select(n > 0, x, -x),
    "select of many": lambda x, n: lax.select_n(abs(n) % 3, x, 2 * x, 3 * x),
    "weak": lambda x, n: jnp.full((2, 3), 2.0),
    "of a key": lambda x, n: jax.random.key_data(jax.random.split(jax.random.key(0))[None, 1]),
}


@pytest.fixture(scope="module")
def compiled():
    return jax.jit(lambda x, n: {name: case(x, n) for name, case in CASES.items()})(X, COUNTS)


@pytest.mark.parametrize("name", CASES)
def test_an_operation_is_that_of_a_program(name, compiled):
    found, expected = CASES[name](jnp.asarray(X), jnp.asarray(COUNTS)), compiled[name]
    assert isinstance(found, jax.Array)
    assert (found.dtype, found.weak_type) == (expected.dtype, expected.weak_type)
    np.testing.assert_array_equal(found, expected, strict=True)


def test_what_is_unknown_is_left_to_jax(monkeypatch):
    primitive, asked = primitives.squeeze_p, []
    monkeypatch.setattr(primitive, "impl", lambda x, **settings: asked.append(settings))
    eager.replace(primitive, eager.squeeze)
    assert primitive.impl(X, dimensions=(1,)).shape == (4, 3)
    primitive.impl(X, dimensions=(1,), new="setting")
    primitive.impl(jax.device_put(X, jax.devices()[0]), dimensions=(1,))  # a device of one's choice
    primitive.impl(jnp.asarray(2.0), dimensions=())
    assert asked == [
        {"dimensions": (1,), "new": "setting"},
        {"dimensions": (1,)},
        {"dimensions": ()},
    ]
    monkeypatch.undo()


def test_results_share_no_memory_with_what_they_are_of():
    x = X.copy()
    first = jnp.asarray(x)
    second = first[1:]
    x[:] = 0
    np.testing.assert_array_equal(first, X)
    np.testing.assert_array_equal(second, X[1:])
