"""The regression tables of Jagielski et al. (IEEE S&P 2018), as their authors preprocessed them."""

import csv
from pathlib import Path

from ..report import UsageError
from ._source import Original, numbers, unpacked
from ._table import Table, named_groups

REPOSITORY = (
    "https://raw.githubusercontent.com/jagielski/manip-ml/"
    "7a0cac876c289971771c9fa9dfa76c9581fdbe5e/datasets/"
)
HOUSE = Original(
    "house-processed.csv",
    f"{REPOSITORY}house-processed.csv",
    "51c161c9b911330648b1db99263dda5d2f17d7a9a1ac59ac09829c9dc4100935",
)
PHARM = Original(
    "pharm-preproc.csv",
    f"{REPOSITORY}pharm-preproc.csv",
    "ada3d58b94be9b7ca223c95f2f73a449dca229fdd22037b6ef832231cd92bb4e",
)


def house() -> Table:
    """Sale prices of 1,460 houses in Ames, 274 columns, 44 groups.

    One category of every feature has no column: a row of that category is 0 in the whole group.
    """
    return _read(HOUSE.path())


def pharm() -> Table:
    """Doses of warfarin of 4,683 patients, 204 columns, 39 groups.

    Every row is 1 once in every group, but for `IndicationforWarfarinTreatment`: a patient may
    have up to four indications.
    """
    return _read(PHARM.path())


def _read(path: Path) -> Table:
    """A table with a head, the target in column 0, everything in [0, 1]."""
    head, _, body = unpacked(path).decode(errors="replace").partition("\n")
    names = next(csv.reader([head.rstrip("\r")]), [])[1:]
    try:
        held = numbers(body)
        return Table(held[:, 1:], held[:, 0], tuple(names), named_groups(names))
    except (ValueError, UsageError) as error:
        raise UsageError(f"{path}: is no complete table ({error}); fetch it again") from error
