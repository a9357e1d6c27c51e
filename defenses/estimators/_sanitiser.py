"""What defenses have in common that look at the training rows first, and train on the rest."""

import abc
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.utils import _safe_indexing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ..sanitise._message import sentence
from ._choice import AUTO, held_out
from ._rows import Rows, own_order
from ._tasks import Task


class Seen(NamedTuple):
    """What a defense makes of its rows, in the order it got them.

    - `y`: labels or targets to train on; `keep`: the rows to train on.
    - `score`: what the rows were judged by, larger is worse.
    - `trainings`: how often the estimator was trained for it.
    - `remark`: what else `message_` is to say.
    """

    y: Shaped[np.ndarray, " n"]
    keep: Bool[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]
    trainings: int
    remark: str = ""

    def scattered(self, order: np.ndarray, y: np.ndarray) -> "Seen":
        """On all rows, of labels or targets `y`, of which these are those of the indices `order`;
        the others are dropped unseen.
        """
        labels, keep, score = y.copy(), np.zeros(y.size, bool), np.full(y.size, np.nan)
        labels[order], keep[order], score[order] = self.y, self.keep, self.score
        return Seen(labels, keep, score, self.trainings, self.remark)


def offers(method: str):
    """For `available_if`: a defense predicts in the ways that its estimator does."""

    def check(self) -> bool:
        return hasattr(getattr(self, "estimator_", self.estimator), method)

    return check


class Sanitiser(Task, MetaEstimatorMixin, BaseEstimator):
    """Judges the rows, then trains a clone of `estimator` on those kept; predicts as that does.

    Nothing depends on the order of the rows, as long as an estimator that draws at random has an
    integer `random_state` of its own. Rows may be what the estimator takes: SciPy's sparse ones,
    with missing values, data frames of mixed columns. Filter, Relabel, Sever and Duplicates measure
    them and need numbers, dense and finite: encoders and imputers go ahead of these in a pipeline.

    Weights of rows count in the trainings, in means and in votes; of how many rows a share is, or
    who is judged by whom, they do not change. A row of weight zero is none.

    Once fitted: `estimator_`, trained, or a constant if all rows kept have the same label;
    `support_mask_` (n,), rows kept; `relabelled_` (n,), rows whose label was changed; `scores_`
    (n,), what rows were judged by, larger is worse; `n_iter_`, how often the estimator was trained
    to judge them; `message_`, one sentence on all of it; `chosen_`, the value of a setting that is
    "auto", None where no value pays and nothing is done.

    A setting that is "auto" is chosen by cross-validation in five folds: the weakest value whose
    loss on rows held out is the least, to half a standard error, if it is less than the undefended
    one by 1.5 of them. The loss is the share of errors, of numbers r / (r + m), r the squared
    residual and m its median undefended: it is bounded, so that poison among the rows held out can
    hide no harm much larger than its share. Where rows are few, this does less than would pay. With
    `check`, a setting that is given is compared with no defense in the same way, and `message_`
    says if it made it worse.
    """

    check: bool
    n_jobs: int | None
    _strength: ClassVar[str | None] = None
    _values: ClassVar[tuple[float, ...]] = ()
    """The setting that may be "auto", and the values to try."""

    @abc.abstractmethod
    def _inspect(self, rows: Rows) -> Seen:
        """Judges rows that come in an order of their own; ValueError for a bad setting."""

    def fit(self, X, y, sample_weight=None):
        """Judge rows X (n, d) with labels or targets y (n,), and train on those kept.

        - `sample_weight` (n,): of the rows, >= 0, which the estimator's `fit` must take. With
          scikit-learn's metadata routing enabled it is told if it requests them.
        """
        self._fit(X, y, sample_weight)
        return self

    def _fit(self, X, y, sample_weight=None) -> Seen:
        rows = self._checked(X, y, sample_weight)
        used = np.flatnonzero(rows.weight > 0)
        order = used[own_order(rows.take(used))]
        ordered = rows.take(order)
        seen = self._judged(ordered)
        self.estimator_ = self._train(ordered._replace(y=seen.y).take(seen.keep))
        self._used = rows.weight > 0
        self._names = rows.y if is_classifier(self) else np.zeros(rows.y.size)
        seen = seen.scattered(order, rows.y)
        self.relabelled_ = seen.y != rows.y
        self.support_mask_, self.scores_, self.n_iter_ = seen.keep, seen.score, seen.trainings
        self._remark = seen.remark
        return seen

    def _judged(self, rows: Rows) -> Seen:
        """As `_inspect`, at a strength that rows held out choose or check, where asked."""
        self.chosen_: Any = None if self._strength is None else getattr(self, self._strength)
        if self.chosen_ == AUTO:
            return self._as_chosen(rows)
        seen = self._inspect(rows)
        if not self.check:
            return seen
        found, spent = held_out([self._alone()], rows, self.n_jobs)
        if found is None:
            return seen
        remark = "; ".join(filter(None, (seen.remark, found.told(0))))
        return seen._replace(trainings=seen.trainings + spent, remark=remark)

    def _as_chosen(self, rows: Rows) -> Seen:
        tried = [self._alone(**{str(self._strength): value}) for value in self._values]
        found, spent = held_out(tried, rows, self.n_jobs)
        best = None if found is None else found.chosen()
        if found is None or best is None:
            self.chosen_, whole = None, np.ones(rows.y.size, bool)
            remark = f"cross-validation: no {self._strength} surely pays, so nothing was done"
            return Seen(rows.y, whole, np.full(rows.y.size, np.nan), spent, remark)
        self.chosen_, seen = self._values[best], tried[best]._inspect(rows)
        remark = f"cross-validation chose {self._strength}={self.chosen_}: {found.told(best)}"
        return seen._replace(trainings=seen.trainings + spent, remark=remark)

    def _alone(self, **settings) -> "Sanitiser":
        """A clone, with other settings, that makes its trainings by turns."""
        copy: Any = clone(self)
        return copy.set_params(**settings, n_jobs=None)

    def fit_resample(self, X, y):
        """Fit, and return the rows kept of X and y, in their order; frames stay frames."""
        kept = np.flatnonzero(self.fit(X, y).support_mask_)
        return _safe_indexing(X, kept), _safe_indexing(y, kept)

    @property
    def message_(self) -> str:
        check_is_fitted(self)
        text = sentence(
            used=self._used,
            kept=self.support_mask_,
            changed=self.relabelled_,
            score=self.scores_,
            group=self._names,
            trainings=self.n_iter_,
        )
        return f"{text}; {self._remark}" if self._remark else text

    @property
    def classes_(self):
        return self.estimator_.classes_

    def predict(self, X):
        """Labels or values (n,) of rows X (n, d)."""
        X = self._given(X)
        return self.estimator_.predict(X)

    @available_if(offers("predict_proba"))
    def predict_proba(self, X):
        """Probabilities (n, classes) of rows X (n, d)."""
        X = self._given(X)
        return self.estimator_.predict_proba(X)

    @available_if(offers("predict_log_proba"))
    def predict_log_proba(self, X):
        """Logarithms of probabilities (n, classes) of rows X (n, d)."""
        X = self._given(X)
        return self.estimator_.predict_log_proba(X)

    @available_if(offers("decision_function"))
    def decision_function(self, X):
        """Decisions of rows X (n, d), as the estimator gives them."""
        X = self._given(X)
        return self.estimator_.decision_function(X)
