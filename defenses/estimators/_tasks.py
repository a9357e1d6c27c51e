"""What a defense does in one way for classes, and in another for numbers."""

import abc
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import ClassifierMixin, RegressorMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ._rows import Rows, class_numbers


class Task(abc.ABC):
    """How to check rows, train the estimator on them, and judge its outputs on them."""

    estimator: Any
    _fewest_rows = 1

    @abc.abstractmethod
    def _checked(self, X, y) -> Rows:
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
    def _badness(self, model, rows: Rows) -> float:
        """The error of the model on rows, smaller is better."""

    def _rows(self, X, y, **how) -> Rows:
        """As they were given, checked; sets `n_features_in_` and `feature_names_in_`."""
        checked: Any = validate_data(self, X, y, ensure_min_samples=self._fewest_rows, **how)
        x, y = checked
        return Rows(x.astype(np.float64), y, np.zeros(len(y)), X if hasattr(X, "columns") else x)

    def _given(self, X):
        """Rows to predict, checked, as the estimator is to see them."""
        check_is_fitted(self)
        x = validate_data(self, X, reset=False)
        return X if hasattr(X, "columns") else x

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()  # pyright: ignore[reportAttributeAccessIssue]
        inner = get_tags(self.estimator)
        tags.input_tags.positive_only = inner.input_tags.positive_only
        if tags.classifier_tags and inner.classifier_tags:
            tags.classifier_tags.multi_class = inner.classifier_tags.multi_class
        return tags


class Classes(Task, ClassifierMixin):
    """Labels of any kind, two or more."""

    def _checked(self, X, y) -> Rows:
        rows = self._rows(X, y)
        check_classification_targets(rows.y)
        return rows._replace(target=class_numbers(rows.y))

    def _train(self, rows: Rows):
        """The estimator trained, or a constant where all labels are the same."""
        model: Any = DummyClassifier(strategy="most_frequent")
        if np.any(rows.y != rows.y[0]):
            model = clone(self.estimator)
        return model.fit(rows.given, rows.y)

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

    def _badness(self, model, rows: Rows) -> float:
        """Share of errors."""
        return float(np.mean(model.predict(rows.given) != rows.y))


class Numbers(Task, RegressorMixin):
    """One target per row."""

    def _checked(self, X, y) -> Rows:
        rows = self._rows(X, y, y_numeric=True)
        target = rows.y.astype(np.float64)
        return rows._replace(y=target, target=target)

    def _train(self, rows: Rows):
        model: Any = clone(self.estimator)
        return model.fit(rows.given, rows.y)

    def _losses(self, model, rows: Rows) -> Float[np.ndarray, " n"]:
        """Squared residuals."""
        return self._slopes(model, rows)[:, 0] ** 2

    def _slopes(self, model, rows: Rows) -> Float[np.ndarray, "n 1"]:
        """Derivatives of half the squared residual in the prediction."""
        return np.reshape(model.predict(rows.given), (-1, 1)) - rows.y[:, None]

    def _group(self, rows: Rows) -> Float[np.ndarray, " n"]:
        return np.zeros(rows.y.size)

    def _badness(self, model, rows: Rows) -> float:
        """Mean squared error."""
        return float(np.mean(self._losses(model, rows)))


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
