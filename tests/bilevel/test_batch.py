"""Batches on one device: chunks, transformations, compilations, sentences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batched import many_roots, roots

import bilevel
from benchmarks.compile_events import counted
from bilevel import Data, SolveError, _devices, _hosts
from bilevel.learners import Logistic
from bilevel.solvers import Newton

KEYS, NUMBERS = jax.random.split(jax.random.key(1), 11), jnp.arange(1.0, 12.0)


@functools.cache
def looped():
    return [roots(key, number) for key, number in zip(KEYS, NUMBERS, strict=True)]


def assert_roots(result, rtol):
    loop = looped()
    for name in ("root", "steps"):
        np.testing.assert_allclose(result[name], [one[name] for one in loop], rtol=rtol)
    keys = [jax.random.key_data(one["key"]) for one in loop]
    np.testing.assert_array_equal(jax.random.key_data(result["key"]), keys)
    assert result["rule"] == "Newton"
    assert len(set(result["steps"].tolist())) > 5


@pytest.mark.parametrize("size", [None, 1, 3, 4, 10, 11, 40])
def test_chunks_of_any_size_are_the_loop(size):
    assert_roots(many_roots(size), rtol=0 if size in (None, 1) else 1e-15)


@pytest.mark.parametrize("size", [1, 4])
def test_a_batch_inside_a_program_is_the_loop(size):
    assert_roots(
        jax.jit(lambda *args: {**bilevel.batch(roots, size)(*args), "rule": 0})(KEYS, NUMBERS)
        | {"rule": "Newton"},
        rtol=1e-15,
    )


def test_chunks_are_as_equal_as_can_be():
    jaxpr = jax.make_jaxpr(bilevel.batch(jnp.sin, 6))(jnp.arange(13.0))
    assert "f64[3,5]" in str(jaxpr)  # not 6, 6 and 1, which would be a second program


def test_derivatives_go_through_a_batch():
    x = jnp.arange(1.0, 4.0)

    def total(w, size):  # eager, of a tracer that the function closes over
        return jnp.sum(bilevel.batch(lambda x: jnp.sin(w * x), size)(x))

    for size in (None, 2):
        slope = jax.grad(total)(0.5, size)
        np.testing.assert_allclose(slope, jnp.sum(x * jnp.cos(0.5 * x)), rtol=1e-14)
    rows = jax.vmap(lambda w: bilevel.batch(lambda x: jnp.sin(w * x))(x))(jnp.asarray([0.5, 2.0]))
    np.testing.assert_allclose(rows, jnp.sin(jnp.outer(jnp.asarray([0.5, 2.0]), x)), rtol=1e-15)


def test_a_second_batch_of_the_same_shapes_compiles_nothing():
    def on(shift, x):
        return bilevel.batch(lambda x: jnp.sin(x) + shift)(x)

    first, second = jnp.arange(12.0).reshape(4, 3), jnp.ones((4, 3))
    shifts = jnp.asarray(1.0), jnp.asarray(2.0)
    on(shifts[0], first)
    with counted() as compilations:
        result = on(shifts[1], second)
    assert compilations.programs == 0
    np.testing.assert_allclose(result, np.sin(1.0) + 2)


SCALE = 1.0


def scaled(x):
    return SCALE * x


def test_globals_that_changed_are_seen(monkeypatch):
    """As in a notebook, where a function reads what a cell before has made anew."""

    def through_another(x):
        return scaled(x) + 1

    for scale in (1.0, 2.0):
        monkeypatch.setattr(f"{__name__}.SCALE", scale)
        for function, more in ((scaled, 0), (through_another, 1), (lambda x: SCALE * x, 0)):
            result = bilevel.batch(function)(jnp.arange(3.0))
            np.testing.assert_array_equal(result, scale * np.arange(3.0) + more)
    numbers = jnp.arange(3.0)
    with counted() as compilations:
        for _ in range(3):  # the same globals are the same program
            bilevel.batch(lambda x: scaled(x) + 2)(numbers)
    assert compilations.programs == 1


def test_no_problems_are_no_results():
    assert bilevel.batch(jnp.sum)(jnp.ones((0, 3))).shape == (0,)


def test_a_failed_solve_inside_is_a_sentence():
    data = Data(jnp.eye(4)[:, :2], jnp.asarray([1.0, -1.0, 1.0, -1.0]))
    learner = Logistic(1e-3, solver=Newton(max_steps=1))
    with pytest.raises(SolveError, match="max_steps"):
        bilevel.batch(lambda s: learner.fit(Data(s * data.x, data.y)).model.w)(jnp.ones(3))


@pytest.mark.parametrize(
    ("args", "size", "sentence"),
    [
        ((jnp.ones(3), jnp.ones(4)), None, r"^batch: got arrays with leading axes \[\(3,\), \(4,"),
        ((jnp.ones(()),), None, r"^batch: got arrays with leading axes \[\(\)\]"),
        ((1.0,), None, r"^batch: got arrays with leading axes \[\], expected one"),
        ((jnp.ones(3),), 0, r"^size: got 0, expected a whole number, at least 1"),
        ((jnp.ones(3),), 1.5, r"^size: got 1.5"),
    ],
)
def test_what_makes_no_sense_is_named(args, size, sentence):
    with pytest.raises(ValueError, match=sentence):
        bilevel.batch(jnp.add, size)(*args)


@pytest.mark.parametrize(
    ("lanes", "each", "free", "size"),
    [
        (100, 10, 1112, 100),  # all, and a tenth stays free
        (100, 10, 1110, 64),
        (1000, 10, 1112, 64),
        (1000, 10, 700, 32),
        (7, 10, 5, 1),  # less than one: try it
        (7, 10, -5, 1),
        (7, 0, 0, 7),
    ],
)
def test_as_many_problems_run_at_once_as_fit(lanes, each, free, size):
    assert _devices.fitting(lanes, each, free) == size


@pytest.mark.parametrize(
    ("free", "least", "most"), [(10**9, 64, 64), (200_000, 4, 16), (None, 64, 64)]
)
def test_an_accelerator_runs_what_its_memory_holds(monkeypatch, free, least, most):
    """A CPU that pretends; the analysis of a program's memory is XLA's."""

    def wide(x):  # about 16 kB of temporary arrays
        return jnp.sum(jnp.sort(jnp.sin(x * jnp.arange(1000.0))))

    sizes = []

    def spread(function, args, mesh, size):
        sizes.append(size)
        return whole(function, args, mesh, size)

    whole = _devices._spread
    spread.lower = whole.lower  # pyright: ignore[reportFunctionMemberAccess]
    monkeypatch.setattr(_devices, "_spread", spread)
    monkeypatch.setattr(_devices, "device_default", lambda: None)
    monkeypatch.setattr(_devices, "free_bytes", lambda device: free)
    x = jnp.arange(64.0)
    result = bilevel.batch(wide)(x)
    np.testing.assert_allclose(result, [wide(one) for one in x], rtol=1e-9)
    assert least <= sizes[0] <= most


def test_processes_compare_all_of_the_arrays_that_they_pass(monkeypatch):
    digests = []

    def exchanged(digest):
        digests.append(int(digest[0]))
        return digest[None]

    monkeypatch.setattr(_hosts, "_exchanged", exchanged)
    one, two = np.arange(3.0), np.ones((3, 2))
    for args in ((one, two), (one + 1, two), (one, two + 1), (one, two.astype(np.float32))):
        _hosts._require_same(args)
    assert len(set(digests)) == 4
