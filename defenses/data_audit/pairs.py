"""Influence of every training row on every row held out (Koh & Liang, ICML 2017), at once.

The Hessian is made block by block from rows times roots of their curvatures, so that each block is
a symmetric product, and factorised once. Softmax regression leaves the sum of its classes free, so
that one class less is solved for. Single precision halves the time; the residual says what it cost.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from scipy.linalg import cho_factor, cho_solve
from sklearn.linear_model import LogisticRegression, Ridge

from .reading import TableError

PLAIN: dict[str, tuple[Any, ...]] = {
    "penalty": ("deprecated", "l2"), "l1_ratio": (None, 0.0), "class_weight": (None,),
    "positive": (False,),
    "solver": ("auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "newton-cg",
               "newton-cholesky", "lbfgs"),
}  # fmt: skip
"""Parameters, and the values that leave the penalty square and the bias free."""
PROBED = 8
"""Rows held out whose solutions are checked in double precision."""


class Pairs(NamedTuple):
    """Influence of n training rows on m rows held out.

    - `value` (n, m): what leaving row i out adds to the loss of row j, to first order.
    - `residual`: largest relative residual of the linear systems, over some rows.
    """

    value: Float[np.ndarray, "n m"]
    residual: float


class _Linear(NamedTuple):
    """Slopes (n, k) of the loss in k decisions, curvatures (n, k, k), the penalty of a weight."""

    slope: Float[np.ndarray, "n k"]
    curvature: Float[np.ndarray, "n k k"]
    penalty: float


def influence_pairs(
    model: Any,
    x: Float[np.ndarray, "n d"],
    y: Shaped[np.ndarray, " n"],
    held_x: Float[np.ndarray, "m d"],
    held_y: Shaped[np.ndarray, " m"],
    dtype: Any = np.float32,
) -> Pairs:
    """What each training row does to the loss of each row held out.

    - `model`: scikit-learn's LogisticRegression (the loss is the log loss, of any number of
      classes) or Ridge (half the squared residual), trained on x and y to convergence, with the
      square penalty, and without weights of rows.
    - `x`, `y`, `held_x`, `held_y`: dense rows and labels or targets.
    - `dtype`: of the work; float32 is right to about six digits.

    It takes a matrix of (d + 1)^2 (classes - 1)^2 numbers. Raises `TableError` for other models and
    penalties, and for weights of classes.
    """
    x, held_x = np.asarray(x, float), np.asarray(held_x, float)
    here, there = _linear(model, x, y), _linear(model, held_x, held_y)
    # a weight of a constant column stays zero beside a bias
    used = (np.ptp(x, axis=0) > 0) | (not model.fit_intercept)
    rows, held = (_with_ones(part[:, used], model.fit_intercept) for part in (x, held_x))
    hessian = _hessian(rows.astype(dtype), here, model.fit_intercept)
    factor = cho_factor(hessian, lower=True, overwrite_a=True, check_finite=False)
    k, d = here.slope.shape[1], rows.shape[1]
    right = np.einsum("mk,md->kdm", there.slope, held).reshape(k * d, -1)
    solved = cho_solve(factor, right.astype(dtype), check_finite=False).reshape(k, d, -1)
    value = np.zeros((x.shape[0], held.shape[0]), dtype)
    thin, slope = rows.astype(dtype), here.slope.astype(dtype)
    for a in range(k):
        value += slope[:, a : a + 1] * (thin @ solved[a])
    few = slice(0, PROBED)
    left = _product(rows, here, model.fit_intercept, solved[:, :, few].astype(float))
    aim = right.reshape(k, d, -1)[:, :, few]
    miss = np.linalg.norm(left - aim, axis=(0, 1)) / np.maximum(
        np.linalg.norm(aim, axis=(0, 1)), np.finfo(float).tiny
    )
    return Pairs(value, float(miss.max()))


def _linear(model: Any, x: Float[np.ndarray, "n d"], y: Shaped[np.ndarray, " n"]) -> _Linear:
    _require_plain(model)
    if isinstance(model, Ridge):
        slope = np.asarray(model.predict(x) - y)[:, None]
        return _Linear(slope, np.ones((len(x), 1, 1)), float(model.alpha))
    p = model.predict_proba(x)
    own = (np.asarray(y)[:, None] == model.classes_[None, :]).astype(float)
    if p.shape[1] == 2:
        slope = (p - own)[:, 1:]
        return _Linear(slope, (p[:, :1] * p[:, 1:])[:, :, None], 1 / model.C)
    # Directions across classes; along their sum nothing has a slope.
    across = np.linalg.svd(np.eye(p.shape[1]) - 1 / p.shape[1])[0][:, :-1]
    turned = p @ across
    curvature = np.einsum("ca,nc,cb->nab", across, p, across, optimize=True)
    curvature -= turned[:, :, None] * turned[:, None, :]
    return _Linear((p - own) @ across, curvature, 1 / model.C)


def _require_plain(model: Any) -> None:
    if not isinstance(model, LogisticRegression | Ridge):
        raise TableError(
            f"model: got a {type(model).__name__}, expected a trained LogisticRegression or Ridge"
        )
    for name, plain in PLAIN.items():
        if hasattr(model, name) and getattr(model, name) not in plain:
            raise TableError(
                f"model: got {name}={getattr(model, name)!r}, which has no such formula here; "
                f"train one with {name}={plain[-1]!r}"
            )


def _with_ones(x: Float[np.ndarray, "n d"], bias: bool) -> Float[np.ndarray, "n e"]:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1) if bias else x


def _hessian(rows: Float[np.ndarray, "n e"], here: _Linear, bias: bool) -> np.ndarray:
    k, d = here.slope.shape[1], rows.shape[1]
    hessian = np.empty((k * d, k * d), rows.dtype, order="F")
    curvature = here.curvature.astype(rows.dtype)
    for a in range(k):
        for b in range(a + 1):
            each, block = curvature[:, a, b], np.zeros((d, d), rows.dtype)
            for sign in (1, -1):
                some = sign * each > 0
                if some.any():
                    part = rows[some] * np.sqrt(sign * each[some])[:, None]
                    block += sign * (part.T @ part)
            hessian[a * d : (a + 1) * d, b * d : (b + 1) * d] = block
    penalty = np.full(d, here.penalty, rows.dtype)
    if bias:
        penalty[-1] = 0
    hessian[np.diag_indices(k * d)] += np.tile(penalty, k)
    return hessian


def _product(
    rows: Float[np.ndarray, "n e"], here: _Linear, bias: bool, v: Float[np.ndarray, "k e p"]
) -> Float[np.ndarray, "k e p"]:
    """The Hessian times v, in double precision."""
    along = np.einsum("nab,bnp->anp", here.curvature, rows @ v, optimize=True)
    penalised = here.penalty * v
    if bias:
        penalised[:, -1] = 0
    return rows.T @ along + penalised
