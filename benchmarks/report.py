"""What an experiment hands out: a table for people, one JSON for machines, pictures."""

import contextlib
import dataclasses
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bilevel import Checkpoint, Item

EVERY = 1.0
"""Seconds between two writes of the JSON file while several processes make rows: it is written as a
whole, which thousands of rows would wait for.
"""
Cell = str | int | float | bool | None
Unit = dict[str, Any]
"""What an experiment makes at once: the arguments that tell it from the others."""
Made = Mapping[str, Any]
"""The rows of a unit: `rows`, each a dict of cells, and `notes` if there are any."""


class UsageError(Exception):
    """A mistake of the user, explained in a sentence: shown without a traceback."""


def environment() -> dict[str, Cell]:
    """The machine and the versions that a figure was measured with."""
    import jax

    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "backend": jax.default_backend(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "dtype": "float64" if jax.config.jax_enable_x64 else "float32",  # pyright: ignore
    }


def plain(value: Any) -> Any:
    """As JSON can hold it: NumPy and JAX scalars as Python's, paths as text, NaN as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, Path):
        return str(value)
    return plain(np.asarray(value).tolist())  # a scalar or an array of NumPy or JAX


def shown(name: str, value: Cell) -> str:
    """A cell as people read it; errors (`*_err`) are fractions in the JSON, per cent here."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    if name.endswith("_err"):
        return f"{100 * value:.1f} %"
    if value != 0 and not 1e-3 <= abs(value) < 1e4:
        return f"{value:.1e}"
    return f"{value:.4g}"


def band(values: Sequence[float], digits: int = 1) -> str:
    """Mean and standard deviation over the splits, as people read them; of one split the value."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} +- {np.std(values):.{digits}f}"


class _Rate(ProgressColumn):
    """How many are done in a minute."""

    def render(self, task):
        return Text(f"{60 * task.speed:.3g}/min" if task.speed else "")


class Report:
    """Collects what an experiment finds. Rows reach the JSON file as they come, so that nothing
    is lost when a run is interrupted.

    - `json_path`: the JSON file, if one is wanted.
    - `out`: the folder for pictures, if any are wanted.
    - `resume`: take over the rows of an earlier, interrupted run from `json_path`.
    - `jobs`: number of processes that make rows, where the experiment lets `each` make them.
    """

    def __init__(
        self,
        experiment: str,
        options: Any,
        *,
        json_path: Path | None = None,
        out: Path | None = None,
        resume: bool = False,
        jobs: int = 1,
    ):
        if jobs < 1:
            raise UsageError(f"--jobs: got {jobs}, expected 1 or more")
        self.experiment, self.options, self.jobs = experiment, plain(options), jobs
        self.json_path, self.out, self.resume = json_path, out, resume
        self.rows: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.pictures: list[Path] = []
        self.complete = False
        self._environment = environment() | {"jobs": jobs}
        for folder in (json_path and json_path.parent, out):
            if folder is not None:
                _make(folder)
        if resume:
            self.rows = self._earlier()

    @contextlib.contextmanager
    def progress(self, total: int, description: str) -> Iterator[Callable[[], None]]:
        """A bar on stderr: how many are done, the rate, and the time left. Call what it gives
        after each.
        """
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
        console = Console(stderr=True)
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(description, total=total)
            yield lambda: bar.advance(task)

    def track(self, iterable: Iterable, description: str) -> Iterator:
        """Yield the items while a bar on stderr shows how many are done."""
        items = list(iterable)
        with self.progress(len(items), description) as advance:
            for item in items:
                yield item
                advance()

    def each(
        self,
        make: Callable[..., Made],
        options: Any,
        units: Sequence[Unit],
        key: Sequence[str],
        description: str,
    ) -> None:
        """Add the rows of all units, in their order, while a bar shows how many are done.

        - `make`: `make(options, **unit)` returns the rows of a unit and what is to be noted. It is
          a function at the top of a module, for `jobs` processes that run it.
        - `key`: the cells that tell a row from all others: rows that are there already stay.

        Raises `UsageError` after all others for units that fail in other processes.
        """
        if self.jobs == 1 or not units:
            for unit in self.track(units, description):
                self._add(make(options, **unit), key)
                self.save()
            return
        from bilevel import sweep

        before, saved = (list(self.rows), list(self.notes)), time.monotonic()
        grid = [{"options": options, **unit} for unit in units]
        with (
            tempfile.TemporaryDirectory() as store,  # the rows are kept in the JSON file
            self.progress(len(units), description) as advance,
        ):

            def after(item: "Item") -> None:
                nonlocal saved
                if item.failure is None:
                    self._add(item.cells, key)
                if time.monotonic() - saved > EVERY:
                    self.save()
                    saved = time.monotonic()
                advance()

            try:
                swept = sweep(make, grid, store=store, jobs=self.jobs, after=after)
            finally:
                self.save()
        self.rows, self.notes = before
        for item in swept.items:
            if item.failure is None:
                self._add(item.cells, key)
        self.save()
        if swept.failed:
            first = swept.failed[0]
            unit = {name: first.settings[name] for name in units[0]}
            raise UsageError(
                f"{len(swept.failed)} of {len(units)} parts failed, the rows of the others are "
                f"kept; the first, {unit}: {first.failure}\n{first.traceback}"
            )

    def checkpoint(self, name: str) -> "Checkpoint | None":
        """A file beside the JSON file for the state of an unfinished row; None without JSON. A run
        that does not resume removes what an earlier one left there.
        """
        from bilevel import Checkpoint

        if self.json_path is None:
            return None
        checkpoint = Checkpoint(self.json_path.with_name(f"{self.json_path.stem}.{name}.npz"))
        if not self.resume:
            checkpoint.remove()
        return checkpoint

    def _add(self, made: Made, key: Sequence[str]) -> None:
        for row in made["rows"]:
            if not self.done(**{name: row[name] for name in key}):
                self.rows.append(plain(row))
        self.notes += made.get("notes", [])

    def row(self, **cells: Any) -> None:
        """Add a row, to the table and to the JSON file."""
        self.rows.append(plain(cells))
        self.save()

    def done(self, **cells: Any) -> bool:
        """Whether a row with these cells is there already (from the run that is resumed)."""
        wanted = plain(cells).items()
        return any(wanted <= row.items() for row in self.rows)

    def note(self, text: str) -> None:
        """Add a sentence to be read under the table."""
        self.notes.append(text)

    def figure(self, name: str, fig: "Figure") -> None:
        """Save a picture as `name`.png, if a folder for pictures was given."""
        if self.out is not None:
            path = self.out / f"{name}.png"
            fig.savefig(path, dpi=150)
            self.pictures.append(path)

    def save(self) -> None:
        """Write the JSON file, whole or not at all: a line for each row."""
        if self.json_path is None:
            return
        others = {
            "experiment": self.experiment,
            "options": self.options,
            "notes": self.notes,
            "environment": self._environment,
            "complete": self.complete,
        }
        # Without `indent`, which is Python and slow: there is a write for each row.
        lines = [
            f'"{name}": {json.dumps(value, allow_nan=False)}' for name, value in others.items()
        ]
        rows = ",\n  ".join(json.dumps(row, allow_nan=False) for row in self.rows)
        text = ",\n ".join([*lines, f'"rows": [\n  {rows}\n ]'])
        part = self.json_path.with_name(self.json_path.name + ".part")
        part.write_text(f"{{\n {text}\n}}\n")
        part.replace(self.json_path)

    def finish(self, complete: bool = True) -> None:
        """Write the JSON file and print table, notes, and where everything is."""
        self.complete = complete
        self.save()
        console = Console(width=None if sys.stdout.isatty() else 200)
        if self.rows:
            console.print(self._table())
        for text in self.notes:
            console.print(text, highlight=False, markup=False)
        if not complete:
            console.print("Interrupted: these are the rows that were finished.")
        for path in (*self.pictures, *([self.json_path] if self.json_path else [])):
            kind = "picture" if path.suffix == ".png" else "figures"
            console.print(f"{kind}: {path}", highlight=False, markup=False, soft_wrap=True)

    def _table(self) -> Table:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        table = Table(title=self.experiment, title_justify="left")
        for name in names:
            numbers = not any(isinstance(row.get(name), str) for row in self.rows)
            table.add_column(name.replace("_", " "), justify="right" if numbers else "left")
        for row in self.rows:
            table.add_row(*(shown(name, row.get(name)) for name in names))
        return table

    def _earlier(self) -> list[dict[str, Any]]:
        """The rows of the run to resume.

        Options that are lists only say which rows to make; if another one has changed, old and
        new rows do not belong together.
        """
        if self.json_path is None:
            raise UsageError("--resume: give the file to go on with by --json")
        if not self.json_path.exists():
            return []
        try:
            earlier = json.loads(self.json_path.read_text())
            name, options, rows = earlier["experiment"], earlier["options"], earlier["rows"]
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"--resume: {self.json_path} is no report ({error!r})") from error
        if name != self.experiment:
            raise UsageError(f"--resume: {self.json_path} is a report of {name}")
        for key, value in self.options.items():
            if not isinstance(value, list) and options.get(key) != value:
                raise UsageError(
                    f"--resume: {self.json_path} was made with {key} = {options.get(key)}, not "
                    f"{value}; use the same options, or another --json"
                )
        return rows


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}") from error
