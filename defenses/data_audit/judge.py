"""Rows to train on, poison, and the scikit-learn model that judges what the poison does."""

import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from .ingest import Table
from .match import Match
from .reading import Frame, TableError, stratified


class Rows(NamedTuple):
    """Training rows, encoded: x (n, d), labels y (n,), weights (n,), and `like` (n,): the rows of
    the table whose values stand in columns that were dropped.
    """

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]
    weight: Float[np.ndarray, " n"]
    like: Int[np.ndarray, " n"]

    def take(self, which: np.ndarray) -> "Rows":
        """Those of a mask, or of indices."""
        return Rows(*(part[which] for part in self))

    def and_(self, others: "Rows") -> "Rows":
        """These and others, in this order."""
        return Rows(*(np.concatenate(pair) for pair in zip(self, others, strict=True)))


class Poison(NamedTuple):
    """What an attacker does to the training rows.

    - `name`: of the attack. `added`: rows put in at the end.
    - `changed`: indices of training rows, and their new labels.
    """

    name: str
    added: Rows | None = None
    changed: tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]] | None = None

    def into(self, train: Rows) -> Rows:
        """The poisoned training rows."""
        if self.changed is not None:
            y = train.y.copy()
            y[self.changed[0]] = self.changed[1]
            train = train._replace(y=y)
        return train if self.added is None else train.and_(self.added)

    def within(self, kept: Int[np.ndarray, " m"], whole: int) -> "Poison":
        """As much poison for a sample of the `whole` training rows: those of ascending indices."""
        added, changed = self.added, self.changed
        if added is not None:
            added = added.take(np.arange(max(1, round(added.y.size * kept.size / whole))))
        if changed is not None:
            inside = np.isin(changed[0], kept)
            changed = np.searchsorted(kept, changed[0][inside]), changed[1][inside]
        return Poison(self.name, added, changed)

    def places(self, train: Rows) -> Bool[np.ndarray, " m"]:
        """Which of the poisoned training rows are poison."""
        poisoned = np.arange(self.into(train).y.size) >= train.y.size
        if self.changed is not None:
            poisoned[self.changed[0]] = True
        return poisoned


class Parts(NamedTuple):
    """The table in three: rows to train on, rows that the attacker chooses by, rows to judge by."""

    train: Rows
    choose: Rows
    test: Rows


def parts_of(table: Table, seed: int) -> Parts:
    """Three fifths of the rows to train on, three twentieths to choose by, the rest to judge by,
    each with the classes in the same shares.
    """
    n = table.number.size
    rows = Rows(table.encoding.x, table.encoding.y, table.weight, np.arange(n))
    strata = table.strata
    train = np.zeros(n, bool)
    train[stratified(strata, round(0.6 * n), seed)] = True
    others = np.flatnonzero(~train)
    chosen = others[stratified(strata[others], max(2, round(0.375 * others.size)), seed + 1)]
    choose = np.zeros(n, bool)
    choose[chosen] = True
    return Parts(rows.take(train), rows.take(choose), rows.take(~train & ~choose))


class Judge:
    """Trains the judging model anew on given rows, and counts its errors on others.

    The error is the share of wrong labels, or of numbers the mean square over the variance of the
    rows judged: what the model leaves unexplained, 1 - R^2.
    """

    def __init__(self, table: Table, match: Match):
        self.table, self.match = table, match
        self._key = _weight_key(match.judge)
        self._numbers = table.task == "numbers"
        self._given_by_user = match.given

    @property
    def takes_weights(self) -> bool:
        """Whether the model's fit is told the weights of rows."""
        return self._key is not None

    def fit(self, rows: Rows) -> Any:
        """The model, trained; `TableError` if it cannot be."""
        model: Any = clone(self.match.judge)
        if not self._numbers and np.unique(rows.y).size == 1:
            model = DummyClassifier(strategy="most_frequent")
        # Equal weights of another size count as well: strengths are those of sums.
        weighed = self._key is not None and np.any(rows.weight != 1)
        told = {str(self._key): rows.weight} if weighed else {}
        x, y = self._given(rows)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return model.fit(x, y, **told)
        except Exception as error:
            what = "its own columns" if self.match.takes_frames else "the encoded features"
            raise TableError(
                f"learner: {type(model).__name__} failed to train on {what}: {error}"
            ) from error

    def misses(self, model: Any, rows: Rows) -> Float[np.ndarray, " n"]:
        """1 for each wrong label, or the squared residual over the variance of these rows."""
        x, y = self._given(rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            told = np.asarray(model.predict(x))
        if not self._numbers:
            return (told != y).astype(float)
        spread = np.average((y - np.average(y, weights=rows.weight)) ** 2, weights=rows.weight)
        return (told - y) ** 2 / max(float(spread), np.finfo(float).tiny)

    def error(self, model: Any, rows: Rows) -> float:
        """Mean of the misses, by weight."""
        return float(np.average(self.misses(model, rows), weights=rows.weight))

    def _given(self, rows: Rows) -> tuple[Any, np.ndarray]:
        """Rows and labels as the model is to see them."""
        y = rows.y
        if self._numbers and self._given_by_user:
            kind: Any = self.table.encoding.target_kind
            y = kind.low + y * (kind.high - kind.low)
        return (self._frame(rows) if self.match.takes_frames else rows.x), y

    def _frame(self, rows: Rows) -> Frame:
        """The user's rows as they came, and those of an attacker decoded."""
        new = np.any(self.table.encoding.x[rows.like] != rows.x, axis=1)
        frame = self.table.raw.iloc[rows.like].reset_index(drop=True)
        if not new.any():
            return frame
        changed = rows.take(new)
        decoded, _ = self.table.decoded(changed.x, changed.y, changed.like)
        decoded.index = pd.Index(np.flatnonzero(new))
        return pd.concat([frame[~new], decoded]).sort_index()


def standard_error(misses: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"]) -> float:
    """Of the mean of the misses by weight."""
    away = misses - np.average(misses, weights=weight)
    return float(np.linalg.norm(weight * away) / np.sum(weight))


def _weight_key(model: Any) -> str | None:
    if isinstance(model, Pipeline):
        name, last = model.steps[-1]
        return f"{name}__sample_weight" if has_fit_parameter(last, "sample_weight") else None
    return "sample_weight" if has_fit_parameter(model, "sample_weight") else None
