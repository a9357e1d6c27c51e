"""Penalised squares and logistic losses on a given face."""

from typing import NamedTuple

import numpy as np

from .arithmetic import condition, solve, wide


class Face(NamedTuple):
    """A face and the penalty along it: slope'w + bend/2 |w|^2 + sum of strength |w_g| of groups.

    - `free` (d,): a mask; the others have the values `fixed` (d,).
    - `group` (d,): the group of each weight; None without groups.
    """

    free: np.ndarray
    fixed: np.ndarray
    slope: np.ndarray
    bend: np.ndarray
    group: np.ndarray | None = None
    strength: np.ndarray | None = None


def minimiser(x, y, share, face: Face, start, logistic: bool, steps=6):
    """(w, slope of the loss, condition): Newton's method along the face, of the loss with shares of
    rows, from `start` in double precision.
    """
    x, y, share = wide(x), wide(y), wide(share)
    free, fixed = face.free, wide(face.fixed)
    w = np.where(free, wide(start), fixed) + 0 * (share @ x + wide(face.slope) + wide(face.bend))
    if face.strength is not None:
        w = w + 0 * np.sum(wide(face.strength))
    A, loss_slope = np.eye(0), np.zeros(0)
    for _ in range(steps):
        f = x @ w
        if logistic:
            p = 1 / (1 + np.exp(y * f))
            pull, curvature = -share * p * y, share * p * (1 - p)
        else:
            pull, curvature = share * (f - y), share
        loss_slope = x.T @ pull
        along = loss_slope + face.slope + face.bend * w
        inside = x[:, free]
        A = inside.T @ (curvature[:, None] * inside) + np.diag((face.bend + 0 * w)[free])
        if face.group is not None:
            groups, along = _groups(face, face.group, w, along)
            A = A + groups[np.ix_(free, free)]
        if not free.any():
            break
        w = w.copy()
        w[free] = w[free] - solve(A, along[free])
    return w, np.real(loss_slope), condition(A)


def _groups(face: Face, group: np.ndarray, w, along):
    """Hessian of the norms of groups that are not zero, and `along` with their slopes."""
    H = np.zeros((w.size, w.size), w.dtype)
    along = along.copy()
    for g in np.unique(group[face.free]):
        mine = group == g
        u = w[mine]
        length = np.sqrt(np.sum(u * u))
        strength = wide(np.asarray(face.strength))[g]
        along[mine] = along[mine] + strength * u / length
        H[np.ix_(mine, mine)] = strength * (np.eye(u.size) / length - np.outer(u, u) / length**3)
    return H, along
