"""Back-gradient poisoning of a small dense network, digits 1 and 7 of MNIST.

Munoz-Gonzalez et al., AISec 2017, with the exact derivative of the training path: points are added
one by one, each starts as a validation digit with the other label and climbs the validation loss of
the network. Two controls: the same digits, mislabelled and not moved; and training from other
initial weights than those of the attacker.
"""

from benchmarks.report import Report

from ._one_by_one import Options, run_on


def run(options: Options, report: Report) -> None:
    """One row per split and number of points."""
    run_on("mlp-mnist", options, report)
