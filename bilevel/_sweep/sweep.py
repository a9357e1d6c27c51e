"""One function over many settings: each result is kept as it comes."""

import contextlib
import os
import queue
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from typing import Any

from . import _cells
from ._code import identity
from ._perform import failure, perform
from ._processes import Processes
from ._settings import Settings, keyed
from ._store import Store
from ._swept import Item, Swept

DEATHS = 3
"""So many workers an item may kill."""


def sweep(
    task: Callable[..., Mapping[str, Any]],
    grid: Iterable[Settings],
    *,
    store: str | os.PathLike,
    version: str | None = None,
    executor: Executor | None = None,
    jobs: int | None = None,
    after: Callable[[Item], object] | None = None,
) -> Swept:
    """Call `task(**settings)` for each item of the grid, and keep each result in a file.

    A sweep that was interrupted, called again, runs what is missing or has failed, and returns the
    same bits as one that was not: every result is what its file says.

    - `task`: a function defined at the top of a module. It returns a mapping of names to numbers,
      text, None, arrays, and lists, tuples or mappings of these. What it draws must come from its
      settings.
    - `grid`: mappings of names to None, bool, int, float, str, paths, enums, NumPy scalars, and
      lists, tuples or dataclasses of these.
    - `store`: a folder for one task, made if it is not there: a JSON file for each item, named by a
      hash of task, version, precision (`jax_enable_x64`) and settings.
    - `version`: of the code. By default a hash of the file that defines the task and the versions
      of bilevel, jax, jaxlib and numpy: changes in other modules that the task imports are not
      seen. A folder with results of another version is refused.
    - `executor`: any of `concurrent.futures`, or Dask's `client.get_executor()`; it is not shut
      down. By default local processes, which share the cores; a script must then call `sweep` under
      `if __name__ == "__main__":`. An item whose process is killed gets another, up to three.
    - `jobs`: number of local processes; by default one for each core. They share an accelerator:
      take one there.
    - `after`: called with each item once, in this process: those of the store first, then as they
      come.

    A task that raises is an `Item` with a `failure`; the others go on.

    Raises `TypeError` or `ValueError` for a task, grid or store that cannot be used, before
    anything is run; `RuntimeError` if the executor dies, `OSError` if a result cannot be written.
    What came before is kept.
    """
    if executor is not None and jobs is not None:
        raise ValueError(f"jobs: got {jobs} and an executor, which has its own; give one of both")
    of = identity(task, version)
    items = keyed(task, grid, of)
    pool = Processes(jobs) if executor is None else executor
    swept: dict[str, Item] = {}

    def add(key: str, outcome: dict[str, Any]) -> None:
        swept[key] = Item(items[key].settings, **outcome)
        if after is not None:
            after(swept[key])

    with Store(store, of) as kept:
        for key in items:
            outcome = kept.read(key)
            if outcome is not None and "cells" in outcome:
                add(key, outcome)
        left = {key: item.settings for key, item in items.items() if key not in swept}
        calls = {key: (perform, task, settings, of["x64"]) for key, settings in left.items()}
        try:
            with contextlib.closing(_outcomes(pool, calls)) as outcomes:
                for key, text in outcomes:
                    kept.write(key, items[key].plain, text)
                    add(key, _cells.loads(text))
        except BrokenExecutor as error:
            raise RuntimeError(
                f"executor: {type(pool).__name__} takes no more items ({error}); {len(swept)} of "
                f"{len(items)} results are kept in {kept.path}: sweep again with another"
            ) from error
        finally:
            if executor is None:
                pool.shutdown()
    return Swept(tuple(swept[key] for key in items))


def _outcomes(pool: Executor, calls: dict[str, tuple]) -> Generator[tuple[str, str]]:
    """The outcomes of calls by their keys, as they come. Raises `BrokenExecutor` if the pool does
    not take a call.
    """
    ready: queue.SimpleQueue[Future] = queue.SimpleQueue()
    running: dict[Future, str] = {}
    deaths = Counter()

    def submit(key: str) -> None:
        try:
            future = pool.submit(*calls[key])
        except Exception as error:
            raise BrokenExecutor(f"{type(error).__name__}: {error}") from error
        running[future] = key
        future.add_done_callback(ready.put)

    try:
        for key in calls:
            submit(key)
        while running:
            future = ready.get()
            key = running.pop(future)
            try:
                text = future.result()
            except CancelledError as error:
                raise BrokenExecutor("it cancelled an item") from error
            except BrokenExecutor as error:
                deaths[key] += 1
                if deaths[key] < DEATHS:
                    submit(key)
                    continue
                text = failure(error, f"killed {DEATHS} times: {error}")
            except Exception as error:
                text = failure(error)
            yield key, text
    finally:
        for future in running:
            future.cancel()
