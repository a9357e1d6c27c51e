"""Poison against fairness on COMPAS: who is charged again within two years (6,172 defendants).

Favourable is not to be charged again; Caucasian defendants are the privileged group. All attackers
insert rows and choose their group. Figures are those of scikit-learn's models, trained anew, on
test rows: `impact` is the ratio of selection rates of the other group over the privileged one,
`parity`, `opportunity` and `average_odds` differences, `odds` the larger one in magnitude.
Attackers: flips at random and by group, error-generic, Solans et al. 2020 (towards and away from
disparity), Mehrabi et al. 2021 (influence, anchors), ours on smooth disparate impact, free or for
one point of error, and one that hides disparity.
"""

from benchmarks.report import Report

from ._run import run_on
from ._shares import Options


def run(options: Options, report: Report) -> None:
    """One row per table, attacker, victim, share and draw."""
    run_on("compas", options, report)
