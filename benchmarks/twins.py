"""Each learner twice, with the same strength: ours, to be attacked, and scikit-learn's, which
judges the attack: it is trained anew on the poisoned rows and errs on validation and test rows.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from bilevel import learners
from bilevel.learners import AbstractLearner, kernels


class Rows(Protocol):
    """Features and labels or targets, of any kind that NumPy can read."""

    @property
    def x(self) -> Any: ...

    @property
    def y(self) -> Any: ...


class HeldOut(Protocol):
    """A split; judges train on the first part and err on the others."""

    @property
    def train(self) -> Rows: ...

    @property
    def validation(self) -> Rows: ...

    @property
    def test(self) -> Rows: ...


class Strengths(NamedTuple):
    """Regularisation and kernel, as scikit-learn counts them; for ours they may be traced.

    - `C`: weight of the rows in SVMs and in logistic regression.
    - `alpha`: of ridge, times the number of rows; of LASSO and elastic net, per row.
    - `gamma`: of the RBF kernel.
    """

    C: Any = 1.0
    alpha: Any = 1.0
    gamma: Any = 0.01

    def softer(self, times: float) -> "Strengths":
        """Regularised so many times more."""
        return Strengths(self.C / times, self.alpha * times, self.gamma)


DEFAULT = Strengths()


class Twin(NamedTuple):
    """One learner twice.

    - `ours`: for a number of training rows. scikit-learn adds up losses that we average.
    - `theirs`: scikit-learn's estimator, not trained.
    """

    ours: Callable[[Strengths, int], AbstractLearner]
    theirs: Callable[[Strengths], Any]


def _svc(s: Strengths, **kernel) -> Any:
    from sklearn.svm import SVC

    return SVC(C=s.C, tol=1e-6, **kernel)


def _logistic(s: Strengths) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=s.C, tol=1e-8, max_iter=10_000)


def _linear(name: str, s: Strengths, **settings) -> Any:
    from sklearn import linear_model

    return getattr(linear_model, name)(alpha=s.alpha, **settings)


SPARSE = {"tol": 1e-8, "max_iter": 1_000_000}

CLASSIFIERS: Mapping[str, Twin] = {
    "svm": Twin(
        lambda s, rows: learners.SVM(s.C),
        lambda s: _svc(s, kernel="linear"),
    ),
    "ridge": Twin(
        lambda s, rows: learners.Ridge(s.alpha / rows),
        lambda s: _linear("RidgeClassifier", s),
    ),
    "logistic": Twin(
        lambda s, rows: learners.Logistic(1 / (s.C * rows)),
        _logistic,
    ),
    "rbf-svm": Twin(
        lambda s, rows: learners.SVM(s.C, kernels.RBF(s.gamma)),
        lambda s: _svc(s, kernel="rbf", gamma=s.gamma),
    ),
}
REGRESSIONS: Mapping[str, Twin] = {
    "ridge": Twin(
        lambda s, rows: learners.Ridge(s.alpha / rows),
        lambda s: _linear("Ridge", s),
    ),
    "lasso": Twin(
        lambda s, rows: learners.Lasso(s.alpha),
        lambda s: _linear("Lasso", s, **SPARSE),
    ),
    "elastic-net": Twin(  # half of alpha is l1, half l2
        lambda s, rows: learners.ElasticNet(s.alpha / 2, s.alpha / 2),
        lambda s: _linear("ElasticNet", s, l1_ratio=0.5, **SPARSE),
    ),
}


def retrained(model: Any, *parts: Rows) -> Any:
    """scikit-learn's estimator, trained on all rows of these parts.

    Where all labels of a classifier are the same, it predicts that label for every row.
    """
    x = np.concatenate([np.asarray(part.x) for part in parts])
    y = np.concatenate([np.asarray(part.y) for part in parts])
    if hasattr(model, "decision_function") and len(np.unique(y)) == 1:
        from sklearn.dummy import DummyClassifier

        model = DummyClassifier()
    return model.fit(x, y)


def misclassified(model: Any, rows: Rows) -> float:
    """Share of rows whose label is predicted wrongly."""
    return float(np.mean(model.predict(np.asarray(rows.x)) != np.asarray(rows.y)))


def wrong_sign(model: Any, rows: Rows) -> float:
    """The same for a regression on labels -1 and +1, which predicts by its sign."""
    return float(np.mean(np.asarray(rows.y) * model.predict(np.asarray(rows.x)) <= 0))


def square_error(model: Any, rows: Rows) -> float:
    """Mean square error."""
    return float(np.mean((model.predict(np.asarray(rows.x)) - np.asarray(rows.y)) ** 2))


def errors(
    model: Any, split: HeldOut, *poison: Rows, error: Callable[[Any, Rows], float] = misclassified
) -> tuple[float, float]:
    """On validation and on test rows, of the estimator trained on clean rows and poison."""
    model = retrained(model, split.train, *poison)
    return error(model, split.validation), error(model, split.test)
