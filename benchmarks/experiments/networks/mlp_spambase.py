"""Back-gradient poisoning of a small dense network that filters spam (spambase).

As in `mlp-mnist`, after Munoz-Gonzalez et al., AISec 2017. Features are logarithms of word counts,
in [0, 1].
"""

import numpy as np

from benchmarks.data import spambase
from benchmarks.report import Report

from ._one_by_one import Options, run_on
from ._victims import Rows


def mails() -> Rows:
    """Spam, labelled +1, and other mails, labelled -1."""
    table = spambase()
    return Rows(table.x.astype(np.float32), table.y.astype(np.int32))


def run(options: Options, report: Report) -> None:
    """One row per split and number of points."""
    run_on(mails, "mlp-spambase", options, report)
