"""What experiments ask for, say and draw: of made-up rows, each cell of which is a number by its
name and the cells that it was chosen by. `said.txt` holds it, and who changes it on purpose writes
it down there, too: another column, other rows, a mean that is a sum or a unit of another size
changes the numbers.
"""

import importlib
import inspect
import itertools
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standing_in import CELLS, MADE, STANDING_IN, Made, Row, words

from benchmarks import pictures
from benchmarks.fuzz.exact.arithmetic import EXTENDED
from benchmarks.registry import EXPERIMENTS
from benchmarks.report import Report, plain

SAID = Path(__file__).with_name("said.txt")
PICTURES = [
    importlib.import_module(f"benchmarks.pictures.{info.name}")
    for info in pkgutil.iter_modules(pictures.__path__)
]
COMPUTES = {"poisoning-benchmark"}
"""Experiments that compute beside their rows."""


def where(rows: Any, **cells: Any) -> list[Row]:
    """Those that have these cells, or could have."""
    fitting = [row for row in rows if all(row[n] == v for n, v in cells.items() if n in row)]
    return [Row(row.number, row | cells) for row in fitting]


def column(rows: Any, name: str, **cells: Any) -> list[Any]:
    return [row[name] for row in where(rows, **cells)]


def distinct(rows: Any, name: str) -> list[Any]:
    given = list(dict.fromkeys(row[name] for row in rows if name in row))
    return given or [1, 2]


class Listener(Report):
    """It makes rows up, and writes down what it is told."""

    def __init__(self, name: str, options: Any):
        super().__init__(name, options)
        given = CELLS[name](options) if name in CELLS else [{}]
        each = [
            dict(zip(cells, values, strict=True))
            for cells in given
            for values in itertools.product(*cells.values())
        ]
        self.made: Any = [Row(number, cells) for cells in each for number in range(3)]
        self.lines, self.out = [], Path("out")

    def each(self, make: Any, options: Any, units: Any, description: str) -> Any:
        units = list(units)
        ends = f"{plain(units[0])} to {plain(units[-1])}"
        self.lines.append(f"{make.__name__}, {len(units)}: {ends}, {description}")
        self.rows = self.made
        return [MADE.get(self.experiment, Made)(unit) for unit in units]

    def row(self, **cells: Any) -> None:
        self.lines.append(f"row: {words(**cells)}")

    def note(self, text: str) -> None:
        self.lines.append(f"{text}")

    def figure(self, name: str, fig: Any) -> None:
        self.lines.append(f"{name}.png: {fig}")


def drawing(name: str) -> Callable[..., str]:
    def draw(*given: Any, **named: Any) -> str:
        return f"{name}({words(*given, **named)})"

    return draw


def heard(name: str, monkeypatch: Any) -> str:
    """What an experiment with its own options says, as a section of the file."""
    module = EXPERIMENTS[name].load()
    functions = [part for part in vars(module).values() if inspect.isfunction(part)]
    homes = {f.__module__ for f in functions if f.__module__.startswith("benchmarks.experiments")}
    for home, ours in itertools.product(homes | {module.__name__}, (where, column, distinct)):
        if hasattr(sys.modules[home], ours.__name__):
            monkeypatch.setattr(sys.modules[home], ours.__name__, ours)
    for picture in PICTURES:  # all are imported: none takes a stub from another for its own
        short = picture.__name__.rpartition(".")[2]
        for draw, function in list(vars(picture).items()):
            if inspect.isfunction(function) and function.__module__ == picture.__name__:
                monkeypatch.setattr(picture, draw, drawing(f"{short}.{draw}"))
    for place, stand_in in STANDING_IN.get(name, {}).items():
        monkeypatch.setattr(f"benchmarks.experiments.{place}", stand_in)
    options = module.Options()
    module.run(options, listener := Listener(name, options))
    return "\n".join([f"== {name}", *listener.lines])


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in COMPUTES])
def test_an_experiment_asks_says_and_draws_what_is_written_down(name, monkeypatch) -> None:
    if name == "certificate-fuzz" and not EXTENDED:
        pytest.skip("long double is no wider than double here")
    found = heard(name, monkeypatch)
    sections = {part.split("\n")[0]: part for part in SAID.read_text().split("\n\n")}
    written = sections.get(f"== {name}", "").rstrip("\n")
    assert found == written, f"if this is right, write it into {SAID.name}:\n\n{found}"
