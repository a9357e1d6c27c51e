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
# Passes that are left out: one sums in blocks of 32, and makes three kernels of a sum that is one;
# two look for loops that could be shorter.
# A flag that it does not know ends the process, and the first of these went with jaxlib 0.12. The
# order of kernels for a single core is found sooner than one for many: 4 % of the time.
os.environ.setdefault(
    "XLA_FLAGS",
    (
        "--xla_cpu_use_fusion_emitters=false"
        " --xla_cpu_enable_concurrency_optimized_scheduler=false "
        if version("jaxlib") < "0.12"
        else ""
    )
    + "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    + " --xla_disable_hlo_passes=tree_reduction_rewriter,simplify-while-loops,"
    + "while-loop-invariant-code-motion",
)

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("bilevel", "attacks", "defenses")
FILES = itertools.count()
# Check for memory maps after so many files, and free programs above so many maps: those of XLA's
# default settings have several times more.
EVERY, MOST_MAPS = (5, 55_000) if os.environ["XLA_FLAGS"] else (1, 30_000)

if os.environ.get("CHECK_TYPES"):  # set by `make test-all`; it costs a twentieth of the time
    import typechecker

    typechecker.install(PACKAGES)

    @pytest.fixture(autouse=True)
    def trusted(request: pytest.FixtureRequest) -> Iterator[None]:
        """Checks nothing where a test gives functions stand-ins of what they expect."""
        if request.node.get_closest_marker("stand_ins") is None:
            yield
            return
        with typechecker.trusting():
            yield


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


def pytest_configure(config: pytest.Config) -> None:
    """Refuses to start when the tests would test somebody else's code, and sets JAX up. A process
    that only hands tests out to workers does without: it starts two seconds earlier.
    """
    gc.disable()  # what is imported and collected stays: looking for garbage finds none
    problem = foreign_package()
    if problem is not None:
        pytest.exit(problem, returncode=pytest.ExitCode.USAGE_ERROR)
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        import jax_settings

        jax_settings.prepare(ROOT / ".cache" / "jax")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the cases of `repeats.txt` as slow, and begins with the longest tests."""
    repeats = set((ROOT / "tests" / "repeats.txt").read_text().splitlines())
    for item in items:
        if item.nodeid in repeats:
            item.add_marker(pytest.mark.slow)
    # The longest files first, and the shortest last, those of the benchmarks: a worker that begins
    # a long one last keeps the others waiting.
    items.sort(key=lambda item: (item.path.parent.name != "tests", "benchmarks" in item.path.parts))


def pytest_collection_finish() -> None:
    """Spares what is imported and collected all further garbage collections, and makes these rare:
    tracing allocates many small objects, and looking through them all took a fifth of the time.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(500_000, 10, 10)


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends a worker of pytest-xdist that has sent all its results: to free thousands of programs
    one by one takes longer than the ten seconds for which it would be waited. First, because a
    part of pytest collects garbage here.
    """
    if hasattr(config, "workerinput"):
        os._exit(0)


@pytest.fixture(scope="module", autouse=True)
def forget_programs() -> Iterator[None]:
    """Frees what has been compiled, in time: each program holds memory maps, of which a process
    on Linux may have some 65,000 only, and XLA crashes beyond them. A program has about 13, a file
    of tests makes a few hundred programs. It takes 10 s, and what comes after is traced again: two
    workers that share the fast tests stay below. To count them takes 40 ms.
    """
    yield
    maps = Path("/proc/self/maps")
    due = next(FILES) % EVERY == EVERY - 1 and maps.exists()
    if due and len(maps.read_bytes().splitlines()) > MOST_MAPS:
        import jax

        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def rng() -> np.random.Generator:
    """One seeded generator; what a test draws from it depends on which tests ran before."""
    return np.random.default_rng(0)


@pytest.fixture
def standard_promotion() -> Iterator[None]:
    """Usual dtype promotion, for tests that call libraries which rely on it (optax.adam, qpax)."""
    import jax

    with jax.numpy_dtype_promotion("standard"):
        yield
