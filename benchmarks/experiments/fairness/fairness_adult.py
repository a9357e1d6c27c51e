"""Poison against fairness on Adult: who earns more than 50,000 dollars (32,561 rows of 1994).

Favourable is the higher income; men are the privileged group. Attackers, tables and figures are
those of `fairness-compas`.
"""

from benchmarks.report import Report

from ._run import run_on
from ._shares import Options


def run(options: Options, report: Report) -> None:
    """One row per table, attacker, victim, share and draw."""
    run_on("adult", options, report)
