"""The run of an experiment on fairness: its tables, notes and picture."""

from benchmarks.report import Report

from ._defended import make_black_boxes, make_fair, make_sanitised
from ._notes import notes
from ._shares import Options, shares


def run_on(data: str, options: Options, report: Report) -> None:
    """One row per table, attacker, victim, share and draw, as far as a table has them."""
    draws = [{"data": data, "seed": seed} for seed in range(options.seeds)]
    if "shares" in options.tables:
        shares(data, options, report)
    if "black-box" in options.tables:
        report.each(make_black_boxes, options, draws, "black boxes")
    if "defended" in options.tables:
        report.each(make_sanitised, options, draws, "sanitisers")
        report.each(make_fair, options, draws, "learners of fairness")
    notes(options, report)
    if report.out is not None and "shares" in options.tables:
        from benchmarks.pictures.fairness import draw

        rows = [row for row in report.rows if row["table"] == "shares" and "distance" not in row]
        report.figure(f"fairness-{data}", draw(f"fairness-{data}", rows))
