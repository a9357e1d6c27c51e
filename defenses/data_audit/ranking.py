"""Rows of the table that look wrong: labels that models without them contradict, and near copies
with other labels. `Ranking.score` orders all rows, the most suspicious first.

Northcutt, Jiang & Chuang, "Confident learning", JAIR 2021.
"""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, softmax
from scipy.stats import rankdata
from sklearn.model_selection import KFold, StratifiedKFold

from .._hash import row_hash
from ..sanitise.confident_learning import off_diagonal
from .ingest import Table
from .match import Match

FOLDS = 5
OUTLYING = 5.0
"""Robust standard deviations from which on a residual is called wrong."""
CELL = 0.005
"""Share of a column's range within which two rows are near copies."""


class Ranking(NamedTuple):
    """What was seen of each row.

    - `doubt` (n,): of its label by models that did not train on it: largest probability of another
      label less that of its own; of numbers the residual in robust standard deviations.
    - `wrong` (n,): rows whose label is called wrong. `copies` (n,): near copies with other labels.
    - `score` (n,): of the order, larger is more suspicious.
    - `likely` (n,): the label that those models hold likelier, or the number they expect.
    """

    doubt: Float[np.ndarray, " n"]
    wrong: Bool[np.ndarray, " n"]
    copies: Int[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]
    likely: Float[np.ndarray, " n"]


def ranked(table: Table, match: Match, seed: int) -> Ranking:
    """The ranking of all rows of the table, by scikit-learn's twin of the learner."""
    x, y, weight = table.encoding.x, table.encoding.y, table.weight
    copies = disputed(x, y, table.task == "classes")
    doubt, wrong, likely = out_of_fold(x, y, weight, match, len(table.classes), seed)
    score = rankdata(doubt) / y.size + (copies > 0)
    return Ranking(doubt, wrong, copies, score, likely)


def out_of_fold(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    weight: Float[np.ndarray, " n"],
    match: Match,
    classes: int,
    seed: int,
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """(doubt, wrong, likely) of `Ranking`."""
    folds = (StratifiedKFold if classes else KFold)(FOLDS, shuffle=True, random_state=seed)
    known = np.unique(y)
    told = np.zeros((y.size, max(known.size, 1) if classes else 1))
    for train, held in folds.split(x, y):
        weighed = {"sample_weight": weight[train]} if np.ptp(weight) > 0 else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = match.twin().fit(x[train], y[train], **weighed)
        told[held] = _told(model, x[held], bool(classes))
    if not classes:
        residual = y - told[:, 0]
        spread = 1.4826 * np.median(np.abs(residual - np.median(residual)))
        doubt = np.abs(residual) / max(float(spread), np.finfo(float).tiny)
        return doubt, doubt > OUTLYING, told[:, 0]
    own = (y[:, None] == known[None, :]).astype(float)
    wrong, doubt = off_diagonal(told, own, np.ones(y.size, bool), np.arange(y.size))
    return doubt, wrong, known[np.argmax(told, axis=1)]


def _told(model, x: np.ndarray, classes: bool) -> np.ndarray:
    if not classes:
        return model.predict(x)[:, None]
    if hasattr(model, "predict_proba"):
        return model.predict_proba(x)
    f = model.decision_function(x)
    return np.stack([expit(-f), expit(f)], axis=1) if f.ndim == 1 else softmax(f, axis=1)


def disputed(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], classes: bool
) -> Int[np.ndarray, " n"]:
    """Number of near copies (n,) with another label, or with a number farther off than a fifth of
    the range: rows in the same cell of one of two grids.
    """
    most = np.zeros(y.size, int)
    for shift in (0.0, 0.5):
        cells = np.floor(x / CELL + shift + 1e-9)
        print_ = row_hash(cells).astype(np.uint64) << 32 | row_hash(cells, seed=1)
        group = np.unique(print_, return_inverse=True)[1]
        size = np.bincount(group)
        if classes:
            _, place, same = np.unique(
                np.stack([group, y]), axis=1, return_inverse=True, return_counts=True
            )
            others = size[group] - same[place.ravel()]
        else:
            middle = np.bincount(group, y) / size
            others = np.where(np.abs(y - middle[group]) > 0.1, size[group] - 1, 0)
        most = np.maximum(most, others)
    return most
