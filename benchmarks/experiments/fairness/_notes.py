"""What the rows say: figures of each attacker and victim, and comparisons of attackers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.report import Report, band
from benchmarks.rows import Row, distinct, where

from ._attackers import RIVALS
from ._shares import Options

SHOWN = (("test_err", "error", 100), ("impact", "disparate impact", 1), ("parity", "parity", 1),
         ("average_odds", "average odds", 1))  # fmt: skip


def known(rows: Sequence[Row], name: str) -> np.ndarray:
    """A column; NaN where a ratio does not exist."""
    return np.array([np.nan if row[name] is None else row[name] for row in rows], float)


def line(rows: Sequence[Row]) -> str:
    """Bands of the figures; draws without a ratio are left out of its band."""
    parts = []
    for name, words, factor in SHOWN:
        values = known(rows, name)
        values = values[np.isfinite(values)]
        digits = 1 if factor > 1 else 2
        unit = " %" if factor > 1 else ""
        parts.append(f"{words} {band(list(factor * values), digits) if len(values) else '-'}{unit}")
    return ", ".join(parts)


def compared(rows: Sequence[Row], options: Options) -> list[str]:
    """The attacks at one share: how far they move disparate impact, and for which accuracy."""

    def of(name: str) -> tuple[np.ndarray, np.ndarray]:
        """(disparate impact, error in points) above those without poison, per draw."""
        at = where(rows, attacker=name, share=options.share)
        clean = where(rows, attacker="none")
        ratio = np.where(np.isnan(known(at, "impact")), np.inf, known(at, "impact"))
        return (ratio - known(clean, "impact"),
                100 * (known(at, "test_err") - known(clean, "test_err")))  # fmt: skip

    def pair(name: str) -> str:
        moved, lost = of(name)
        finite = moved[np.isfinite(moved)]
        without = (
            ""
            if finite.size == moved.size
            else (f" (no privileged row is accepted in {moved.size - finite.size} draws)")
        )
        far = band(list(finite), 2) if finite.size else "infinity"
        return f"{far}{without} for {band(list(lost))} points of error"

    flips, generic = of("random-flips"), of("error-generic")
    said = []
    for name in ("impact", "impact-1-point", "impact-at-half", "reverse-at-half", "solans"):
        moved, lost = of(name)
        times = np.mean(np.abs(moved)) / np.mean(np.abs(flips[0]))
        share = np.mean(lost) / np.mean(generic[1])
        said.append(
            f"{name} moves disparate impact by {pair(name)}; random flips {pair('random-flips')}, "
            f"error-generic {pair('error-generic')}: {times:.1f} times as far as random flips, "
            f"{np.mean(np.abs(moved)) / np.mean(np.abs(generic[0])):.1f} times as far as "
            f"error-generic, at {share:.2f} of its loss of accuracy; further than error-generic in "
            f"{np.sum(np.abs(moved) > np.abs(generic[0]))} of {len(moved)} draws"
        )
    for rival in RIVALS:
        ours, theirs = of(f"impact-as-{rival}"), of(rival)
        said.append(
            f"impact at the error of {rival}: {pair(f'impact-as-{rival}')}; {rival} {pair(rival)}; "
            f"further in {np.sum(ours[0] < theirs[0])} of {len(ours[0])} draws"
        )
    return said


def notes(options: Options, report: Report, **key: Any) -> None:
    """Notes of the table of shares for these cells, and of the other tables."""
    rows = where([r for r in report.rows if r["table"] == "shares"], **key)
    for name in distinct(rows, "attacker"):
        share = 0.0 if name == "none" else options.share
        at = where(rows, attacker=name, share=share)
        if at:
            report.note(f"{100 * share:g} % poison, {name}: {line(at)}")
    if rows and all(where(rows, attacker=n, share=options.share) for n in ("impact", *RIVALS)):
        for text in compared(rows, options):
            report.note(text)
    for table in ("black-box", "defended", "fair"):
        rows = [r for r in report.rows if r["table"] == table]
        for victim in distinct(rows, "victim"):
            for attacker in distinct(rows, "attacker"):
                at = where(rows, victim=victim, attacker=attacker)
                report.note(f"{table}, {victim}, {attacker}: {line(at)}")
    report.note(f"each: {options.seeds} draws; group 0 against group 1, the privileged one")
