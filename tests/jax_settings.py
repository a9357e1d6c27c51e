"""JAX for tests: float64, strict promotion, compiled programs on disk, and less overhead."""

import itertools
import os
from pathlib import Path

import eager
import jax


def prepare(cache: Path) -> None:
    """Sets JAX up, once per process. `cache`: folder of compiled programs, unless
    JAX_COMPILATION_CACHE_DIR names one.
    """
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_numpy_dtype_promotion", "strict")

    # Compiled programs are kept from run to run, small ones too.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

    # No program needs to know which lines of Python it came from: 3 % of the time.
    jax.config.update("jax_traceback_in_locations_limit", 0)
    jax.config.update("jax_include_full_tracebacks_in_locations", False)
    share_contexts()
    if os.environ["XLA_FLAGS"]:  # not by `make test-all`
        eager.install()


def share_contexts(programs: int = 200) -> None:
    """One MLIR context for so many programs. JAX makes one for each, which takes 3 ms: a thirtieth
    of the time of this suite. Where its private parts have other names, nothing changes.
    """
    from jax._src.interpreters import mlir
    from jaxlib.mlir import ir

    make = getattr(mlir, "make_ir_context", None)
    if make is None:
        return
    count, context = itertools.count(), None

    def shared():
        nonlocal context
        if ir.Context.current is not None:  # amid another program, which has its place in it
            return make()
        if next(count) % programs == 0:
            context = make()
        return context

    mlir.make_ir_context = shared
