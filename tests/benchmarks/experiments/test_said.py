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
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pictures
from benchmarks.experiments.tuning import hyperparameters
from benchmarks.fuzz.exact.arithmetic import EXTENDED
from benchmarks.registry import EXPERIMENTS
from benchmarks.report import Report, plain

SAID = Path(__file__).with_name("said.txt")
PICTURES = [
    importlib.import_module(f"benchmarks.pictures.{info.name}")
    for info in pkgutil.iter_modules(pictures.__path__)
]
COMPUTES = {
    "breast-cancer", "fine-pruning", "hypergradients", "mlp-spambase", "polytope",
    "poisoning-benchmark", "roni-spam", "scaling", "spam", "stochastic", "svm-2d", "svm-mnist",
}  # fmt: skip
"""Experiments that train or read data beside their rows."""
UNDRAWN = {
    "badnets-mnist", "driving", "fairness-synthetic", "februus", "hidden-trigger",
    "neural-cleanse", "optimised-trigger", "trojan-mnist",
}  # fmt: skip
"""Experiments that do so for their pictures."""
CELLS: dict[str, Callable[[Any], list[dict[str, Any]]]] = {
    "targeted-mnist": lambda o: [{"keep": o.keeps}],
    "lasso-features": lambda o: [{"learner": o.learners, "rate": o.rates}],
    "cnn-mnist": lambda o: [{"attacker": ("clean", "not moved", *o.attackers)}],
    "label-flips": lambda o: [{"learner": o.learners, "budget": o.budgets}],
    "label-sanitisation": lambda o: [{"learner": o.learners, "budget": o.budgets}],
    "dilemma": lambda o: [{"set": o.sets, "attacker": o.attackers, "radius": o.radii}],
    "memory": lambda o: [{"mode": o.modes, "steps": o.steps}],
    **{
        f"regression-{name}": lambda o: [{"learner": o.learners, "rate": o.rates}]
        for name in ("house", "pharm", "loans")
    },
    "i-bau": lambda o: [
        {"trigger": o.triggers, "network": ("infected", "clean"), "defense": ("none", "i-bau")},
        {"maximum": ("inside", "edge"), "derivative": ("implicit", "five terms")},
    ],
    "feature-sanitisers": lambda o: [{"kind": o.kinds, "defense": o.defenses}],
    "hyperparameters": lambda o: [{"method": hyperparameters.METHODS}],
    "strip": lambda o: [{"trigger": ("square",), "kind": ("infected",), "defense": o.defenses}],
    "network-speed": lambda o: [
        {"network": o.networks, "way": ("ours", "flax loop", "flax scan"), "count": o.members},
    ],
}  # fmt: skip
"""Cells that rows are chosen by without `where`."""


class Row(dict):
    """A cell that is not given is a number in [0, 1)."""

    def __init__(self, number: int, cells: dict[str, Any]):
        super().__init__(cells)
        self.number = number

    def __missing__(self, name: str) -> float:
        chosen = sorted((key, str(value)) for key, value in self.items())
        return zlib.crc32(repr((chosen, self.number, name)).encode()) % 10_000 / 10_000

    def get(self, name: str, default: Any = None) -> Any:
        del default
        return self[name]


def where(rows: Any, **cells: Any) -> list[Row]:
    """Those that have these cells, or could have."""
    fitting = [row for row in rows if all(row[n] == v for n, v in cells.items() if n in row)]
    return [Row(row.number, row | cells) for row in fitting]


def column(rows: Any, name: str, **cells: Any) -> list[Any]:
    return [row[name] for row in where(rows, **cells)]


def distinct(rows: Any, name: str) -> list[Any]:
    given = list(dict.fromkeys(row[name] for row in rows if name in row))
    return given or [1, 2]


class Made(dict):
    """What a unit made beside rows."""

    def __missing__(self, name: str) -> list[str]:
        return [f"{name} {i}" for i in range(3)]


def told(value: Any) -> str:
    """Briefly: of many things the first and the last."""
    if isinstance(value, Row):
        return f"row {value.number} {dict(value)}"
    if isinstance(value, list | tuple):
        ends = value if len(value) < 4 else (value[0], "...", value[-1])
        return f"{len(value)} [{', '.join(map(told, ends))}]"
    if hasattr(value, "shape"):
        return f"array {value.shape}"
    return getattr(value, "__name__", None) or repr(plain(value))[:100]


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
        self.lines, self.out = [], None if name in UNDRAWN else Path("out")

    def each(self, make: Any, options: Any, units: Any, description: str) -> Any:
        units = list(units)
        ends = f"{plain(units[0])} to {plain(units[-1])}"
        self.lines.append(f"{make.__name__}, {len(units)}: {ends}, {description}")
        self.rows = self.made
        return [Made() for _ in units]

    def note(self, text: str) -> None:
        self.lines.append(text)

    def figure(self, name: str, fig: Any) -> None:
        self.lines.append(f"{name}.png: {fig}")


def drawing(name: str) -> Callable[..., str]:
    def draw(*given: Any, **named: Any) -> str:
        words = [*map(told, given), *(f"{key}={told(value)}" for key, value in named.items())]
        return f"{name}({', '.join(words)})"

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
