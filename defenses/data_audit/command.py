"""The command `bilevel-audit TABLE --target COLUMN`: an audit from the shell, and for CI."""

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from .audit import audit
from .reading import TableError
from .report import Report

PASSED, FAILED, UNUSABLE = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class Options:
    """How much damage could poisoned rows of a table do, and which defense pays?

    The exit status is 0, 1 if an attack does more than `--max-damage`, 2 for a table that cannot be
    audited. Compiled programs are kept in the user's cache folder, so that a second audit starts
    faster; the environment variable JAX_COMPILATION_CACHE_DIR names another one.
    """

    table: tyro.conf.Positional[Path]
    """CSV or Parquet file."""
    target: str
    """Column to predict."""
    learner: Literal["auto", "logistic", "ridge", "svm", "lasso"] = "auto"
    """Model to attack; auto: logistic regression of classes, ridge regression of numbers."""
    budget: tuple[float, ...] = (0.01, 0.03, 0.10)
    """Shares of the training rows that may be poison."""
    group: str | None = None
    """Column whose values are compared, for example a protected attribute."""
    weight: str | None = None
    """Column of weights of rows."""
    reach: Literal["observed", "labels"] = "observed"
    """Whether rows may be added and labels changed, or labels alone."""
    max_damage: float | None = None
    """For CI: fail if an attack found adds more than this to the error."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("report.html")
    """The report: one HTML page, or JSON for a name in .json."""
    json: Path | None = None
    """Write the figures to this file, too."""
    hide_rows: bool = False
    """Show no row of the table in the report."""
    seed: int = 0
    """Of every draw."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = tyro.cli(
        Options, args=arguments, prog="bilevel-audit", config=(tyro.conf.FlagCreatePairsOff,)
    )
    keep_programs()
    try:
        report = _audited(options)
        saved = [report.save(options.out, rows=not options.hide_rows)]
        if options.json is not None:
            saved.append(report.save(options.json, rows=not options.hide_rows))
        passed = options.max_damage is None or report.passed(options.max_damage)
    except TableError as error:
        print(f"bilevel-audit: {error}", file=sys.stderr)
        return UNUSABLE
    _say(report, saved)
    if not passed:
        print(f"failed: an attack adds more than {options.max_damage:g} to the error")
    return PASSED if passed else FAILED


def keep_programs() -> None:
    """Turn on JAX's cache of compiled programs, in the user's cache folder, unless one is set."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "bilevel" / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _audited(options: Options) -> Report:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("reading the table", total=None)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what[:44])

        return audit(
            options.table, options.target, options.learner, options.budget, options.group,
            options.reach, weight=options.weight, seed=options.seed, progress=progress,
        )  # fmt: skip


def _say(report: Report, saved: Sequence[Path]) -> None:
    """The figures in a few lines."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=f"Error of {report.table['target']}, {report.clean:.1%} as the table is",
                  title_justify="left")  # fmt: skip
    rate: Callable[[float], str] = "{:.1%}".format
    for name in ("poison", "found", "at most", "random", "best attack"):
        table.add_column(name, justify="left" if name == "best attack" else "right")
    for budget in report.budgets:
        table.add_row(
            f"{rate(budget.share)}, {budget.rows} rows", rate(budget.found),
            "not certified" if budget.certified is None else rate(budget.certified),
            rate(budget.random), budget.attack,
        )  # fmt: skip
    console.print(table)
    best = report.best_defense
    if best is None:
        text = "no defense helps against an attacker who knows it"
    else:
        text = (
            f"{best.name}: {rate(best.found)}, {rate(best.adaptive)} if the attacker knows it, "
            f"{rate(best.clean)} without poison"
        )
    console.print(f"best defense at {rate(report.budgets[report.middle].share)}: {text}")
    for note in report.notes[:8]:
        console.print(f"note: {note}", markup=False, highlight=False)
    for path in saved:
        console.print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
