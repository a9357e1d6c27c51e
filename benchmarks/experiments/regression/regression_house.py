"""House prices: poisoned ridge and LASSO, test error against the poisoning rate.

Jagielski et al., "Manipulating machine learning: poisoning attacks and countermeasures for
regression learning", IEEE S&P 2018, with the exact hypergradient. Inserted rows and their targets
are valid at every step: numbers in [0, 1], at most one category of every feature. Errors are those
of scikit-learn's models, trained anew.
"""

from benchmarks.report import Report

from ._poisoned_regression import Options, run_on


def run(options: Options, report: Report) -> None:
    """One row per learner, rate and seed."""
    run_on("house", options, report)
