"""Bugs to plant, and the tests that must see each: `make mutants`.

Each is planted in a copy of the tree, one at a time, after the tests have passed there without any.
What is missed is printed, and the exit status is 1. `test_repository` checks that each still fits.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from planted import (
    attacks,
    audits,
    benchmarks,
    bilevel,
    bodies_of_experiments,
    bodies_of_measurements,
    chosen,
    cores,
    defenses,
    drawn_pictures,
    experiments,
    features,
    fifth,
    figures,
    fresh,
    ninety,
    passed_on,
    pictures,
    rows_of_experiments,
    sampled,
    seen_attacks,
    seen_core,
    seen_defenses,
    seen_learners,
    seen_networks,
    seen_paths,
    seen_solvers,
    seen_studies,
    sentences,
    settings,
    seventh_core,
    seventh_outer,
    sixth_core,
    sixth_outer,
)

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("attacks", "benchmarks", "bilevel", "defenses", "docs", "tests")


class Mutant(NamedTuple):
    """A bug: `old` in a file becomes `new`, and `tests` must fail."""

    file: str
    old: str
    new: str
    tests: str


MUTANTS = tuple(
    Mutant(*row)
    for part in (
        bilevel,
        attacks,
        defenses,
        benchmarks,
        experiments,
        features,
        fifth,
        fresh,
        ninety,
        audits,
        bodies_of_experiments,
        bodies_of_measurements,
        chosen,
        cores,
        drawn_pictures,
        figures,
        passed_on,
        pictures,
        rows_of_experiments,
        sampled,
        seen_attacks,
        seen_core,
        seen_defenses,
        seen_learners,
        seen_networks,
        seen_paths,
        seen_solvers,
        seen_studies,
        sentences,
        settings,
        seventh_core,
        seventh_outer,
        sixth_core,
        sixth_outer,
    )
    for row in part.MUTANTS
)


def stale() -> list[str]:
    """The mutants whose text is not in its file exactly once, or whose tests are gone."""
    return [
        f"{m.file}: {m.old!r}"
        for m in MUTANTS
        if (ROOT / m.file).read_text().count(m.old) != 1 or not (ROOT / m.tests).exists()
    ]


def fails(tree: Path, tests: str) -> bool:
    """Whether a test of a file fails on the tree."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", tests],
        cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, check=False,
    )  # fmt: skip
    if run.returncode not in (0, 1):
        raise RuntimeError(run.stdout.decode())
    return run.returncode == 1


def caught(tree: Path, mutant: Mutant) -> bool:
    """Whether the mutant's tests fail on the tree with it."""
    path = tree / mutant.file
    text = path.read_text()
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        return fails(tree, mutant.tests)
    finally:
        path.write_text(text)


def main() -> int:
    """Plant all of them, or those whose file contains the argument."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for name in FOLDERS:
            shutil.copytree(ROOT / name, tree / name)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, tree / name)
        chosen = [mutant for mutant in MUTANTS if wanted in mutant.file]
        broken = [tests for tests in {m.tests: None for m in chosen} if fails(tree, tests)]
        if broken:
            print("these tests fail without a bug:", *broken)
            return 1
        for mutant in chosen:
            seen = caught(tree, mutant)
            missed += not seen
            print("caught" if seen else "MISSED", mutant.file, repr(mutant.new), flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
