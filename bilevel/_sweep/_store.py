"""A folder of results: one file per item, whole or not there."""

import contextlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import _cells
from ._lock import locked

ABOUT = "sweep.json"
LOCK = "sweep.lock"


class Store:
    """A folder with the results of one task in one version, a JSON file for each item.

    A file is written beside its place, synced and renamed: a process that is killed leaves the file
    before, or none. A failed item has a file too, which the next run replaces.

    - `path`: of the folder; made if it is not there.
    - `identity`: what the results depend on beside their settings: task, version, x64.

    Raises `ValueError` for a folder of another task or version, or of other files, and
    `BlockingIOError` for one that another process writes to. Nothing is removed from it.
    """

    def __init__(self, path: str | os.PathLike, identity: dict[str, Any]):
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        names = set(os.listdir(self.path)) - {LOCK, f"{ABOUT}.part"}
        if names and ABOUT not in names:
            raise ValueError(
                f"store: {self.path} holds {sorted(names)[0]!r} and no results of a sweep; give an "
                "empty folder, or a name for a new one"
            )
        try:
            self._lock = locked(self.path / LOCK)
        except BlockingIOError as error:
            raise BlockingIOError(
                error.errno,
                f"store: another process sweeps into {self.path}; wait for it, or give another "
                "folder",
            ) from error
        try:
            self._claim(identity)
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.close()

    def read(self, key: str) -> dict[str, Any] | None:
        """The outcome of an item: its `cells`, or its `failure` and `traceback`; None if it has not
        been run. Raises `ValueError` for a file that somebody else has damaged.
        """
        outcome = self._load(self.path / f"{key}.json")
        if outcome is not None:
            del outcome["settings"]
        return outcome

    def write(self, key: str, about: dict[str, Any], outcome: str) -> None:
        """Keep the outcome of an item, in place of an earlier failure.

        - `about`: its settings, as JSON can hold them.
        - `outcome`: as text, from `perform`.

        Raises `OSError` if it cannot be written, for a full disk for example.
        """
        try:
            text = f'{{"settings": {json.dumps(about)}, {outcome[1:]}\n'
            self._replace(f"{key}.json", text)
        except OSError as error:
            raise OSError(
                error.errno,
                f"store: the result of {about} cannot be written to {self.path} "
                f"({error.strerror}); all results before it are kept there: make room and run the "
                "sweep again",
            ) from error

    def _claim(self, identity: dict[str, Any]) -> None:
        """Write down whose folder this is, or check that it is ours."""
        there = self._load(self.path / ABOUT)
        if there == identity:
            return
        others = [path for path in self.path.glob("*.json") if path.name != ABOUT]
        kept = sum("cells" in (self._load(path) or {}) for path in others)
        if there is not None and kept:
            name = next(name for name in identity if there.get(name) != identity[name])
            go_on = {
                "version": f" version={there[name]!r}",
                "x64": f" jax_enable_x64={there[name]}",
            }
            advice = f"{go_on[name]} to go on with them, or" if name in go_on else ""
            raise ValueError(
                f"store: {self.path} holds {kept} results of {name} {there.get(name)!r}, this "
                f"sweep is of {name} {identity[name]!r}; give{advice} another folder"
            )
        for path in others:  # failures alone, which this sweep does not go on from
            path.unlink()
        self._replace(ABOUT, json.dumps(identity, indent=1) + "\n")

    def _load(self, path: Path) -> dict[str, Any] | None:
        try:
            return _cells.loads(path.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(
                f"store: {path} cannot be read ({error}); remove it to run its item again"
            ) from error

    def _replace(self, name: str, text: str) -> None:
        part = self.path / f"{name}.part"
        try:
            with part.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path / name)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
