"""The hypergradient of SVM poisoning, by hand and in extended precision: an oracle for tests.

Nothing is shared with the package but the active set, which is checked here to be the right one.
"""

from typing import NamedTuple

import numpy as np

L = np.longdouble
EXTENDED = np.finfo(L).eps < 1e-18  # elsewhere (some ARM) long double is double: nothing to learn


class Kernel(NamedTuple):
    """Linear by default; `gamma` alone is RBF; with `degree` it is polynomial with coef0 = 1."""

    gamma: float | None = None
    degree: int | None = None

    def gram(self, a, b):
        if self.gamma is None:
            return a @ b.T
        gamma = L(self.gamma)
        if self.degree is not None:
            return (gamma * (a @ b.T) + 1) ** self.degree
        return np.exp(-gamma * np.sum((a[:, None] - b[None]) ** 2, axis=2))

    def first(self, a, b):
        """d k(a, b_j) / d a for one row a: (rows of b, features)."""
        if self.gamma is None:
            return b
        gamma, k = L(self.gamma), self.gram(a[None], b)[0]
        if self.degree is not None:
            slope = self.degree * gamma * (gamma * (b @ a) + 1) ** (self.degree - 1)
            return slope[:, None] * b
        return -2 * gamma * k[:, None] * (a[None] - b)


def lu_solve(A, rhs):
    """Gaussian elimination with partial pivoting, in whatever precision the arrays have."""
    A, x = A.copy(), rhs.copy()
    n = len(A)
    for k in range(n):
        p = k + int(np.argmax(np.abs(A[k:, k])))
        A[[k, p]], x[[k, p]] = A[[p, k]], x[[p, k]]
        factor = A[k + 1 :, k] / A[k, k]
        A[k + 1 :] -= factor[:, None] * A[k]
        x[k + 1 :] -= factor * x[k]
    for k in reversed(range(n)):
        x[k] = (x[k] - A[k, k + 1 :] @ x[k + 1 :]) / A[k, k]
    return x


class Exact(NamedTuple):
    value: np.longdouble
    rows: np.ndarray  # d value / d poison rows
    C: np.longdouble  # d value / d C
    alpha: np.ndarray
    bias: np.longdouble
    margin: float  # strict complementarity; negative if the face is not the solution's
    condition: float


def solve(kernel: Kernel, x, y, C, x_val, y_val, poison: int, lower, upper) -> Exact:
    """Mean validation hinge of the SVM on (x, y), the last `poison` rows being the attacker's,
    and its gradient, on the face where `lower` have alpha = 0 and `upper` alpha = C."""
    x, y, C, x_val, y_val = (np.asarray(a, L) for a in (x, y, C, x_val, y_val))
    free = ~(lower | upper)
    Q = kernel.gram(x, x) * np.outer(y, y)
    k = int(free.sum())
    A = np.zeros((k + 1, k + 1), L)
    A[:k, :k], A[:k, k], A[k, :k] = Q[np.ix_(free, free)], y[free], y[free]
    rhs = np.append(1 - C * Q[free][:, upper].sum(axis=1), -C * y[upper].sum())
    alpha, pair = np.where(upper, C, L(0)), []
    if k:
        solved = lu_solve(A, rhs)
        solved = solved + lu_solve(A, rhs - A @ solved)
        alpha[free], bias = solved[:k], solved[k]
    else:  # only an interval of biases is determined: libsvm takes its middle
        ends = y - (Q * np.outer(y, y)) @ (alpha * y)
        from_below = lower == (y > 0)
        pair = [
            int(np.argmax(np.where(from_below, ends, -np.inf))),
            int(np.argmin(np.where(from_below, np.inf, ends))),
        ]
        bias = ends[pair].mean()
    slope = Q @ alpha - 1 + bias * y
    slack = np.where(free, np.minimum(alpha, C - alpha), np.where(upper, -slope, slope))

    cross = kernel.gram(x_val, x)
    decision = cross @ (alpha * y) + bias
    hinge = 1 - y_val * decision
    pull = np.where(hinge > 0, -y_val, L(0)) / len(y_val)  # d value / d decision
    in_alpha = y * (cross.T @ pull)
    other, in_sum = np.zeros_like(alpha), L(0)
    if k:
        v = lu_solve(A, np.append(in_alpha[free], pull.sum()))
        other[free], in_sum = v[:k] * y[free], v[k]
    else:
        other[pair] = pull.sum() / 2
    coef = alpha * y

    rows = []
    for c in range(len(x) - poison, len(x)):
        through_val = coef[c] * (pull @ kernel.first(x[c], x_val))
        first = kernel.first(x[c], x)
        rows.append(through_val - other[c] * (coef @ first) - coef[c] * (other @ first))
    at_C = np.where(upper, y, 0)
    in_C = in_alpha[upper].sum() - other @ kernel.gram(x, x) @ at_C - in_sum * at_C.sum()
    value = np.maximum(hinge, 0).mean()
    condition = float(np.linalg.cond(A.astype(float))) if k else 1.0
    return Exact(value, np.array(rows), in_C, alpha, bias, float(slack.min()), condition)
