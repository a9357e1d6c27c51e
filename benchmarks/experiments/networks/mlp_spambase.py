"""Back-gradient poisoning of a small dense network that filters spam (spambase).

As in `mlp-mnist`, after Munoz-Gonzalez et al., AISec 2017. Features are logarithms of word counts,
in [0, 1].
"""

from benchmarks.report import Report

from ._one_by_one import Options, run_on


def run(options: Options, report: Report) -> None:
    """One row per split and number of points."""
    run_on("mlp-spambase", options, report)
