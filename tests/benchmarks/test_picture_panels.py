"""Each curve, cross and bar of a picture with a panel for each learner is of one learner."""

from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from test_pictures import Row, of, picture, rows

BOTH = ("ridge", "svm")
SPAM = ("tokens", "logistic")


class Higher(Row):
    """A row whose cells that are not given are a tenth higher."""

    def __missing__(self, name: str) -> float:
        return 1.1 * of(name)


PANELS: dict[str, tuple[tuple, list[Row], tuple]] = {
    "restarts": (BOTH, rows(learner=BOTH, split=(0, 1), starts=(1, 2)), ()),
    "classifiers": (BOTH, rows(learner=BOTH, points=(1, 2)), ("data", 9)),
    "regression": (BOTH, rows(learner=BOTH, rate=(0.1, 0.2)), ("data",)),
    "label_flips": (
        BOTH,
        rows(learner=BOTH, budget=(1, 2), greedy_trainings=(5,), ranked_trainings=(3,)),
        ("data", 9),
    ),
    "lasso_features": (BOTH, rows(learner=BOTH, rate=(0.1, 0.2)), ("data", 5)),
    "roni_spam": (
        SPAM,
        [
            *rows(learner=SPAM, attack=("dictionary",), share=(0.0, 0.1, 0.2)),
            *rows(learner=SPAM, attack=("optimised",), share=(0.05,)),
        ],
        ("data",),
    ),
}
"""By picture: learners, rows, and what it is given before them."""


def artists(figure: Figure) -> list[Any]:
    """Heights of all lines and bars, and places of all dots."""
    found: list[Any] = []
    for axes in figure.axes:
        found += [np.asarray(line.get_ydata(), float) for line in axes.lines]
        bars = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
        found += [np.asarray([bar.get_height()]) for bar in bars]
        found += [np.asarray(dots.get_offsets(), float) for dots in axes.collections]
    plt.close(figure)
    return found


@pytest.mark.parametrize("name", PANELS)
def test_what_is_drawn_is_of_one_learner(name: str) -> None:
    learners, given, before = PANELS[name]
    draw = picture(name)

    def drawn(higher: str | None) -> list[Any]:
        kinds = [Higher if row["learner"] == higher else Row for row in given]
        return artists(draw(*before, [kind(row) for kind, row in zip(kinds, given, strict=True)]))

    plain = drawn(None)
    of_each = [zip(plain, drawn(learner), strict=True) for learner in learners]
    moved = np.asarray([[not np.array_equal(*pair, equal_nan=True) for pair in p] for p in of_each])
    assert np.all(np.sum(moved, axis=0) <= 1)
    assert np.all(np.sum(moved, axis=1) >= 1)
