"""Interest rates of loans: OpenIntro's sample of Lending Club, in mixed columns or in numbers.

Jagielski et al. attack another file of the same lender, which is no longer available.
"""

import io
from typing import TYPE_CHECKING

import numpy as np

from ..report import UsageError
from ._source import Original, unpacked
from ._table import Table, named_groups, scaled

if TYPE_CHECKING:
    import pandas as pd

FILE = Original(
    "loans_full_schema.csv",
    "https://raw.githubusercontent.com/alex-pi/stat-420-final-project/"
    "ff1ac36904935dc6e314ab99b8b24b36d9383e01/loans_full_schema.csv",
    "676267c58be51b3046fb0fea618a5108dc115b3924b2cb0c598df1dc60fada15",
)
TARGET = "interest_rate"
# Known only when the rate is, or computed from it: a model that sees them predicts nothing.
LEAKS = (
    "grade", "sub_grade", "installment", "issue_month", "initial_listing_status", "loan_status",
    "balance", "paid_total", "paid_principal", "paid_interest", "paid_late_fees",
)  # fmt: skip
USELESS = ("emp_title", "num_accounts_120d_past_due")  # free text; 0 wherever it is known
# Nothing is missing by chance: of an individual loan, the joint figures are those of the one
# borrower; of what never happened, the months since are as many as of anybody.
JOINT = {
    "annual_income_joint": "annual_income",
    "verification_income_joint": "verified_income",
    "debt_to_income_joint": "debt_to_income",
}
SINCE = (
    "months_since_last_delinq", "months_since_90d_late", "months_since_last_credit_inquiry",
)  # fmt: skip
DEBTS = ("debt_to_income", "debt_to_income_joint")
KINDS = (
    "state", "homeownership", "verified_income", "verification_income_joint", "loan_purpose",
    "application_type", "term", "disbursement_method",
)  # fmt: skip


def loans_frame() -> "pd.DataFrame":
    """10,000 loans as a DataFrame: the target `interest_rate` in per cent, then 41 features.

    Eight features are categories (`term`, in months, is one, as text), the others whole numbers
    (int64) or not (float64). Nothing is missing; what was is filled:

    - joint figures of an individual loan: the borrower's own;
    - months since what never happened: the most in that column;
    - length of employment where none is given: 0;
    - debt to income where there is no income (24 loans): the median.

    What follows from the rate is dropped: grade, instalment, listing, and all that came after.
    """
    import pandas as pd

    path = FILE.path()
    try:
        frame = pd.read_csv(io.BytesIO(unpacked(path))).drop(columns=[*LEAKS, *USELESS])
        frame = frame.fillna({joint: frame[own] for joint, own in JOINT.items()})
        frame = frame.fillna({name: frame[name].max() for name in SINCE})
        frame = frame.fillna({name: frame[name].median() for name in DEBTS})
        frame = frame.fillna({"emp_length": 0})
        frame = frame.astype(dict.fromkeys(("emp_length", *SINCE), "int64"))
        frame = frame.astype({"term": str}).astype(dict.fromkeys(KINDS, "category"))
        rate = frame.pop(TARGET)
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{path}: is not OpenIntro's loans_full_schema ({error})") from error
    frame.insert(0, TARGET, rate)
    return frame


def encoded(frame: "pd.DataFrame", target: str) -> Table:
    """A DataFrame as numbers in [0, 1]: every numeric column, and the target, by its least and
    largest number; every category a column `feature:category` that is 1 or 0.

    UsageError for columns that are neither numeric nor categories, and for missing values.
    """
    import pandas as pd

    if target not in frame:
        raise UsageError(f"target: got {target!r}, expected a column of the frame")
    gaps = frame.columns[frame.isna().any()]
    if len(gaps):
        raise UsageError(f"frame: column {gaps[0]} lacks values; fill or drop them first")
    names, columns = [], []
    for name, column in frame.drop(columns=target).items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            for code, kind in enumerate(column.cat.categories):
                names.append(f"{name}:{kind}")
                columns.append(column.cat.codes == code)
        elif pd.api.types.is_numeric_dtype(column.dtype):
            names.append(str(name))
            columns.append(scaled(column.to_numpy(float)))
        else:
            raise UsageError(
                f"frame: column {name} holds {column.dtype}, expected numbers or categories; "
                f"frame.astype({{{name!r}: 'category'}}) makes it categories"
            )
    x, y = np.stack(columns, axis=1).astype(float), scaled(frame[target].to_numpy(float))
    return Table(x, y, tuple(names), named_groups(names))


def loans() -> Table:
    """The 10,000 loans as numbers, the rate in [0, 1] too: 110 columns, 8 groups.

    Every category has a column, so that every row is 1 once in every group.
    """
    return encoded(loans_frame(), TARGET)
