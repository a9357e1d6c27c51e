"""Poison rows against ridge and logistic classifiers of breast cancer.

Xiao et al. (ICML 2015) and Mei & Zhu (AAAI 2015), with the exact hypergradient and all points at
once: malignant rows labelled benign are moved so that the retrained classifier errs on validation
rows. Errors are those of scikit-learn's models, trained anew.
"""

from benchmarks.report import Report

from ._poisoned_classifiers import Options, run_on


def run(options: Options, report: Report) -> None:
    """One row per learner, number of points and split."""
    run_on("breast-cancer", options, report)
