"""The command `bilevel-audit TABLE --target COLUMN`: an audit from the shell, and for CI."""

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from .audit import audit
from .reading import TableError, counted
from .report import Report, require_damage, require_path
from .said import best_said, bound_said, rate, share

PASSED, FAILED, UNUSABLE, STOPPED = 0, 1, 2, 130
NOTES = 8
"""Notes that the command prints; the others are in the report."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How much damage could poisoned rows of a table do, and which defense pays?

    The exit status is 0, 1 if an attack does more than `--max-damage`, 2 for a table or a question
    that cannot be audited, 130 if it is stopped. Compiled programs are kept in the user's cache
    folder, so that a second audit starts faster; the environment variable JAX_COMPILATION_CACHE_DIR
    names another one.
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
        for path in filter(None, (options.out, options.json)):
            require_path(path)
        if options.max_damage is not None:
            require_damage(options.max_damage)
        report = _audited(options)
        saved = [report.save(options.out, rows=not options.hide_rows)]
        if options.json is not None:
            saved.append(report.save(options.json, rows=not options.hide_rows))
        passed = options.max_damage is None or report.passed(options.max_damage)
    except TableError as error:
        print(f"bilevel-audit: {error}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("bilevel-audit: stopped, and nothing written", file=sys.stderr)
        return STOPPED
    _say(report, saved)
    if not passed:
        print(f"failed: an attack adds more than {options.max_damage:g} to the error")
    return PASSED if passed else FAILED


def keep_programs() -> None:
    """Turn on JAX's cache of all programs, in the user's cache folder unless another is set."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "bilevel" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _audited(options: Options) -> Report:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
               TextColumn("gone,"), TimeRemainingColumn(), TextColumn("left"))  # fmt: skip
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
    table = Table(title=f"Error of {report.table['target']}, {rate(report.clean)} as the table is",
                  title_justify="left")  # fmt: skip
    for name in ("poison", "found", "at most", "random", "best attack"):
        table.add_column(name, justify="left" if name == "best attack" else "right")
    for budget in report.budgets:
        table.add_row(
            f"{share(budget.share)}, {counted(budget.rows, 'row')}", rate(budget.found),
            bound_said(report, budget)[0],
            rate(budget.random), budget.attack,
        )  # fmt: skip
    console.print(table)
    best = report.best_defense
    price = "" if best is None else f"; {rate(best.clean)} without poison"
    figures, what = best_said(report)
    at = report.budgets[report.middle]
    said = [f"at {share(at.share)} poison: {figures} {what}{price}"]
    if report.bound(at) is None:
        said.append(": ".join(bound_said(report, at)))
    said += [f"note: {note}" for note in report.notes[:NOTES]]
    if len(report.notes) > NOTES:
        said.append(f"{len(report.notes) - NOTES} more notes are in the report")
    for line in said:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for path in saved:
        console.print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
