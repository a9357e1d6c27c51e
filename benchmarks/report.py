"""What an experiment hands out: a table for people, one JSON for machines, pictures."""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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

from .version import version

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bilevel import Checkpoint, Item

EVERY = 1.0
"""Seconds between two writes of the JSON file while rows come: it is written as a whole."""
UNFINISHED = "BILEVEL_UNFINISHED"
"""Environment variable, which other processes inherit: the folder of `checkpoint`."""
Cell = str | int | float | bool | None
Unit = dict[str, Any]
"""What an experiment makes at once: the arguments that tell it from the others."""
Made = Mapping[str, Any]
"""The rows of a unit: `rows`, each a dict of cells, `notes` if there are any, and what else the
experiment needs of it, such as arrays for a picture.
"""


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


def checkpoint(options: Any, **unit: Any) -> "Checkpoint | None":
    """The file for the state of an unfinished unit, in the folder of `--resume`; None without it.
    Other options, another unit and other code have another file.
    """
    from bilevel import Checkpoint

    folder = os.environ.get(UNFINISHED)
    if folder is None:
        return None
    about = json.dumps([version(), plain(options), plain(unit)], sort_keys=True)
    return Checkpoint(Path(folder) / f"{hashlib.sha256(about.encode()).hexdigest()[:32]}.npz")


class _Rate(ProgressColumn):
    """How many are done in a minute."""

    def render(self, task):
        return Text(f"{60 * task.speed:.3g}/min" if task.speed else "")


class Report:
    """Collects what an experiment finds.

    - `json_path`: the JSON file, if one is wanted.
    - `out`: the folder for pictures, if any are wanted.
    - `resume`: the folder that keeps what each unit made, and that an interrupted run goes on from;
      it may be shared by all experiments.
    - `jobs`: number of processes that make rows.
    """

    def __init__(
        self,
        experiment: str,
        options: Any,
        *,
        json_path: Path | None = None,
        out: Path | None = None,
        resume: Path | None = None,
        jobs: int = 1,
    ):
        if jobs < 1:
            raise UsageError(f"--jobs: got {jobs}, expected 1 or more")
        self.experiment, self.options, self.jobs = experiment, plain(options), jobs
        self.json_path, self.out, self.resume = json_path, out, resume
        self.rows: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.pictures: list[Path] = []
        self.complete, self._saved = False, -math.inf
        self._environment = environment() | {"jobs": jobs}
        for folder in (json_path and json_path.parent, out):
            if folder is not None:
                _make(folder)

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

    def each(
        self, make: Callable[..., Made], options: Any, units: Sequence[Unit], description: str
    ) -> list[Made]:
        """Add the rows of all units, in their order, while a bar shows how many are done; return
        what was made of each.

        - `make`: `make(options, **unit)` returns the rows of a unit. It is a function at the top of
          a module: processes run it, and `resume` keeps its results by its name, the options, the
          unit and the version of the code.

        Raises `UsageError` after all others for units that fail in other processes, and for a
        folder that cannot be gone on from.
        """
        try:
            if units and (self.jobs > 1 or self.resume is not None):
                return self._swept(make, options, units, description)
            made = []
            with self.progress(len(units), description) as advance:
                for unit in units:
                    made.append(make(options, **unit))
                    self._add(made[-1])
                    advance()
            return made
        finally:
            self.save()

    def _swept(
        self, make: Callable[..., Made], options: Any, units: Sequence[Unit], description: str
    ) -> list[Made]:
        from bilevel import sweep

        rows, notes = len(self.rows), len(self.notes)
        grid = [{"options": options, **unit} for unit in units]
        with (
            tempfile.TemporaryDirectory() as passing,
            self.progress(len(units), description) as advance,
        ):

            def after(item: "Item") -> None:
                if item.failure is None:
                    self._add(item.cells)
                advance()

            folder = Path(passing)
            if self.resume is not None:
                folder = self.resume / self.experiment / make.__name__
            try:
                with _unfinished(self.resume and self.resume / self.experiment / "unfinished"):
                    swept = sweep(
                        make, grid, store=folder, version=version(), jobs=self.jobs, after=after
                    )
            except (ValueError, OSError) as error:
                raise UsageError(
                    f"--resume: {folder} cannot be gone on from, give another folder: {error}"
                ) from error
        del self.rows[rows:], self.notes[notes:]  # they came in any order
        for item in swept.items:
            if item.failure is None:
                self._add(item.cells)
        if swept.failed:
            first = swept.failed[0]
            unit = {name: first.settings[name] for name in units[0]}
            raise UsageError(
                f"{len(swept.failed)} of {len(units)} parts failed, the rows of the others are "
                f"kept; the first, {unit}: {first.failure}\n{first.traceback}"
            )
        return [item.cells for item in swept.items]

    def _add(self, made: Made) -> None:
        for row in made["rows"]:
            self.row(**row)
        for text in made.get("notes", []):
            self.note(text)
        if time.monotonic() - self._saved > EVERY:
            self.save()

    def row(self, **cells: Any) -> None:
        """Add a row."""
        self.rows.append(plain(cells))

    def note(self, text: str) -> None:
        """Add a sentence to be read under the table, once."""
        if text not in self.notes:
            self.notes.append(text)

    def figure(self, name: str, fig: "Figure") -> None:
        """Save a picture as `name`.png, if a folder for pictures was given."""
        if self.out is not None:
            path = self.out / f"{name}.png"
            fig.savefig(path, dpi=150)
            self.pictures.append(path)

    def save(self) -> None:
        """Write the JSON file, whole or not at all: a line for each row."""
        self._saved = time.monotonic()
        if self.json_path is None:
            return
        others = {
            "experiment": self.experiment,
            "options": self.options,
            "notes": self.notes,
            "environment": self._environment,
            "complete": self.complete,
        }
        # Without `indent`, which is Python, and slow for thousands of rows.
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


@contextlib.contextmanager
def _unfinished(folder: Path | None) -> Iterator[None]:
    """`checkpoint` keeps states in this folder, also in processes that start now."""
    if folder is None:
        yield
        return
    _make(folder)
    os.environ[UNFINISHED] = str(folder)
    try:
        yield
    finally:
        del os.environ[UNFINISHED]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}") from error
