"""What an audit found, as plain records: to read, to save as JSON or as one HTML page."""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .reading import Frame, TableError

SCHEMA = 2
"""Version of the JSON; it grows when a field changes its meaning or goes."""
USEFUL = 10
"""Times what was found, for numbers to predict, up to which a bound says something."""


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One attack of some rows: the error that it causes on rows that the attacker knows, by which
    attacks are chosen, and on rows to judge by. To change nothing is one, too.
    """

    name: str
    choosing: float
    error: float


@dataclasses.dataclass(frozen=True)
class Budget:
    """The attacker has so many rows.

    - `share`: of the training rows; `rows`: their number.
    - `found`: the error after the best attack, by rows that the attacker knows; `attack`: its name.
    - `random`: mean error after as many random mistakes; `random_sd`: its standard deviation over
      draws.
    - `certified`: no attack within the reach causes more error than this; infinite, or 1 of
      classes, where the bound says nothing, and None if none is known of the model.
    - `attempts`: all attacks that were tried.
    """

    share: float
    rows: int
    found: float
    attack: str
    random: float
    random_sd: float
    certified: float | None
    attempts: tuple[Attempt, ...]


@dataclasses.dataclass(frozen=True)
class Defended:
    """A defense, at one budget; the first, "none", is without any.

    - `clean`: error on a clean table behind it. `found`: after the attack that ignores it.
    - `adaptive`: after the best attack by one who knows it, of those that ignore it and those that
      were searched through a defense; `adapted`: whether one was searched through this one.
    - `choosing`: error after that attack on known rows that are not trained on, by which defenses
      are chosen.
    - `dropped`: rows that it drops or relabels of clean ones; `caught`: of the poison.
    """

    name: str
    clean: float
    found: float
    adaptive: float
    choosing: float
    adapted: bool
    dropped: int
    caught: int
    poison: int


@dataclasses.dataclass(frozen=True)
class Group:
    """Errors in one group, on rows to judge by: clean, and at the middle budget, with the standard
    error of this by the number of rows.
    """

    name: str
    rows: int
    clean: float
    found: float
    uncertain: float


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the user's table, with what was found of it; `number` counts from 0."""

    number: int
    cells: dict[str, Any]
    value: float
    exact: float | None = None
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Influential:
    """The training rows that matter most, or why no figure is printed.

    - `rows`: `value` is the change of the held-out loss if the row is left out, `exact` the same
      by training without it. `correlation`: of the two.
    - `bound`: of the error of each value. `refused`: a sentence, if it is not certified.
    """

    rows: tuple[Row, ...]
    bound: float | None
    correlation: float | None
    refused: str | None


@dataclasses.dataclass(frozen=True)
class Indicator:
    """A figure that needs no attack, and a line on how to read it."""

    name: str
    value: float | None
    shown: str
    line: str


@dataclasses.dataclass(frozen=True)
class Certified:
    """The state of a gradient: its certificate in words, and whether its figures are printed."""

    what: str
    sure: bool
    text: str


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """An audit. Everything but `seconds` and `rows` is in the JSON, and is the same bit by bit for
    the same table and seed.

    Errors are shares of wrong labels, or of numbers what is left unexplained (1 - R^2).
    """

    table: dict[str, Any]
    learner: dict[str, Any]
    clean: float
    uncertain: float
    """Standard error of `clean`, by the number of rows to judge by."""
    baseline: float
    budgets: tuple[Budget, ...]
    middle: int
    defenses: tuple[Defended, ...]
    groups: tuple[Group, ...]
    worst: tuple[Row, ...]
    influential: Influential
    suspicious: tuple[Row, ...]
    indicators: tuple[Indicator, ...]
    certificates: tuple[Certified, ...]
    notes: tuple[str, ...]
    foot: dict[str, Any]
    rows: Frame
    seconds: float

    def passed(self, max_damage: float = 0.05) -> bool:
        """Whether no attack found, at any budget, adds more than `max_damage` to the error."""
        require_damage(max_damage)
        return all(budget.found - self.clean <= max_damage for budget in self.budgets)

    @property
    def best_defense(self) -> Defended | None:
        """The defense behind which an attacker who knows it does least: on rows that are neither
        trained on nor judged by, so that its figures are no luck of the choice. None if that is no
        less than without any, there or on the rows to judge by. Where attacks were searched through
        some defenses, one of these.
        """
        none, *others = self.defenses
        searched = [defense for defense in others if defense.adapted]
        best = min(searched or others, key=lambda defense: defense.choosing)
        helps = best.choosing < none.choosing and best.adaptive < none.adaptive
        return best if helps else None

    def bound(self, budget: Budget) -> float | None:
        """The certified bound, if it says something: of classes less than 100 %, of numbers also
        up to ten times what was found.
        """
        most = 1.0 if self.table["classes"] else max(1.0, USEFUL * budget.found)
        known = budget.certified
        return known if known is not None and known < most else None

    def to_json(self, *, rows: bool = True) -> str:
        """The report as JSON text; without the cells of any row if `rows` is False."""
        told: dict[str, Any] = {"schema": SCHEMA}
        for field in dataclasses.fields(self):
            if field.name not in {"rows", "seconds"}:
                told[field.name] = _plain(getattr(self, field.name), rows)
        best = self.best_defense
        told["best_defense"] = None if best is None else best.name
        return json.dumps(told, indent=1, allow_nan=False, ensure_ascii=False)

    def save(self, path: str | Path, *, rows: bool = True) -> Path:
        """Write the report, whole or not at all: one HTML page, or JSON for a name in `.json`.

        - `rows`: whether rows of the table are shown.

        Raises `TableError` for another ending, and if the file cannot be written.
        """
        from .page import page

        path = Path(path)
        require_path(path)
        html = path.suffix.lower() == ".html"
        text = page(self, rows=rows) if html else self.to_json(rows=rows) + "\n"
        part = path.with_name(path.name + ".part")
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise TableError(f"path: {str(path)!r} cannot be written ({error.strerror})") from None
        return path


def require_path(path: Path) -> None:
    """`TableError` for a file that `Report.save` could not write."""
    if path.suffix.lower() not in {".html", ".json"}:
        raise TableError(f"path: got {path.name!r}, expected a name in .html or .json")
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        why = "it is a folder" if path.is_dir() else f"{str(folder)!r} is no folder to write to"
        raise TableError(f"path: {str(path)!r} cannot be written ({why})")


def require_damage(max_damage: float) -> None:
    """`TableError` for a damage that cannot be allowed."""
    if not 0 <= max_damage < math.inf:
        raise TableError(f"max_damage: got {max_damage}, expected an error >= 0 to allow")


def _plain(value: Any, rows: bool) -> Any:
    """As JSON can hold it."""
    if isinstance(value, Row) and not rows:  # why it stands here may hold its label
        value = dataclasses.replace(value, cells={}, why="")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name), rows) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item, rows) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item, rows) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    return value if value is None or isinstance(value, str) else str(value)


def row_of(frame: Frame, place: int, number: int, value: float, **more: Any) -> Row:
    """A row of the user's table as a record; cells longer than 60 letters are cut."""
    cells: dict[str, Any] = {}
    for name, cell in zip(frame.columns, frame.iloc[place].tolist(), strict=True):
        if cell is None or cell is pd.NA or cell is pd.NaT:
            cells[str(name)] = None
        elif isinstance(cell, bool | int | float | np.number | np.bool_):
            plain = cell.item() if isinstance(cell, np.generic) else cell
            cells[str(name)] = plain if not isinstance(plain, float) else _rounded(plain)
        else:
            text = str(cell)
            cells[str(name)] = text if len(text) <= 60 else text[:59] + "…"
    return Row(number, cells, value, **more)


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
