"""Adult: who earns more than 50,000 dollars, from the census of 1994 (Becker & Kohavi, UCI)."""

import io
from typing import TYPE_CHECKING

from ..report import UsageError
from ._source import Original, unpacked

if TYPE_CHECKING:
    import pandas as pd

FILE = Original(
    "adult.data",
    "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/adult.data",
    "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
)
NUMBERS = ("age", "weight", "education_years", "capital_gain", "capital_loss", "hours")
COLUMNS = (
    "age", "work", "weight", "education", "education_years", "marital", "occupation",
    "relationship", "race", "sex", "capital_gain", "capital_loss", "hours", "country", "label",
)  # fmt: skip


def adult_frame() -> "pd.DataFrame":
    """The 32,561 training rows as a DataFrame: the target `label`, +1 for more than 50,000 dollars
    and -1 otherwise, then 14 features.

    Six are numbers in their own units, `weight` (of the person in the census) up to 1.5e6; the
    others are categories, an unknown one is "?". `race` and `sex` are protected attributes.
    """
    import pandas as pd

    path = FILE.path()
    try:
        text = io.BytesIO(unpacked(path))
        frame = pd.read_csv(text, names=list(COLUMNS), skipinitialspace=True)
        label = frame.pop("label").map({">50K": 1.0, "<=50K": -1.0})
        kinds = [name for name in COLUMNS[:-1] if name not in NUMBERS]
        frame = frame.astype(dict.fromkeys(NUMBERS, float)).astype(dict.fromkeys(kinds, "category"))
        if label.isna().any() or frame.isna().to_numpy().any():
            raise ValueError("a row lacks a value or has another label")
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{path}: is not UCI's adult.data ({error})") from error
    frame.insert(0, "label", label)
    return frame
