"""Strict settings for all tests: float64, no silent broadcasting or promotion, our own code."""

import gc
import importlib.util
import itertools
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports matplotlib
# NumPy's and scikit-learn's: two workers with as many threads as cores wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Compiling dominates this suite: these settings of XLA for CPUs take a third of the default's time,
# for slower programs. `make test-all` sets XLA_FLAGS to nothing, and tests what users run.
# The pass that is left out sums in blocks of 32, and makes three kernels of a sum that is one.
# A flag that it does not know ends the process, and the first of these went with jaxlib 0.12.
os.environ.setdefault(
    "XLA_FLAGS",
    ("--xla_cpu_use_fusion_emitters=false " if version("jaxlib") < "0.12" else "")
    + "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    + " --xla_disable_hlo_passes=tree_reduction_rewriter",
)

import eager
import jax
import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("bilevel", "attacks", "defenses")

if os.environ.get("CHECK_TYPES"):  # set by `make test-all`; it costs a twentieth of the time
    import typechecker

    typechecker.install(PACKAGES)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Compiled programs are kept from run to run, small ones too.
# JAX_COMPILATION_CACHE_DIR moves them elsewhere.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

# No program needs to know which lines of Python it came from: 3 % of the time.
jax.config.update("jax_traceback_in_locations_limit", 0)
jax.config.update("jax_include_full_tracebacks_in_locations", False)


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


share_contexts()
if os.environ["XLA_FLAGS"]:  # not by `make test-all`
    eager.install()

# The first example of a property compiles: a deadline per example would measure that.
settings.register_profile("repository", deadline=None, max_examples=50, print_blob=True)
settings.load_profile("repository")


def foreign_package() -> str | None:
    """Says which of our flat package names would be imported from outside this repository."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else list(spec.submodule_search_locations or [spec.origin])
        if [Path(str(place)).resolve() for place in places] != [ROOT / name]:
            found = ", ".join(map(str, places)) or "nowhere"
            return (
                f"`import {name}` finds {found} and not the folder `{name}` of this repository: "
                "uninstall or rename the other one, or run `make test`, which has its own .venv."
            )
    return None


def pytest_configure() -> None:
    """Refuses to start when the tests would test somebody else's code."""
    problem = foreign_package()
    if problem is not None:
        pytest.exit(problem, returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the cases of `repeats.txt` as slow, and begins with the longest tests."""
    repeats = set((ROOT / "tests" / "repeats.txt").read_text().splitlines())
    for item in items:
        if item.nodeid in repeats:
            item.add_marker(pytest.mark.slow)
    # The longest single tests first: a worker that begins one last keeps the others waiting.
    items.sort(key=lambda item: item.path.name not in ("test_readme.py", "test_docs.py"))


def pytest_collection_finish() -> None:
    """Spares what is imported and collected all further garbage collections, and makes these rare:
    tracing allocates many small objects, and looking through them all took a fifth of the time.
    """
    gc.freeze()
    gc.set_threshold(500_000, 10, 10)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends a worker of pytest-xdist that has sent all its results: to free thousands of programs
    one by one takes longer than the ten seconds for which it would be waited.
    """
    if hasattr(config, "workerinput"):
        os._exit(0)


@pytest.fixture(scope="module", autouse=True)
def forget_programs() -> Iterator[None]:
    """Frees what has been compiled, in time: each program holds memory maps, of which a process
    on Linux may have some 65,000 only, and XLA crashes beyond them. A program has about 13, a file
    of tests makes a few hundred programs. It takes 10 s, and what comes after is traced again: two
    workers that share the fast tests stay below.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > 58_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def rng() -> np.random.Generator:
    """One seeded generator; what a test draws from it depends on which tests ran before."""
    return np.random.default_rng(0)


@pytest.fixture
def standard_promotion() -> Iterator[None]:
    """Usual dtype promotion, for tests that call libraries which rely on it (optax.adam, qpax)."""
    with jax.numpy_dtype_promotion("standard"):
        yield
