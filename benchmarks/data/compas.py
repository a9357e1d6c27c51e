"""COMPAS: who is charged again within two years (ProPublica 2016), filtered as published."""

import io
from typing import TYPE_CHECKING

from ..report import UsageError
from ._source import Converted, unpacked

if TYPE_CHECKING:
    import pandas as pd

FILE = Converted(
    "compas-two-years-nonames.csv",
    "ProPublica's compas-scores-two-years.csv (github.com/propublica/compas-analysis), where names "
    "and dates of birth may be left out",
)
NUMBERS = ("age", "juv_fel_count", "juv_misd_count", "juv_other_count", "priors_count")
KINDS = ("sex", "race", "age_cat", "c_charge_degree")
FILTER = ("days_b_screening_arrest", "is_recid", "c_charge_degree", "score_text")


def compas_frame() -> "pd.DataFrame":
    """6,172 defendants as a DataFrame: the target `label`, +1 for those charged again within two
    years and -1 otherwise, five counts and ages, and four categories. `sex`, `race` and the age are
    protected attributes; the tool's own scores are left out.

    ProPublica's filter keeps those screened within 30 days of the arrest, with a known outcome, an
    offence that is more than a traffic one, and a score.
    """
    import pandas as pd

    path = FILE.path()
    try:
        frame = pd.read_csv(io.BytesIO(unpacked(path)), keep_default_na=False, na_values=[""])
        days, known, charge, score = (frame[name] for name in FILTER)
        kept = days.between(-30, 30) & (known != -1) & (charge != "O") & (score != "N/A")
        frame = frame.loc[kept].reset_index(drop=True)
        label = 2.0 * frame["two_year_recid"] - 1
        frame = frame.reindex(columns=[*NUMBERS, *KINDS])
        frame = frame.astype(dict.fromkeys(NUMBERS, float)).astype(dict.fromkeys(KINDS, "category"))
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{path}: is not ProPublica's COMPAS table ({error})") from error
    frame.insert(0, "label", label)
    return frame
