"""The picture of `roni-spam`: ham lost against the share of attack mails."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .curves import draw_curve
from .style import BLUE, GREEN, INK, QUIET, RED, new_figure, percent

if TYPE_CHECKING:
    from benchmarks.experiments.defenses.roni_spam import Options

TITLES = {"tokens": "scores of words, added up", "logistic": "logistic regression"}
CURVES = (
    ("ham_lost_err", RED, "dictionary mails, no defense"),
    ("ham_lost_roni_err", BLUE, "dictionary mails, RONI"),
)


def draw(options: "Options", rows: list[dict]) -> Figure:
    """A panel per learner; crosses are optimised poison."""
    fig = new_figure(11, 4.4)
    panels = fig.subplots(1, len(TITLES), sharey=True)
    shares = sorted((0.0, *options.shares))
    for axes, (kind, title) in zip(panels, TITLES.items(), strict=True):
        here = [row for row in rows if row["learner"] == kind]
        for cell, colour, name in CURVES:
            draw_curve(axes, shares, _values(here, "dictionary", shares, cell), colour, name)
        rejected = _values(here, "dictionary", shares[1:], "poison_rejected").mean(axis=1)
        axes.plot(
            shares[1:], rejected, color=GREEN, lw=1.4, ls="--", label="dictionary mails rejected"
        )
        best = [options.optimised]
        for cell, mark, name in (
            ("ham_lost_err", "x", "optimised poison, no defense"),
            ("ham_lost_roni_err", "+", "optimised poison, RONI"),
        ):
            value = _values(here, "optimised", best, cell).mean(axis=1)
            axes.plot(best, value, color=INK, marker=mark, ms=9, ls="", label=name)
        axes.set(title=title, xlabel="attack mails among the training mails", ylim=(-0.02, 1.04))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(percent))
    panels[0].set(ylabel="ham lost")
    panels[1].legend(loc="upper right", fontsize=10)
    fig.supxlabel(
        f"{options.data}; mean of {options.splits} splits, band: one standard deviation, dotted: "
        "the worst split",
        fontsize=10,
        color=QUIET,
    )
    return fig


def _values(rows: list[dict], attack: str, shares: list[float], cell: str) -> np.ndarray:
    """(shares, splits)."""
    return np.array(
        [
            [row[cell] for row in rows if (row["attack"], row["share"]) == (attack, share)]
            for share in shares
        ]
    )
