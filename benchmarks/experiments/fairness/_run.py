"""The run of an experiment on fairness: its tables, notes and picture."""

from benchmarks.report import Report

from ._cases import Load
from ._defended import black_boxes, fair_victims, sanitisers
from ._notes import notes
from ._shares import Options, shares


def run_on(load: Load, name: str, options: Options, report: Report) -> None:
    """One row per table, attacker, victim, share and draw, as far as a table has them."""
    if "shares" in options.tables:
        shares(load, options, report)
    if "black-box" in options.tables:
        black_boxes(load, options, report)
    if "defended" in options.tables:
        sanitisers(load, options, report)
        fair_victims(load, options, report)
    notes(options, report)
    if report.out is not None and "shares" in options.tables:
        from benchmarks.pictures.fairness import draw

        rows = [row for row in report.rows if row["table"] == "shares" and "distance" not in row]
        report.figure(name, draw(name, rows))
