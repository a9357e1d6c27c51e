"""What `eager` puts in the place of JAX's own operations is the same to the last bit."""

from types import SimpleNamespace

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
    "unstack": lambda x, n: jnp.unstack(x)[2],
    "weak": lambda x, n: jnp.full((2, 3), 2.0),
    "weak product": lambda x, n: 2 * jnp.asarray(1.5),
    "sum of numbers": lambda x, n: 2.5 + x,
    "number of rows": lambda x, n: n - 3,
    "product": lambda x, n: x * x[::-1],
    "quotient": lambda x, n: x / x[::-1],
    "towards zero": lambda x, n: lax.div(n, jnp.full_like(n, 4)),
    "root": lambda x, n: jnp.sqrt(x),
    "square": lambda x, n: x**2,
    "cube": lambda x, n: x**3,
    "two operations": lambda x, n: jnp.mean(x),
    "total": lambda x, n: jnp.sum(n > 0, axis=0),
    "sum": lambda x, n: jnp.sum(x, axis=(0, 2)),
    "largest": lambda x, n: jnp.max(x, axis=0),
    "any": lambda x, n: jnp.any(x > 1, axis=2),
    "where": lambda x, n: jnp.where(n > 0, x, 0.0),
    "not": lambda x, n: ~(n > 0) & jnp.isfinite(x),
    "bits": lambda x, n: ~n | 5,
    "sign": lambda x, n: -abs(x),
    "infinite": lambda x, n: x / (0 * x),
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
    eager.replace(primitive)
    assert primitive.impl(X, dimensions=(1,), unset=None).shape == (4, 3)
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


def test_programs_of_one_operation_are_not_compiled_until_they_are_used_often(monkeypatch):
    asked = []
    pjit = SimpleNamespace(_pjit_call_impl_python=lambda *x, jaxpr, **settings: asked.append(x))
    eager.replace_programs(pjit, most=3)
    settings = {"compiler_options_kvs": ()}

    def called(jaxpr, *operands, **settings):
        found = pjit._pjit_call_impl_python(*operands, jaxpr=jaxpr, **settings)
        return None if found is None else [np.asarray(out).tolist() for out in found[0]]

    both = jax.make_jaxpr(lambda x: (jnp.where(x > 1, x, 0.0), x))(np.ones(2))
    x = np.array([1.0, 2.0])
    assert called(both, x, **settings) == [[0, 2], [1, 2]]
    assert called(both, x, compiler_options_kvs=(("a", 1),)) is None
    with jax.debug_nans(True):
        assert called(both, x, **settings) is None
    assert called(both, jax.device_put(x, jax.devices()[0]), **settings) is None
    assert [called(both, x, **settings) for _ in range(2)] == [[[0, 2], [1, 2]], None]
    twice, rounded = (jax.make_jaxpr(f)(x) for f in (lambda x: x + 2 * x, jnp.sum))
    assert called(twice, x, **settings) is called(rounded, x, **settings) is None
    weak = jax.make_jaxpr(lambda x: 2 * x)(1.5)
    assert called(weak, 1.5, **settings) is None
    held = jax.make_jaxpr(lambda n: n * jnp.asarray(x))(3.0)
    assert called(held, 3.0, **settings) == [[3, 6]]
    assert len(asked) == 7
