"""How far the attacker can move the parameters of a training, in any direction.

Parameters are (w, b) = theta. A training minimises a sum of losses plus theta'R theta / 2. If the
attacker adds g to the gradient, then theta moves by d = -P g, where P^-1 is the mean Hessian of the
clean objective on the way. All that is known of P is P_low <= P <= P_high.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from ._reach import Changes

Matrix = Float[np.ndarray, "p p"]
MOST = 200.0
"""Moves of logits: a bound beyond is as good as none."""
ROUGHEST = 1e-3
"""Relative error of an inverse: beyond, the training is not certified."""
STEEPEST = 30.0
"""A curvature that may rise by so many powers of e bounds nothing from below."""


@dataclasses.dataclass(frozen=True, eq=False)
class Displacement:
    """Bounds of d = -P (g + g_0) over all g of `changes` and P_low <= P <= P_high.

    - `low`, `high`: P_low and P_high. `start` (p,): g_0, the gradient left at the clean solution.
    - `reach`: an upper bound of the norm of d in the inverse of `high`.
    """

    changes: Changes
    low: Matrix
    high: Matrix
    start: Float[np.ndarray, " p"]
    reach: float

    @property
    def _spread(self) -> Matrix:
        return (self.high - self.low) / 2

    @property
    def _middle(self) -> Matrix:
        return (self.high + self.low) / 2

    def along(self, v: Float[np.ndarray, "m p"]) -> Float[np.ndarray, " m"]:
        """An upper bound of v d for each v."""
        spread, start = self._spread, self.start
        moved = self.changes.along(-v @ self._middle) - v @ self._middle @ start
        size = self.changes.size(spread) + _norms(start[None], spread)[0]
        most = np.minimum(moved + _norms(v, spread) * size, _norms(v, self.high) * self.reach)
        return most * (1 + 1e-9)

    def norm(self, t: Float[np.ndarray, "m p"]) -> float:
        """An upper bound of the norm of t d."""
        spread, middle, start = self._spread, self._middle, self.start
        square = t.T @ t
        size = self.changes.size(spread) + _norms(start[None], spread)[0]
        moved = self.changes.size(middle @ square @ middle) + np.linalg.norm(t @ middle @ start)
        direct = moved + np.sqrt(_most(square, spread)) * size
        return float(min(direct, np.sqrt(_most(square, self.high)) * self.reach) * (1 + 1e-9))


def quadratic(
    hessian: Matrix, start: Float[np.ndarray, " p"], changes: Changes, most: float = np.inf
) -> Displacement:
    """Of a quadratic objective, whose Hessian is the same everywhere.

    - `most`: an upper bound of the norm of d in the Hessian, if one is known.
    """
    low, high = inverse(hessian)
    reach = min(changes.size(high), most) + _norms(start[None], high)[0]
    return Displacement(changes, low, high, start, reach)


def logistic(
    a: Float[np.ndarray, "n p"],
    curvature: Float[np.ndarray, " n"],
    penalty: Matrix,
    start: Float[np.ndarray, " p"],
    changes: Changes,
) -> Displacement | None:
    """Of the logistic loss, whose curvature at a logit moved by c is e^-|c| to e^|c| times what it
    was (Bach 2010), so that its mean on the way is phi(-|c|) to phi(|c|) times that, for
    phi(c) = (e^c - 1) / c. None if nothing keeps the logits of training rows from moving far.

    - `a` (n, p): training rows. `curvature` (n,): of their losses at the clean solution.

    Logits move continuously with the strength of the attack, from zero. So they cannot pass a
    bound c for which all moves of at most c imply moves of less than c.
    """
    moved = np.zeros(len(a))
    for _ in range(60):
        _, high = inverse((a.T * (curvature * _mean(-moved))) @ a + penalty)
        size = changes.size(high) + _norms(start[None], high)[0]
        next_ = _norms(a, high) * size
        if np.all(next_ < moved):
            break
        moved = np.maximum(moved, next_ * 1.02 + 1e-12)
        if not np.max(moved) < MOST:
            return None
    else:
        return None
    for _ in range(10):  # within the bound that holds, what it implies holds as well
        _, high = inverse((a.T * (curvature * _mean(-moved))) @ a + penalty)
        size = changes.size(high) + _norms(start[None], high)[0]
        moved = np.minimum(moved, _norms(a, high) * size)
    _, high = inverse((a.T * (curvature * _mean(-moved))) @ a + penalty)
    low = np.zeros_like(high)
    if np.max(moved) < STEEPEST:
        low, _ = inverse((a.T * (curvature * _mean(moved))) @ a + penalty)
    size = changes.size(high) + _norms(start[None], high)[0]
    return Displacement(changes, low, high, start, size)


def _mean(c: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """(e^c - 1) / c."""
    return np.where(np.abs(c) < 1e-8, 1 + c / 2, np.expm1(c) / np.where(c == 0, 1, c))


def _norms(v: Float[np.ndarray, "m p"], q: Matrix) -> Float[np.ndarray, " m"]:
    """(v'qv)^1/2 of each v, and a little more."""
    squares = np.einsum("ij,ij->i", v @ q, v)
    size = np.einsum("ij,ij->i", v, v) * float(np.trace(np.abs(q)))
    return np.sqrt(np.maximum(squares, 0) + 64 * len(q) * np.finfo(float).eps * size)


def _most(square: Matrix, q: Matrix) -> float:
    """More than the largest eigenvalue of t q t', for square = t't."""
    values, vectors = np.linalg.eigh(square)
    root = vectors * np.sqrt(np.maximum(values, 0))
    inner = root.T @ q @ root
    slack = 64 * len(q) * np.finfo(float).eps * float(np.trace(np.abs(inner)))
    return max(float(np.linalg.eigvalsh(inner)[-1]) + slack, 0.0)


def inverse(hessian: Matrix) -> tuple[Matrix, Matrix]:
    """Matrices below and above the inverse: the rounding is measured, and goes to either side."""
    found = np.linalg.inv(hessian)
    found = (found + found.T) / 2
    off = 2 * float(np.linalg.norm(found @ hessian - np.eye(len(hessian)))) + 1e-12
    if not off < ROUGHEST:
        raise np.linalg.LinAlgError(f"the inverse is off by {off:.1e}")
    return found * (1 - off), found * (1 + off)
