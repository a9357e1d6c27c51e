"""What leaving a training row out does, for all rows, and trained anew for few of them.

A Newton step of the problem without the row, from the model that was trained with it (Rad & Maleki,
"A scalable estimate of the out-of-sample prediction error via approximate leave-one-out
cross-validation", JRSS B 2020), and a second one by the same curvature: influence functions keep
the curvature of the row that is left out, and one step that of the others.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from scipy.linalg import solve_triangular
from scipy.special import expit, logsumexp, softmax
from sklearn.base import clone
from sklearn.linear_model import Ridge

from .linear_models import Linear, both_linear, factorised
from .reading import TableError

NUMBERS = 20_000_000
"""Decisions that are held in memory at once."""
NEAR = 0.1
"""The gradient that the first step leaves, of the one that it began with, up to which a second one
by the same curvature ends nearby.
"""
LEAST = 1e-9
"""The share of a row's curvature that the others give: below, it fixes a weight alone."""


def leave_one_out(
    model: Any,
    x: Float[np.ndarray, "n d"],
    y: Shaped[np.ndarray, " n"],
    held_x: Float[np.ndarray, "m d"],
    held_y: Shaped[np.ndarray, " m"],
) -> Float[np.ndarray, "n m"]:
    """What leaving training row i out adds to the loss of row j held out.

    - `model`: scikit-learn's LogisticRegression (the loss is the log loss, of any number of
      classes) or Ridge (half the squared residual), trained on x and y to convergence, with the
      square penalty, and without weights of rows.
    - `x`, `y`, `held_x`, `held_y`: dense rows and labels or targets.

    Exact for ridge. A row of which the first step leaves more than a tenth of the gradient, or that
    fixes a weight alone, is left out by training anew: few rows under the usual penalties, a fifth
    of them under hardly any. NaN for the only row of a class, without which there is no model. It
    holds matrices of (d + 1)^2 (classes - 1)^2 and of n (d + 1) (classes - 1)^2 numbers; its time
    grows as n^2 (d + 1) (classes - 1)^2. Raises `TableError` for other models and penalties, for
    weights of classes, for a single row, for labels and targets that do not fit, and where the
    Hessian is singular.
    """
    here, there = both_linear(model, x, y, held_x, held_y)
    n, k = here.slope.shape
    if n < 2:
        raise TableError(f"x: got {n} row, expected two or more: a model needs one to be left")
    d, factor = here.rows.shape[1], factorised(here, float)
    inverse = solve_triangular(factor, np.eye(k * d), lower=True).reshape(k * d, k, d)
    # In coordinates in which the Hessian with all rows is the identity.
    root, of_held = (np.moveaxis(inverse @ of.rows.T, -1, 0).swapaxes(1, 2) for of in (here, there))
    own = np.einsum("nap,nbp->nab", root, root, optimize=True)
    without = np.eye(k)[None] - here.curvature @ own
    lone = np.linalg.svd(without, compute_uv=False)[:, -1] < LEAST
    turn = np.linalg.inv(np.where(lone[:, None, None], np.eye(k)[None], without))
    before = _losses(model, there.y, there.decision)
    value, far = np.empty((n, len(before))), lone
    count = 1 + n * max(n, len(before)) * there.decision.shape[1] // NUMBERS
    for some in np.array_split(np.arange(n), count):
        mine, rows = root[some], np.arange(some.size)
        step = np.sum(mine * (turn[some] @ here.slope[some][:, :, None]), axis=1)
        if not isinstance(model, Ridge):
            moved = np.einsum("np,mkp->nmk", step, root, optimize=True)
            slope = _slopes(model, here, here.decision[None] + moved @ here.across.T) @ here.across
            beyond = slope - here.slope[None] - np.einsum("mab,nmb->nma", here.curvature, moved)
            left = step + np.einsum("nmk,mkp->np", beyond, root, optimize=True)
            left -= np.einsum("nk,nkp->np", slope[rows, some], mine)
            first = np.einsum("nk,nkp->np", here.slope[some], mine)
            far[some] |= ~(np.linalg.norm(left, axis=1) <= NEAR * np.linalg.norm(first, axis=1))
            # Woodbury's formula for the Hessian without the row.
            along = here.curvature[some] @ (mine @ left[:, :, None])
            step = step - left - np.sum(mine * (turn[some] @ along), axis=1)
        moved = np.einsum("np,mkp->nmk", step, of_held, optimize=True) @ here.across.T
        value[some] = _losses(model, there.y, there.decision[None] + moved) - before[None]
    if not isinstance(model, Ridge):
        _, group, size = np.unique(here.y, return_inverse=True, return_counts=True)
        value[size[group] == 1], far[size[group] == 1] = np.nan, False
    x, held_x = np.asarray(x, float), np.asarray(held_x, float)
    for row in np.flatnonzero(far):
        kept: Any = np.arange(n) != row
        anew: Any = clone(model)
        anew.fit(x[kept], here.y[kept])
        decide = anew.predict if isinstance(model, Ridge) else anew.decision_function
        value[row] = _losses(model, there.y, decide(held_x).reshape(len(before), -1)) - before
    return value


def _losses(
    model: Any, y: Shaped[np.ndarray, " m"], f: Float[np.ndarray, "*n m c"]
) -> Float[np.ndarray, "*n m"]:
    if isinstance(model, Ridge):
        return (f[..., 0] - y) ** 2 / 2
    own = np.searchsorted(model.classes_, y)
    if f.shape[-1] == 1:
        return np.logaddexp(0, np.where(own == 1, -1, 1) * f[..., 0])
    return logsumexp(f, axis=-1) - f[..., np.arange(own.size), own]


def _slopes(model: Any, of: Linear, f: Float[np.ndarray, "n m c"]) -> Float[np.ndarray, "n m c"]:
    """Of the log loss in the decisions."""
    own = np.searchsorted(model.classes_, of.y)
    if f.shape[-1] == 1:
        return expit(f) - own[None, :, None]
    slope = softmax(f, axis=-1)
    slope[:, np.arange(own.size), own] -= 1
    return slope
