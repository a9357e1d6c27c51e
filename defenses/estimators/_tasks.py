"""What a defense does in one way for classes, and in another for numbers."""

import abc
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.base import ClassifierMixin, RegressorMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.utils import assert_all_finite, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)

from .._held_out import bounded
from ._rows import Rows, class_numbers, plain_labels, telling


class Task(abc.ABC):
    """How to check rows, train the estimator on them, and judge its outputs on them."""

    estimator: Any
    _fewest_rows = 1
    _measures: ClassVar[bool] = False
    """Whether rows are judged by their numbers: then they must be dense, finite and numeric. Else
    what rows may be is left to the estimator.
    """

    @abc.abstractmethod
    def _checked(self, X, y, sample_weight) -> Rows:
        """The rows as they were given; ValueError if they cannot be trained on."""

    @abc.abstractmethod
    def _train(self, rows: Rows) -> Any:
        """A trained clone of the estimator."""

    @abc.abstractmethod
    def _losses(self, model, rows: Rows) -> Float[np.ndarray, " n"]:
        """Loss of each row, to rank them by."""

    @abc.abstractmethod
    def _slopes(self, model, rows: Rows) -> Float[np.ndarray, "n k"]:
        """Derivatives of each row's loss in the model's outputs."""

    @abc.abstractmethod
    def _group(self, rows: Rows) -> Float[np.ndarray, " n"]:
        """The class of each row, a number; all zero for numbers."""

    @abc.abstractmethod
    def _misses(self, model, rows: Rows) -> Float[np.ndarray, " n"]:
        """How far the model is off on each row."""

    @abc.abstractmethod
    def _bounded(self, misses: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "k n"]:
        """Misses of several models on the same rows as losses in [0, 1]."""

    @abc.abstractmethod
    def _badness(self, model, rows: Rows) -> float:
        """The error of the model on rows, smaller is better."""

    def _rows(self, X, y, sample_weight, **how) -> Rows:
        """As they were given, checked; sets `n_features_in_` and `feature_names_in_`."""
        how = {**self._how(X), "ensure_min_samples": self._fewest_rows, **how}
        checked: Any = validate_data(self, X, y, **how)
        cells, y = checked
        weight = _check_sample_weight(sample_weight, cells, ensure_non_negative=True)
        weighed = sample_weight is not None and self._passes_weights(sample_weight)
        given = X if hasattr(X, "columns") else cells
        return Rows(telling(cells), y, np.zeros(len(y)), weight, weighed, given)

    def _how(self, X) -> dict[str, Any]:
        """How rows are to be checked."""
        if not self._measures:
            return {"accept_sparse": "csr", "dtype": None, "ensure_all_finite": False}
        if issparse(X):
            raise TypeError(
                f"X: got sparse rows, but {type(self).__name__} measures distances between rows, "
                "expected dense ones; give X.toarray(), reduce the columns ahead of it in a "
                "pipeline (TruncatedSVD), or judge rows by the estimator: Trim, ConfidentLearning, "
                "MicroModels, Roni and Partition keep them sparse"
            )
        return {}

    def _passes_weights(self, sample_weight) -> bool:
        """Whether the estimator's `fit` is told the weights; ValueError if it takes none."""
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", sample_weight=sample_weight)
            return "sample_weight" in routed.estimator.fit
        if not has_fit_parameter(self.estimator, "sample_weight"):
            raise ValueError(
                f"sample_weight: got weights, but {self.estimator!r} takes none in fit; for a "
                "pipeline call sklearn.set_config(enable_metadata_routing=True) and "
                "set_fit_request(sample_weight=True) of its steps that take them"
            )
        return True

    def get_metadata_routing(self) -> MetadataRouter:
        """Weights go to the defense, and to the estimator's `fit` if it requests them."""
        mapping = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(estimator=self.estimator, method_mapping=mapping)

    def _given(self, X):
        """Rows to predict, checked, as the estimator is to see them."""
        check_is_fitted(self)
        cells = validate_data(self, X, reset=False, **self._how(X))
        return X if hasattr(X, "columns") else cells

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()  # pyright: ignore[reportAttributeAccessIssue]
        inner = get_tags(self.estimator)
        tags.input_tags.positive_only = inner.input_tags.positive_only
        tags.input_tags.sparse = inner.input_tags.sparse and not self._measures
        tags.input_tags.allow_nan = inner.input_tags.allow_nan and not self._measures
        if tags.classifier_tags and inner.classifier_tags:
            tags.classifier_tags.multi_class = inner.classifier_tags.multi_class
        return tags


class Classes(Task, ClassifierMixin):
    """Labels of any kind, two or more."""

    def _checked(self, X, y, sample_weight) -> Rows:
        rows = self._rows(X, plain_labels(y), sample_weight)
        check_classification_targets(rows.y)
        return rows._replace(target=class_numbers(rows.y))

    def _train(self, rows: Rows):
        """The estimator trained, or a constant where all labels are the same."""
        if np.any(rows.y != rows.y[0]):
            return rows.train(clone(self.estimator))
        # A constant takes anything. Of mixed columns only the estimator knows what it takes.
        if not hasattr(rows.given, "columns") and not get_tags(self.estimator).input_tags.allow_nan:
            assert_all_finite(rows.given, input_name="X")
        return rows.train(DummyClassifier(strategy="most_frequent"))

    def _losses(self, model, rows: Rows) -> Float[np.ndarray, " n"]:
        """Log loss where the model has probabilities, else minus the margin."""
        label = one_hot(model, rows)
        if hasattr(model, "predict_proba"):
            share = np.sum(label * model.predict_proba(rows.given), axis=1)
            return -np.log(np.maximum(share, np.finfo(float).tiny))
        f = decisions(model, rows)
        rival = np.max(np.where(label, -np.inf, f), axis=1)
        return rival - np.max(np.where(label, f, -np.inf), axis=1)

    def _slopes(self, model, rows: Rows) -> Float[np.ndarray, "n k"]:
        """Derivatives of the row's loss in its decisions: log loss, else hinge."""
        label = one_hot(model, rows)
        if hasattr(model, "predict_proba"):
            slopes = model.predict_proba(rows.given) - label
        else:
            sides = np.where(label, 1.0, -1.0)
            slopes = np.where(sides * decisions(model, rows) < 1, -sides, 0.0)
        return slopes[:, 1:] if slopes.shape[1] == 2 else slopes

    def _group(self, rows: Rows) -> Float[np.ndarray, " n"]:
        return rows.target

    def _misses(self, model, rows: Rows) -> Float[np.ndarray, " n"]:
        """1 for another label, else 0."""
        return np.asarray(model.predict(rows.given) != rows.y, np.float64)

    def _bounded(self, misses: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "k n"]:
        return misses

    def _badness(self, model, rows: Rows) -> float:
        """Share of errors."""
        return float(np.average(self._misses(model, rows), weights=rows.weight))


class Numbers(Task, RegressorMixin):
    """One target per row."""

    def _checked(self, X, y, sample_weight) -> Rows:
        rows = self._rows(X, y, sample_weight, y_numeric=True)
        target = rows.y.astype(np.float64)
        return rows._replace(y=target, target=target)

    def _train(self, rows: Rows):
        return rows.train(clone(self.estimator))

    def _losses(self, model, rows: Rows) -> Float[np.ndarray, " n"]:
        """Squared residuals."""
        return self._slopes(model, rows)[:, 0] ** 2

    def _slopes(self, model, rows: Rows) -> Float[np.ndarray, "n 1"]:
        """Derivatives of half the squared residual in the prediction."""
        return np.reshape(model.predict(rows.given), (-1, 1)) - rows.y[:, None]

    def _group(self, rows: Rows) -> Float[np.ndarray, " n"]:
        return np.zeros(rows.y.size)

    def _misses(self, model, rows: Rows) -> Float[np.ndarray, " n"]:
        """Squared residuals."""
        return self._losses(model, rows)

    def _bounded(self, misses: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "k n"]:
        """R / (r + m), m the median of the first model's."""
        return bounded(misses)

    def _badness(self, model, rows: Rows) -> float:
        """Mean squared error."""
        return float(np.average(self._losses(model, rows), weights=rows.weight))


def in_parallel(n_jobs: int | None, function: Callable[..., Any], items: Iterable) -> list[Any]:
    """The function of each item: by turns, or in as many processes as joblib makes of `n_jobs`."""
    return list(Parallel(n_jobs=n_jobs)(delayed(function)(item) for item in items))


def one_hot(model, rows: Rows) -> np.ndarray:
    """Which of the model's classes (columns) each row has; none if the model never saw it."""
    return rows.y[:, None] == model.classes_[None, :]


def decisions(model, rows: Rows) -> Float[np.ndarray, "n k"]:
    """A decision per row and class; ValueError if the model has none."""
    if not hasattr(model, "decision_function"):
        raise ValueError(
            f"estimator: got {model!r}, expected a classifier with predict_proba or "
            "decision_function; its rows cannot be ranked by its predictions alone"
        )
    f = model.decision_function(rows.given)
    f = np.stack([-f, f], axis=1) if f.ndim == 1 else f
    if f.shape[1] != len(model.classes_):
        raise ValueError(
            f"estimator: got {model!r} with {f.shape[1]} decisions for {len(model.classes_)} "
            "classes, expected one each; ask it for one against the rest"
        )
    return f
