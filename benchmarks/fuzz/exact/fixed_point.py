"""Fixed points, by Newton's method."""

import numpy as np

from .arithmetic import condition, solve, wide


def ridge(A, b, strength):
    """(w, condition) with Aw + strength w = b: the fixed point of gradient descent."""
    matrix = wide(A) + wide(strength) * np.eye(len(b))
    return solve(matrix, wide(b)), condition(matrix)


def network(M, c, start, steps=6):
    """(w, condition) with w = tanh(Mw + c), from a start in double precision."""
    M, c = wide(M), wide(c)
    w, J = wide(start) + 0 * c + 0 * M[0, 0], np.eye(len(c))
    for _ in range(steps):
        f = np.tanh(M @ w + c)
        J = np.eye(len(c)) - (1 - f**2)[:, None] * M
        w = w - solve(J, w - f)
    return w, condition(J)
