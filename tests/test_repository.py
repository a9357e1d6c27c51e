"""The rules of the repository that no linter knows: file sizes, who imports whom, what ships."""

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import mutants
import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("bilevel", "attacks", "defenses", "benchmarks", "tests")
MOST_LINES = 400
FORBIDDEN = {
    "bilevel": {"attacks", "defenses", "benchmarks", "tests"},
    "attacks": {"defenses", "benchmarks", "tests"},
    "defenses": {"benchmarks", "tests"},
}
# Libraries that the core does without: adapters import them, inside functions only.
OPTIONAL = {"jaxopt", "optimistix"}
ADAPTERS = ROOT / "bilevel" / "adapters"


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(source: str) -> Iterator[str]:
    """Yields every absolute module name that a source imports, at whatever depth, lazily or not."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module)
        elif isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            target = node.args[0]
            if name in {"import_module", "__import__"} and isinstance(target, ast.Constant):
                yield str(target.value)


def at_once(source: str) -> Iterator[str]:
    """Yields the module names that are imported as soon as a source is."""
    left: list[ast.AST] = [ast.parse(source)]
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imported(ast.unparse(node))
        left.extend(ast.iter_child_nodes(node))


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a fresh interpreter in the repository, without our settings of jax."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("JAX", "PYTE"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_is_too_long(folder: str) -> None:
    files = python_files(folder)
    assert files, f"{folder} holds no Python file"
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: n for name, n in lines.items() if n > MOST_LINES} == {}


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_point_in_one_direction(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files(folder)
        for name in imported(path.read_text())
        if name.split(".")[0] in FORBIDDEN[folder]
    ]
    assert wrong == []


def test_only_adapters_import_what_is_optional_and_lazily() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files("bilevel")
        for scan in [at_once if path.is_relative_to(ADAPTERS) else imported]
        for name in scan(path.read_text())
        if name.split(".")[0] in OPTIONAL
    ]
    assert wrong == []


def test_the_lazy_import_scanner_tells_functions_from_the_rest() -> None:
    assert list(at_once("def f():\n    import jaxopt\ng = lambda: __import__('jaxopt')")) == []
    assert list(at_once("class A:\n    if True:\n        import jaxopt.tree_util")) == [
        "jaxopt.tree_util"
    ]
    assert list(at_once("try:\n    from optimistix import BFGS\nexcept ImportError: pass")) == [
        "optimistix"
    ]


def test_importing_the_core_and_its_adapters_imports_no_optional_library() -> None:
    script = (
        f"import sys, bilevel, bilevel.adapters\nprint(sorted({OPTIONAL!r} & sys.modules.keys()))\n"
    )
    run = python("-c", script)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import attacks.goals as g, numpy", ["attacks.goals", "numpy"]),
        ("from attacks import goals", ["attacks"]),
        ("from .attacks import goals", []),
        ("def f():\n    if True:\n        import jaxopt", ["jaxopt"]),
        ("import importlib\nimportlib.import_module('jaxopt')", ["importlib", "jaxopt"]),
        ("from importlib import import_module as i\nx = __import__('qpax')", ["importlib", "qpax"]),
    ],
)
def test_the_import_scanner_sees_them_all(source: str, names: list[str]) -> None:
    assert list(imported(source)) == names


def test_importing_the_packages_leaves_jax_as_it_was() -> None:
    script = (
        "import json, jax, jax.numpy as jnp\n"
        "before = {key: repr(value) for key, value in jax.config.values.items()}\n"
        "import bilevel, attacks, defenses\n"
        "after = {key: repr(value) for key, value in jax.config.values.items()}\n"
        "changed = sorted(key for key in after if before.get(key) != after[key])\n"
        "print(json.dumps([changed, jax.config.jax_enable_x64, str(jnp.zeros(1).dtype)]))\n"
    )
    run = python("-c", script)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == [[], False, "float32"]


def test_the_suite_refuses_to_start_on_a_foreign_package(tmp_path: Path) -> None:
    (tmp_path / "defenses").mkdir()
    (tmp_path / "defenses" / "__init__.py").touch()
    options = ("--collect-only", "-q", "-p", "no:cacheprovider", "-o", f"pythonpath={tmp_path}")
    run = python("-m", "pytest", *options, __file__)
    assert run.returncode == pytest.ExitCode.USAGE_ERROR, run.stdout
    assert "`import defenses` finds" in run.stdout + run.stderr


def test_the_lock_names_no_host_and_can_build_the_project() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|--(extra-)?index-url|--find-links", lock)
    pinned = {line.split("==")[0].lower() for line in lock.splitlines() if "==" in line[:60]}
    # `--no-build-isolation` finds the build back end in the environment or not at all.
    assert {"hatchling", "editables", "jax", "numpy", "pytest", "ruff", "pyright"} <= pinned
    requirements = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(requirements) > 50
    assert lock.count("--hash=sha256:") >= len(requirements)
    assert [line for line in requirements if "==" not in line or not line.endswith("\\")] == []


@pytest.mark.slow
def test_the_wheel_holds_the_three_packages_and_nothing_else(tmp_path: Path) -> None:
    run = python("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    assert run.returncode == 0, run.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"bilevel", "attacks", "defenses"}
    sources = {str(path.relative_to(ROOT)) for path in python_files(*sorted(tops))}
    assert {name for name in names if name.endswith(".py")} == sources
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_every_mutant_fits_the_code():
    assert not mutants.stale()


def test_every_case_left_out_is_one_of_a_test_that_stays():
    lines = (ROOT / "tests" / "repeats.txt").read_text().splitlines()
    for line in (line for line in lines if not line.startswith("#")):
        file, name = line.split("::")
        name, _, case = name.partition("[")
        assert case.endswith("]"), f"{line}: not a case of a test"
        assert f"def {name}(" in (ROOT / file).read_text(), f"{line}: no such test"
