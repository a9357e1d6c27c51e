"""Pictures, in words: of made-up rows and images, all that is drawn. `depicted.txt` holds it, and
who changes a picture on purpose writes it down there, too: another column, other rows, another
order, side, colour, name, unit or scale changes the words.
"""

import difflib
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
from depicted import depicted
from matplotlib.figure import Figure
from to_draw import GIVEN

from benchmarks import pictures

DEPICTED = Path(__file__).with_name("depicted.txt")
SECTIONS = {part.split("\n")[0]: part.rstrip("\n") for part in DEPICTED.read_text().split("\n\n")}


@pytest.mark.parametrize("name", GIVEN)
def test_a_picture_shows_what_is_written_down(name: str) -> None:
    module, _, draw = name.partition(",")[0].partition(".")
    function = getattr(importlib.import_module(f"benchmarks.pictures.{module}"), draw)
    found = f"== {name}\n{depicted(function(*GIVEN[name]))}"
    written = SECTIONS.get(f"== {name}", "")
    change = "\n".join(
        difflib.unified_diff(written.split("\n"), found.split("\n"), lineterm="", n=0)
    )
    assert not change, f"{change}\n\nif this is right, write it into {DEPICTED.name}:\n\n{found}"


def test_every_picture_is_written_down() -> None:
    names = [info.name for info in pkgutil.iter_modules(pictures.__path__) if info.name != "style"]
    modules = {name: importlib.import_module(f"benchmarks.pictures.{name}") for name in names}
    drawing = {
        f"{home}.{name}"
        for home, module in modules.items()
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and inspect.signature(function).return_annotation is Figure
    }
    assert drawing == {name.partition(",")[0] for name in GIVEN}
    assert SECTIONS.keys() == {f"== {name}" for name in GIVEN}
