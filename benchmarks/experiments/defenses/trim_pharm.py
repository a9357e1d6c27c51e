"""TRIM on doses of warfarin: attackers unaware of it and adapted to it.

Jagielski et al., "Manipulating machine learning: poisoning attacks and countermeasures for
regression learning", IEEE S&P 2018, beside robust regressions, at the paper's strength of ridge and
at the one that is best on folds of the clean rows.
"""

from benchmarks.report import Report

from ._trim_on_table import Options, run_on


def run(options: Options, report: Report) -> None:
    """One row per attacker, strength, rate and split; or, with `--against`, per file."""
    run_on("pharm", options, report)
