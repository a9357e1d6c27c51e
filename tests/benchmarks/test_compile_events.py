"""Compilations are counted by the events of JAX, once each, and only inside."""

import jax
import jax.experimental.compilation_cache.compilation_cache
import jax.numpy as jnp

from benchmarks.compile_events import counted


def test_a_program_is_counted_once_per_shape() -> None:
    function = jax.jit(lambda x: jnp.sin(x) * 3 + x)
    short, long = jnp.zeros(3), jnp.zeros(4)
    with counted() as first:
        function(short)
    with counted() as again:
        function(short)
    with counted() as other:
        function(long)
        function(long)
    assert [c.programs for c in (first, again, other)] == [1, 0, 1]
    assert all(0 <= c.compiled <= c.programs for c in (first, again, other))
    assert first.seconds > 0 == again.seconds


def test_programs_of_the_persistent_cache_are_loaded_and_not_compiled(tmp_path) -> None:
    x = jnp.arange(5.0)
    name = "jax_compilation_cache_dir"
    before = jax.config.values[name]
    try:
        jax.config.update(name, str(tmp_path))
        jax.experimental.compilation_cache.compilation_cache.reset_cache()
        counts = []
        for _ in range(2):  # two functions, one program
            with counted() as count:
                jax.jit(lambda x: jnp.cos(x) * 5 - x)(x)
            counts.append((count.compiled, count.loaded))
        assert counts == [(1, 0), (0, 1)]
    finally:
        jax.config.update(name, before)
        jax.experimental.compilation_cache.compilation_cache.reset_cache()


def test_counts_can_be_nested_and_end_with_their_block() -> None:
    with counted() as outer:
        with counted() as inner:
            jax.jit(lambda x: x * 11 + 1)(1.5)
        jax.jit(lambda x: x * 13 + 1)(1.5)
    jax.jit(lambda x: x * 17 + 1)(1.5)
    assert (inner.programs, outer.programs) == (1, 2)
