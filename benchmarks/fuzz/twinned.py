"""Learners beside scikit-learn's on the same table: the least objective, in extended precision."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bilevel.learners import (
    SVM,
    AbstractLearner,
    Huber,
    Lasso,
    Logistic,
    Ridge,
    Softmax,
    kernels,
)

from .exact.svm import linear, rbf
from .learners import Solution, huber, lasso, logistic, ridge, softmax, svm

EPSILON, ALPHA, L1, CLASSES = 1.35, 0.1, 0.01, 3
"""Of Huber regression, its penalty, of the LASSO, of softmax."""


class Twinned(NamedTuple):
    """A learner, scikit-learn's, and what both minimise.

    - `targets(y, rng)`: targets that suit it, of labels -1 and +1.
    - `theirs(x, y)`: scikit-learn's estimator, trained, with what ours needs to know of it.
    - `ours(known, x)`: the learner.
    - `solution(learner, x)`: the exact solution on our face.
    - `objective(decisions, square, y, learner)`: of the decisions on the training rows, and the
      squared norm of the model.
    """

    targets: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    theirs: Callable[[np.ndarray, np.ndarray], Any]
    ours: Callable[[Any, np.ndarray], AbstractLearner]
    solution: Callable[[Any, np.ndarray], Solution]
    objective: Callable[[np.ndarray, Any, np.ndarray, Any], Any]


def trained(twin: Twinned, x: np.ndarray, y: np.ndarray) -> tuple[Any, bool]:
    """(scikit-learn's estimator, whether it solved the problem); None if it raised an error."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            model = twin.theirs(x, y)
        except (ValueError, np.linalg.LinAlgError):
            return None, False
    failed = any(issubclass(w.category, ConvergenceWarning) for w in said)
    return model, not failed


def _labels(y, rng):
    return y


def _noisy(y, rng):
    return y + rng.standard_t(3, size=y.size)


def _thirds(y, rng):
    return np.where(rng.random(y.size) < 0.25, 2, (y > 0).astype(int))


def _svc(**settings):
    def fit(x, y):
        from sklearn.svm import SVC

        return SVC(C=1.0, tol=1e-6, max_iter=300_000, **settings).fit(x, y)

    return fit


def _gamma(x) -> float:
    return 1 / (x.shape[1] * x.var())


def _linear(name: str, **settings):
    def fit(x, y):
        from sklearn import linear_model

        given = {key: value(y) if callable(value) else value for key, value in settings.items()}
        return getattr(linear_model, name)(**given).fit(x, y)

    return fit


def _hinge(f, square, y, learner):
    return square / 2 + np.sum(np.maximum(0, 1 - y * f))


def _squares(f, square, y, learner):
    return np.mean((f - y) ** 2) / 2 + np.longdouble(learner.l2) / 2 * square


def _huber_loss(f, square, y, learner):
    r, delta = f - y, np.longdouble(learner.delta)
    near = np.clip(r, -delta, delta)
    return np.mean(near * (r - near / 2)) + np.longdouble(learner.l2) / 2 * square


def _lasso(f, l1_norm, y, learner):
    return np.mean((f - y) ** 2) / 2 + np.longdouble(learner.l1) * l1_norm


def _logistic(f, square, y, learner):
    return np.mean(np.logaddexp(0, -y * f)) + np.longdouble(learner.l2) / 2 * square


def _softmax(f, square, y, learner):
    f = f - f.max(axis=1, keepdims=True)
    loss = np.log(np.exp(f).sum(axis=1)) - f[np.arange(y.size), y.astype(int)]
    return np.mean(loss) + np.longdouble(learner.l2) / 2 * square


def _huber(known, x) -> AbstractLearner:
    """scikit-learn's also finds a scale of the residuals, by which its delta is multiplied."""
    sigma = 1.0 if known is None else known.scale_
    return Huber(ALPHA * sigma / len(x), EPSILON * sigma)


TWINS = {
    "svm-linear": Twinned(_labels, _svc(kernel="linear"), lambda known, x: SVM(1.0),
                          lambda ours, x: svm(linear), _hinge),
    "svm-rbf": Twinned(
        _labels, _svc(kernel="rbf", gamma="scale"),
        lambda known, x: SVM(1.0, kernels.RBF(_gamma(x))),
        lambda ours, x: svm(rbf(_gamma(x))), _hinge,
    ),
    "ridge": Twinned(_noisy, _linear("Ridge", alpha=1.0, solver="cholesky"),
                     lambda known, x: Ridge(1 / len(x)), lambda ours, x: ridge, _squares),
    "huber": Twinned(_noisy, _linear("HuberRegressor", epsilon=EPSILON, alpha=ALPHA,
                                     max_iter=20_000, tol=1e-9), _huber,
                      lambda ours, x: huber(float(ours.delta)), _huber_loss),
    "lasso": Twinned(_noisy, _linear("Lasso", alpha=L1, max_iter=200_000, tol=1e-8),
                     lambda known, x: Lasso(L1), lambda ours, x: lasso, _lasso),
    "logistic": Twinned(_labels, _linear("LogisticRegression", solver="newton-cholesky", tol=1e-8,
                                         max_iter=1000),
                        lambda known, x: Logistic(1 / len(x)), lambda ours, x: logistic, _logistic),
    "softmax": Twinned(_thirds, _linear("LogisticRegression", solver="newton-cholesky", tol=1e-8,
                                        max_iter=1000),
                       lambda known, x: Softmax(CLASSES, 1 / len(x)),
                       lambda ours, x: softmax, _softmax),
}  # fmt: skip


def ours_at(name: str, model: Any, x: np.ndarray) -> tuple[np.ndarray, Any]:
    """(decisions on the rows, squared or l1 norm) of our model, in extended precision."""
    if name == "svm-rbf":
        rows = np.concatenate([np.asarray(rows) for rows, _ in model.terms])
        coef = np.concatenate([np.asarray(coef) for _, coef in model.terms])
        return _kernel_at(x, rows, coef, float(model.bias))
    if name == "svm-linear":
        w = sum(np.asarray(coef) @ np.asarray(rows) for rows, coef in model.terms)
        return _linear_at(name, x, w, model.bias)
    w = model.W if name == "softmax" else model.w
    return _linear_at(name, x, w, model.bias)


def theirs_at(name: str, model: Any, x: np.ndarray) -> tuple[np.ndarray, Any]:
    """The same of scikit-learn's model."""
    if name == "svm-rbf":
        coef = model.dual_coef_[0]
        return _kernel_at(x, model.support_vectors_, coef, model.intercept_[0])
    w, bias = model.coef_, model.intercept_
    if name != "softmax":
        return _linear_at(name, x, np.ravel(w), np.ravel(bias)[0])
    return _linear_at(name, x, w.T, bias)


def _linear_at(name, x, w, bias):
    w = np.asarray(w, np.longdouble)
    f = np.asarray(x, np.longdouble) @ w + np.asarray(bias, np.longdouble)
    return f, np.sum(np.abs(w)) if name == "lasso" else np.sum(w * w)


def _kernel_at(x, rows, coef, bias):
    gamma = _gamma(x)

    def gram(a, b):
        apart = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1)[None] - 2 * a @ b.T
        return np.exp(-gamma * np.maximum(apart, 0))

    centre = x.mean(0)
    x, rows = x - centre, rows - centre
    return gram(x, rows) @ coef + bias, coef @ gram(rows, rows) @ coef
