"""Rows of the table that look wrong: labels that models without them contradict, and near copies
with other labels. `Ranking.score` orders all rows, the most suspicious first.

Northcutt, Jiang & Chuang, "Confident learning", JAIR 2021.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, softmax
from scipy.stats import rankdata
from sklearn.model_selection import KFold, StratifiedKFold

from .._hash import row_hash
from ..sanitise.confident_learning import off_diagonal
from .ingest import FEWEST_OF_CLASS, Table
from .match import Match

FOLDS = 10
"""Parts of the table whose rows are judged by models of the others; fewer where a class has fewer
rows, but not fewer than the rows that a class must have."""
WORST = 0.05
"""Share of each class that judges of the others are not trained on."""
FAR, STIFF = 0.2, 3.0
"""Share of rows by leverage that stiff models judge, too, and how much stiffer these are."""
LOOSE = 1e-4
"""Tolerance of the judges: their doubts are compared, not printed to many digits."""
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
    doubts = Doubts(x, y, weight, match, len(table.classes), seed)
    doubt, told = doubts.without_the_worst()
    score = doubts.ordered(doubt)
    if table.task == "numbers":
        return Ranking(doubt, doubt > OUTLYING, copies, score, told[:, 0])
    known = np.unique(y)
    own = (y[:, None] == known[None, :]).astype(float)
    wrong, _ = off_diagonal(told, own, np.ones(y.size, bool), np.arange(y.size))
    return Ranking(doubt, wrong, copies, score, known[np.argmax(told, axis=1)])


class Doubts:
    """Doubts of labels by models that did not train on the row, nor on rows doubted before: poison
    that was in their training would speak for its like.

    - `x` (n, d), `y` (n,), `weight` (n,): the rows. `match`: whose twin judges.
    - `classes`: number of them, 0 for numbers. `seed`: of the folds.
    """

    def __init__(
        self,
        x: Float[np.ndarray, "n d"],
        y: Float[np.ndarray, " n"],
        weight: Float[np.ndarray, " n"],
        match: Match,
        classes: int,
        seed: int,
    ):
        self.x, self.y, self.weight, self.match = x, y, weight, match
        self.known = np.unique(y) if classes else np.zeros(0)
        self.group = np.searchsorted(self.known, y) if classes else np.zeros(y.size, int)
        rows = int(np.bincount(self.group).min()) if classes else FOLDS
        count = min(FOLDS, max(FEWEST_OF_CLASS, rows))
        folds = (StratifiedKFold if classes else KFold)(count, shuffle=True, random_state=seed)
        self.folds = list(folds.split(x, y))
        self.first = self.of(np.ones(y.size, bool))[0]

    def of(
        self, keep: Bool[np.ndarray, " n"], softer: float = 1.0
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n k"]]:
        """(doubts (n,); probabilities of the classes, or the number expected) by models trained on
        the rows of a mask, regularised so many times more.
        """
        told = np.zeros((self.y.size, max(self.known.size, 1)))
        for train, held in self.folds:
            rows = train[keep[train]]
            model: Any = self.match.twin()
            name = "C" if hasattr(model, "C") else "alpha"
            strength = getattr(model, name)
            strength = strength / softer if name == "C" else strength * softer
            model.set_params(**{name: strength, "tol": LOOSE})
            weighed = {"sample_weight": self.weight[rows]} if np.any(self.weight != 1) else {}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(self.x[rows], self.y[rows], **weighed)
            told[held] = _told(model, self.x[held], self.known)
        if not self.known.size:
            residual = self.y - told[:, 0]
            spread = 1.4826 * np.median(np.abs(residual - np.median(residual)))
            return np.abs(residual) / max(float(spread), np.finfo(float).tiny), told
        places = np.arange(self.y.size)
        others = told.copy()
        others[places, self.group] = -1
        return others.max(axis=1) - told[places, self.group], told

    def without_the_worst(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n k"]]:
        """(doubts, what models tell) where they train without the rows of each class that come
        first at first sight.
        """
        return self.of(self._place() < 1 - WORST)

    def ordered(self, doubt: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Ranks in (0, 1] by doubts, at first sight and these; of far out rows, which can bend a
        model, also by those of stiff models, which bend less, if they are larger.
        """
        n = self.y.size
        stiff = rankdata(self.of(np.ones(n, bool), STIFF)[0]) / n
        rows = np.hstack([self.x - self.x.mean(axis=0), np.ones((n, 1))])
        gram = rows.T @ rows + np.eye(rows.shape[1])
        leverage = np.sum(rows * np.linalg.solve(gram, rows.T).T, axis=1)
        far = leverage > np.quantile(leverage, 1 - FAR)
        usual = rankdata(rankdata(self.first) + rankdata(doubt)) / n
        return np.where(far, np.maximum(usual, stiff), usual)

    def _place(self) -> Float[np.ndarray, " n"]:
        """Place of each row by first doubts among those of its class, in [0, 1)."""
        order = np.lexsort((self.first, self.group))
        size = np.bincount(self.group)
        start = np.concatenate([[0], np.cumsum(size)[:-1]])
        place = np.zeros(self.y.size)
        group = self.group[order]
        place[order] = (np.arange(self.y.size) - start[group]) / size[group]
        return place


def _told(
    model: Any, x: Float[np.ndarray, "m d"], known: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "m outputs"]:
    if not known.size:
        return model.predict(x)[:, None]
    if hasattr(model, "predict_proba"):
        shares = model.predict_proba(x)
    else:
        f = model.decision_function(x)
        shares = np.stack([expit(-f), expit(f)], axis=1) if f.ndim == 1 else softmax(f, axis=1)
    told = np.zeros((len(x), known.size))  # a class may have no row left to train on
    told[:, np.searchsorted(known, model.classes_)] = shares
    return told


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
