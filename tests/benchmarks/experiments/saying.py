"""Numbers that say what a stub was given, so that a cell of a row can be told from all others."""

import zlib
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


def _plain(word: Any) -> Any:
    """Values in place of arrays and keys."""
    if isinstance(word, jax.Array) and jnp.issubdtype(word.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(word).tolist()
    if isinstance(word, jax.Array | np.ndarray | np.generic):
        word = np.asarray(word, float).tolist()
    if isinstance(word, int) and not isinstance(word, bool):
        return float(word)
    return [_plain(part) for part in word] if isinstance(word, tuple | list) else word


def said(*words: Any) -> float:
    """The number in (0, 1) of these words."""
    return zlib.crc32(repr([_plain(word) for word in words]).encode()) / 2**32


def put(monkeypatch: Any, module: Any, **stubs: Any) -> None:
    """These in place of what the module has."""
    for name, stub in stubs.items():
        monkeypatch.setattr(module, name, stub)


def tells(name: str) -> Callable:
    """In place of a function or a class: what it was given."""
    return lambda *given, **settings: (name, *given, *sorted(settings.items()))


def _each(rows: Any) -> Iterable[Any]:
    """One after another, of models, too."""
    if isinstance(rows, eqx.Module):
        count = len(jax.tree.leaves(rows)[0])
        return [jax.tree.map(lambda leaf, i=i: leaf[i], rows) for i in range(count)]
    return rows


def looped(call: Callable, size: int | None = None) -> Callable:
    """In place of `bilevel.batch`: one after another."""
    del size

    def each(*rows: Any) -> Any:
        made = [call(*row) for row in zip(*map(_each, rows), strict=True)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)

    return each


def retraining(*words: Any) -> Any:
    """What victims do with poison and without."""

    def cells(kind: str) -> Any:
        success, accuracy = (
            SimpleNamespace(mean=said(*words, kind, what), worst=said(*words, kind, what, "worst"))
            for what in ("success", "accuracy")
        )
        return SimpleNamespace(success=success, accuracy=accuracy)

    return SimpleNamespace(attacked=cells("attacked"), clean=cells("clean"), **vars(cells("")))


class Clock:
    """In place of `time`: seconds of each call, in turn; three times as many on the wall."""

    def __init__(self, *takes: float):
        self.now, self.takes = 0.0, list(takes)

    def spend(self) -> float:
        self.now += self.takes.pop(0)
        return self.now

    def process_time(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        return 3 * self.now
