"""What an item of a sweep is run with: settings that have one text, and so one key."""

import dataclasses
import enum
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np

Settings = Mapping[str, Any]
KINDS = (
    "None, bool, int, float, str, paths, enums, NumPy scalars, and lists, tuples or dataclasses of "
    "these"
)


class Keyed(NamedTuple):
    """The settings of an item, and as JSON can hold them."""

    settings: Settings
    plain: dict[str, Any]


def keyed(task: Callable, grid: Iterable[Settings], identity: dict[str, Any]) -> dict[str, Keyed]:
    """The items of the grid by their keys, in order.

    - `identity`: what else a result depends on.

    Raises `ValueError` for a grid without items or with one of them twice, `TypeError` for an item
    that is no mapping, does not fit the signature of the task, or holds what has no stable text.
    """
    items: dict[str, Keyed] = {}
    known: dict[int, tuple[Any, Any]] = {}  # items often share an object: its text is made once
    numbers: dict[str, int] = {}
    signature = inspect.signature(task)
    for number, settings in enumerate(grid):
        if not isinstance(settings, Mapping):
            raise TypeError(
                f"grid: item {number} is a {type(settings).__name__}, expected a mapping of names "
                "to settings"
            )
        try:
            signature.bind(**settings)
        except TypeError as error:
            raise TypeError(
                f"grid: item {number}, {dict(settings)}, does not fit {task.__qualname__}"
                f"{signature}: {error}"
            ) from error
        about = _item(settings, number, known)
        text = json.dumps([identity, about], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:32]
        if key in items:
            raise ValueError(
                f"grid: items {numbers[key]} and {number} are the same, {dict(settings)}; leave "
                "one out, or tell them apart by a setting such as a seed"
            )
        items[key], numbers[key] = Keyed(settings, about), number
    if not items:
        raise ValueError("grid: got no items, expected at least one mapping of names to settings")
    return items


def plain(value: Any) -> Any:
    """A setting as JSON can hold it, so that different settings differ in their text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, enum.Enum):  # before int and str, which its members may be, too
        return {_name(value): [value.name, plain(value.value) if value.name is None else None]}
    if isinstance(value, PurePath):
        return {"path": value.as_posix()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {_name(value): {name: plain(each) for name, each in fields.items()}}
    wide = isinstance(value, np.generic)  # np.longdouble has more digits than Python's float
    if value is None or (isinstance(value, bool | int | str | float) and not wide):
        return value
    raise TypeError(f"is a {type(value).__name__}, expected one of: {KINDS}")


def _name(value: Any) -> str:
    """Of its class: another module may have one of the same name."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _item(settings: Settings, number: int, known: dict[int, tuple[Any, Any]]) -> dict[str, Any]:
    texts = {}
    for name, value in settings.items():
        try:
            if id(value) not in known:
                known[id(value)] = value, plain(value)
            texts[name] = known[id(value)][1]
        except TypeError as error:
            raise TypeError(
                f"grid: {name!r} of item {number} {error}; name arrays and objects by a number, a "
                "word or a file, and make them inside the task"
            ) from error
    return texts
