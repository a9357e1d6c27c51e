"""The picture of `roni-spam`: ham lost against the share of attack mails."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.rows import Row, distinct, where

from .curves import draw_curve, explain, table
from .style import BLUE, GREEN, INK, RED, new_figure, percent

TITLES = {"tokens": "scores of words, added up", "logistic": "logistic regression"}
CURVES = (
    ("ham_lost_err", RED, "dictionary mails, no defense"),
    ("ham_lost_roni_err", BLUE, "dictionary mails, RONI"),
)


def draw(data: str, rows: Sequence[Row]) -> Figure:
    """A panel per learner; crosses are optimised poison."""
    fig = new_figure(11, 4.4)
    panels = fig.subplots(1, len(TITLES), sharey=True)
    shares = sorted(distinct(where(rows, attack="dictionary"), "share"))
    best = distinct(where(rows, attack="optimised"), "share")
    for axes, (kind, title) in zip(panels, TITLES.items(), strict=True):
        words = where(rows, learner=kind, attack="dictionary")
        moved = where(rows, learner=kind, attack="optimised")
        for cell, colour, name in CURVES:
            draw_curve(axes, shares, table(words, cell, "share", shares), colour, name)
        rejected = table(words, "poison_rejected", "share", shares[1:]).mean(axis=1)
        axes.plot(
            shares[1:], rejected, color=GREEN, lw=1.4, ls="--", label="dictionary mails rejected"
        )
        for cell, mark, name in (
            ("ham_lost_err", "x", "optimised poison, no defense"),
            ("ham_lost_roni_err", "+", "optimised poison, RONI"),
        ):
            value = table(moved, cell, "share", best).mean(axis=1)
            axes.plot(best, value, color=INK, marker=mark, ms=9, ls="", label=name)
        axes.set(title=title, xlabel="attack mails among the training mails", ylim=(-0.02, 1.04))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(percent))
    panels[0].set(ylabel="ham lost")
    panels[1].legend(loc="upper right", fontsize=10)
    explain(fig, len(distinct(rows, "split")), f"{data}; ")
    return fig
