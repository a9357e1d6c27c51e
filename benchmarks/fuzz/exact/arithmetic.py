"""Linear systems in extended precision, real or complex, and the outcome of an exact solve."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

EXTENDED = bool(np.finfo(np.longdouble).eps < 1e-18)
"""Whether long double is wider than double; on some processors it is not."""


class Exact(NamedTuple):
    """A solution on an active set.

    - `decision(x)`: of rows (m, d), (m,) or (m, k).
    - `slack`: distance to the next active set, relative to the size of its terms: negative if the
      set is not that of the solution; infinite without inequalities.
    - `condition`: of the system that gives the derivative.
    """

    decision: Callable[[np.ndarray], np.ndarray]
    slack: float
    condition: float


class Reference(NamedTuple):
    """An outer objective at an exact solution: its value, and slack and condition as `Exact`."""

    value: Any
    slack: float
    condition: float


def mean_square(f: np.ndarray, y: np.ndarray) -> Any:
    """Half the mean squared difference."""
    return 0.5 * np.mean((f - y) ** 2)


def wide(a: np.ndarray) -> np.ndarray:
    """The array in long double, or complex long double."""
    return np.asarray(a, np.clongdouble if np.iscomplexobj(a) else np.longdouble)


def solve(A: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """A^-1 rhs, for A (k, k) and rhs (k,): Gaussian elimination with partial pivoting
    of the matrix scaled to a unit diagonal, refined twice. NaN if A is singular.
    """
    size = np.sqrt(np.abs(np.diagonal(A)))
    size = np.where(size > 0, size, 1)
    scaled, b = A / np.outer(size, size), rhs / size
    x = _eliminate(scaled, b)
    for _ in range(2):
        x = x + _eliminate(scaled, b - scaled @ x)
    return x / size


def _eliminate(A, rhs):
    A = np.concatenate([A, rhs[:, None]], axis=1)
    n = len(A)
    with np.errstate(all="ignore"):
        for k in range(n):
            p = k + int(np.argmax(np.abs(A[k:, k])))
            if p != k:
                A[[k, p]] = A[[p, k]]
            A[k + 1 :, k:] -= np.outer(A[k + 1 :, k] / A[k, k], A[k, k:])
        x = A[:, n]
        for k in reversed(range(n)):
            x[k] = (x[k] - A[k, k + 1 : n] @ x[k + 1 :]) / A[k, k]
    return x


def condition(A: np.ndarray) -> float:
    """Condition number of the matrix scaled to a unit diagonal, in double precision."""
    A = np.real(A).astype(float)
    if not np.all(np.isfinite(A)):
        return np.inf
    if A.size == 0:
        return 1.0
    size = np.sqrt(np.abs(np.diagonal(A)))
    size = np.where(size > 0, size, 1)
    return float(np.linalg.cond(A / np.outer(size, size)))
