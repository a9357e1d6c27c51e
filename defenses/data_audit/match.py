"""Which of our learners the attack runs on, and which scikit-learn model judges it."""

from collections.abc import Callable
from math import inf
from numbers import Real
from typing import Any, NamedTuple

from sklearn.base import is_classifier, is_regressor
from sklearn.linear_model import Lasso, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, LinearSVC

from bilevel import learners, losses
from bilevel.learners import AbstractLearner

from .ingest import Task
from .reading import TableError

NAMES = {"classes": ("logistic", "ridge", "svm"), "numbers": ("ridge", "lasso")}
FEW_UNKNOWNS = 1_500
"""Up to so many scikit-learn's Newton steps, with a dense Hessian, are the fastest."""
KERNEL_ROWS = 5_000
"""Up to so many scikit-learn's exact SVM is fast enough to be trained a hundred times."""
LASSO_ALPHA = 1e-3
"""Of the default LASSO, whose targets lie in [0, 1]."""
KINDS = {
    "LogisticRegression": "logistic", "LogisticRegressionCV": "logistic",
    "RidgeClassifier": "ridge", "RidgeClassifierCV": "ridge", "LinearSVC": "svm", "SVC": "svm",
    "Ridge": "ridge", "RidgeCV": "ridge", "LinearRegression": "ridge", "Lasso": "lasso",
    "LassoCV": "lasso",
}  # fmt: skip


class Match(NamedTuple):
    """A learner twice, and the model that judges.

    - `name`: of the learner that the attack runs on: logistic, softmax, ridge, lasso, svm.
    - `ours`: from the total weight of the training rows; scikit-learn adds up losses that we
      average.
    - `twin`: scikit-learn's model of the same problem, on encoded features.
    - `loss`: what the attacker raises.
    - `judge`: the model whose errors are counted, not trained; `takes_frames`: on the user's
      columns rather than on encoded features.
    - `remark`: how well the learner and the judge match, a sentence.
    - `given`: whether the judge is the user's: it gets numbers to predict in their own units.
    """

    name: str
    ours: Callable[[Any], AbstractLearner]
    twin: Callable[[], Any]
    loss: Any
    judge: Any
    takes_frames: bool
    remark: str
    given: bool = False


def match(
    learner: Any, task: Task, classes: int, shape: tuple[int, int], spread: float = 1.0
) -> Match:
    """The match of a name ("auto", "logistic", "ridge", "svm", "lasso") or of the user's own
    estimator or Pipeline. `TableError` for others, and for one of the other task.

    - `classes`: number of them, 0 for numbers. `shape`: (rows, features), which decide how
      scikit-learn solves the twin. `spread`: range of the numbers to predict, which an estimator
      of the user's gets as they are.
    """
    default = "logistic" if task == "classes" else "ridge"
    if isinstance(learner, str):
        name = default if learner == "auto" else learner
        if name not in NAMES[task]:
            raise TableError(
                f"learner: got {learner!r}, expected auto, {', '.join(NAMES[task])} or a "
                f"scikit-learn model, for a target of {task}"
            )
        if classes > 2 and name != "logistic":
            raise TableError(f"learner: {name!r} is of two classes, got {classes}; use logistic")
        found = _kind(name, classes, shape, 1.0, LASSO_ALPHA if name == "lasso" else 1.0)
        remark = "The attack runs on the same learner as the judge's, solved by our own solver."
        return found._replace(remark=remark)
    if not (hasattr(learner, "fit") and hasattr(learner, "predict")):
        raise TableError(
            f"learner: got a {type(learner).__name__}, expected a name or a scikit-learn estimator"
        )
    right = is_classifier(learner) if task == "classes" else is_regressor(learner)
    if not right:
        raise TableError(
            f"learner: {type(learner).__name__} does not predict {task}, but the target is of "
            f"{task}; give another model, or convert the target"
        )
    frames, last = _last(learner)
    kind = KINDS.get(type(last).__name__, "")
    if type(last).__name__ == "SVC" and last.kernel != "linear":
        kind = ""
    exact = bool(kind) and kind in NAMES[task] and not (kind in {"svm", "ridge"} and classes > 2)
    C, alpha = (_strength(last, name) or 1.0 for name in ("C", "alpha"))
    if kind == "lasso":
        alpha /= spread
    if type(last).__name__ == "LinearRegression":
        alpha = 1e-6
    found = _kind(kind if exact else default, classes, shape, C, alpha)
    of = type(last).__name__
    remark = (
        f"The attack runs on {found.name} regression, a surrogate: {of} has no derivative here. "
        "A stronger attack on the model itself may exist."
    )
    if exact:
        name = "alpha" if kind in {"ridge", "lasso"} else "C"
        known = of == "LinearRegression" or _strength(last, name) is not None
        remark = f"The attack runs on our {found.name}, "
        remark += f"of the strength of {of}" if known else f"{name} = 1, other than {of} may have"
        remark += ", on features scaled to [0, 1]." if frames else "."
    return found._replace(judge=learner, takes_frames=frames, remark=remark, given=True)


def _strength(model: Any, name: str) -> float | None:
    """None for a model that chooses it, or has none that is finite and > 0."""
    value = getattr(model, name, None)
    return float(value) if isinstance(value, Real) and 0 < float(value) < inf else None


def _last(model: Any) -> tuple[bool, Any]:
    """(whether there is a Pipeline, which trains on the user's columns; the last estimator)."""
    if isinstance(model, Pipeline):
        return True, _last(model.steps[-1][1])[1]
    return _last(model.estimator) if isinstance(model, BaseSearchCV) else (False, model)


def _kind(name: str, classes: int, shape: tuple[int, int], C: float, alpha: float) -> Match:
    rows, features = shape

    def made(name: str, ours: Callable, twin: Callable, loss: Any) -> Match:
        return Match(name, ours, twin, loss, twin(), False, "")

    if name == "logistic":
        unknowns = features * (classes if classes > 2 else 1)
        dense = unknowns <= FEW_UNKNOWNS and rows > 2 * unknowns
        solver = "newton-cholesky" if dense else "newton-cg"

        def logistic() -> Any:
            return LogisticRegression(C=C, tol=1e-8, max_iter=5_000, solver=solver)

        if classes > 2:
            return made(
                "softmax", lambda total: learners.Softmax(classes, 1 / (C * total)), logistic,
                losses.CrossEntropy(),
            )  # fmt: skip
        return made(
            "logistic", lambda total: learners.Logistic(1 / (C * total)), logistic,
            losses.Logistic(),
        )  # fmt: skip
    if name == "svm":

        def machine() -> Any:
            if rows <= KERNEL_ROWS:
                return SVC(C=C, kernel="linear", tol=1e-6)
            return LinearSVC(C=C, loss="hinge", max_iter=20_000, random_state=0)

        return made("svm", lambda total: learners.SVM(C), machine, losses.Hinge())
    if name == "lasso":
        return made(
            "lasso", lambda total: learners.Lasso(alpha),
            lambda: Lasso(alpha, tol=1e-6, max_iter=100_000), losses.Squares(),
        )  # fmt: skip
    return made(
        "ridge", lambda total: learners.Ridge(alpha / total),
        lambda: (RidgeClassifier if classes else Ridge)(alpha),
        losses.Logistic() if classes else losses.Squares(),
    )  # fmt: skip
