"""Back-gradient poisoning of a small dense network, digits 1 and 7 of MNIST.

Munoz-Gonzalez et al., AISec 2017, with the exact derivative of the training path: points are added
one by one, each starts as a validation digit with the other label and climbs the validation loss of
the network. Two controls: the same digits, mislabelled and not moved; and training from other
initial weights than those of the attacker.
"""

import numpy as np

from benchmarks.data import mnist
from benchmarks.report import Report

from ._one_by_one import Options, run_on
from ._victims import Rows


def ones_and_sevens() -> Rows:
    """Rows 1, labelled +1, and 7, labelled -1; 500 of each."""
    digits = mnist()
    rows = np.isin(digits.labels, (1, 7))
    x = (digits.images[rows] / 255.0).astype(np.float32)
    return Rows(x, np.where(digits.labels[rows] == 1, 1, -1).astype(np.int32))


def run(options: Options, report: Report) -> None:
    """One row per split and number of points."""
    run_on(ones_and_sevens, "mlp-mnist", options, report)
