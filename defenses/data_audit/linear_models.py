"""scikit-learn's linear models with a square penalty: slopes, curvatures and Hessian of their loss.

Softmax regression leaves the sum of its classes free: along the others, an orthonormal basis of one
class less, the Hessian is regular. It is made block by block from rows times roots of their
curvatures, so that each block is a symmetric product.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from scipy.linalg import cholesky
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge

from .reading import TableError

PLAIN: dict[str, tuple[Any, ...]] = {
    "penalty": ("deprecated", "l2"), "l1_ratio": (None, 0.0), "class_weight": (None,),
    "positive": (False,),
    "solver": ("auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "newton-cg",
               "newton-cholesky", "lbfgs"),
}  # fmt: skip
"""Parameters, and the values that leave the penalty square and the bias free."""


class Linear(NamedTuple):
    """The loss of n rows at a trained model.

    - `rows` (n, e): features that vary, and ones for the bias. `y` (n,): labels or targets.
    - `decision` (n, c): of scikit-learn's model.
    - `slope` (n, k), `curvature` (n, k, k): of the loss in the k decisions.
    - `across` (c, k): what these are in the decisions of scikit-learn's model.
    - `penalty` (e,): of the weights.
    """

    rows: Float[np.ndarray, "n e"]
    y: Shaped[np.ndarray, " n"]
    decision: Float[np.ndarray, "n c"]
    slope: Float[np.ndarray, "n k"]
    curvature: Float[np.ndarray, "n k k"]
    across: Float[np.ndarray, "c k"]
    penalty: Float[np.ndarray, " e"]


def both_linear(
    model: Any,
    x: Float[np.ndarray, "n d"],
    y: Shaped[np.ndarray, " n"],
    held_x: Float[np.ndarray, "m d"],
    held_y: Shaped[np.ndarray, " m"],
) -> tuple[Linear, Linear]:
    """(training rows, rows held out). `TableError` for other models, penalties and weights, and for
    rows, labels and targets that do not fit them.
    """
    _require_plain(model)
    x, y = _dense(model, "", x, y)
    held_x, held_y = _dense(model, "held_", held_x, held_y)
    # a weight of a constant column stays zero beside a bias
    used = (np.ptp(x, axis=0) > 0) | (not model.fit_intercept)
    strength = model.alpha if isinstance(model, Ridge) else 1 / model.C
    penalty = np.full(int(used.sum()) + model.fit_intercept, float(strength))
    if model.fit_intercept:
        penalty[-1] = 0

    def of(x: Float[np.ndarray, "m d"], y: Shaped[np.ndarray, " m"]) -> Linear:
        rows = x[:, used]
        if model.fit_intercept:
            rows = np.concatenate([rows, np.ones((len(x), 1))], axis=1)
        decide = model.predict if isinstance(model, Ridge) else model.decision_function
        return Linear(rows, y, decide(x).reshape(len(x), -1), *_loss(model, x, y), penalty)

    return of(x, y), of(held_x, held_y)


def _dense(model: Any, what: str, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    if hasattr(x, "toarray"):
        raise TableError(f"{what}x: got sparse rows, expected dense ones; give {what}x.toarray()")
    x, y = np.asarray(x, float), np.asarray(y)
    if y.shape != x.shape[:1]:
        raise TableError(f"{what}y: got shape {y.shape}, expected ({len(x)},), one for each row")
    if isinstance(model, LogisticRegression) and not np.isin(y, model.classes_).all():
        other = y[~np.isin(y, model.classes_)][0]
        raise TableError(
            f"{what}y: got the label {other!r}, expected those of the model, "
            f"{model.classes_.tolist()}"
        )
    return x, y


def _loss(
    model: Any, x: Float[np.ndarray, "n d"], y: Shaped[np.ndarray, " n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if isinstance(model, Ridge):
        slope = np.asarray(model.predict(x) - y)[:, None]
        return slope, np.ones((len(x), 1, 1)), np.ones((1, 1))
    p = model.predict_proba(x)
    own = (y[:, None] == model.classes_[None, :]).astype(float)
    if p.shape[1] == 2:
        slope = (p - own)[:, 1:]
        return slope, (p[:, :1] * p[:, 1:])[:, :, None], np.ones((1, 1))
    # Directions across classes; along their sum nothing has a slope.
    across = np.linalg.svd(np.eye(p.shape[1]) - 1 / p.shape[1])[0][:, :-1]
    turned = p @ across
    curvature = np.einsum("ca,nc,cb->nab", across, p, across, optimize=True)
    curvature -= turned[:, :, None] * turned[:, None, :]
    return (p - own) @ across, curvature, across


def _require_plain(model: Any) -> None:
    right = isinstance(model, LogisticRegression | Ridge)
    if not right or isinstance(model, LogisticRegressionCV):
        raise TableError(
            f"model: got a {type(model).__name__}, expected a trained LogisticRegression or Ridge"
        )
    if isinstance(model, Ridge) and (np.ndim(model.alpha) or np.ndim(model.coef_) > 1):
        raise TableError("model: got a Ridge of several targets, expected one of one target")
    for name, plain in PLAIN.items():
        if hasattr(model, name) and getattr(model, name) not in plain:
            raise TableError(
                f"model: got {name}={getattr(model, name)!r}, which has no such formula here; "
                f"train one with {name}={plain[-1]!r}"
            )


def _hessian(here: Linear, dtype: Any) -> np.ndarray:
    """The Hessian of all losses and penalties: its lower triangle, of matrices (e, e) per pair of
    decisions.
    """
    rows, curvature = here.rows.astype(dtype), here.curvature.astype(dtype)
    k, d = here.slope.shape[1], rows.shape[1]
    hessian = np.zeros((k * d, k * d), dtype, order="F")
    for a in range(k):
        for b in range(a + 1):
            each, block = curvature[:, a, b], np.zeros((d, d), dtype)
            for sign in (1, -1):
                some = sign * each > 0
                if some.any():
                    part = rows[some] * np.sqrt(sign * each[some])[:, None]
                    block += sign * (part.T @ part)
            hessian[a * d : (a + 1) * d, b * d : (b + 1) * d] = block
    hessian[np.diag_indices(k * d)] += np.tile(here.penalty.astype(dtype), k)
    return hessian


def factorised(here: Linear, dtype: Any) -> np.ndarray:
    """The lower Cholesky factor of that. `TableError` where it is singular."""
    try:
        return cholesky(_hessian(here, dtype), lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        raise TableError(
            f"model: the Hessian of its loss is singular in {np.dtype(dtype)}: columns depend on "
            "one another and hardly any penalty tells them apart; train with a larger one, or "
            "leave columns out"
        ) from None
