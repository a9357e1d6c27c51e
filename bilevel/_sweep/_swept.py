"""What a sweep returns: its items in the order of the grid, and a table of them."""

import dataclasses
from typing import TYPE_CHECKING, Any

from ._settings import Settings

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Item:
    """One call of the task.

    - `settings`: as the grid gives them.
    - `cells`: what the task returned, with NumPy arrays, and lists for tuples; empty if it failed.
    - `failure`: why it failed, in a sentence; None if it did not.
    - `traceback`: where it failed; empty if it did not.
    """

    settings: Settings
    cells: dict[str, Any] = dataclasses.field(default_factory=dict)
    failure: str | None = None
    traceback: str = ""


@dataclasses.dataclass(frozen=True)
class Swept:
    """The items of a sweep, in the order of its grid.

    - `items`: all of them.
    """

    items: tuple[Item, ...]

    @property
    def failed(self) -> tuple[Item, ...]:
        """The items that have a `failure`."""
        return tuple(item for item in self.items if item.failure is not None)

    def frame(self) -> "pd.DataFrame":
        """One row per item, indexed as the grid: its settings, its cells, and `failure`, which is
        None where there is none. Cells of an item that failed are missing.

        Raises `ImportError` with the command that installs pandas if it is missing.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                f"frame: pandas cannot be imported ({error}): install it with "
                "`pip install bilevel[frames]`"
            ) from error
        rows = [{**item.settings, **item.cells} for item in self.items]
        frame = pd.DataFrame.from_records(rows)
        frame["failure"] = pd.Series([item.failure for item in self.items], dtype=object)
        return frame
