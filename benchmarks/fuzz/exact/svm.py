"""The support vector machine on a given active set."""

import numpy as np

from .arithmetic import Exact, condition, solve, wide


def linear(a, b):
    """k(a, b) = a'b."""
    return a @ b.T


def rbf(gamma):
    """exp(-gamma |a - b|^2)."""
    gamma = np.longdouble(gamma)
    return lambda a, b: np.exp(-gamma * np.sum((a[:, None] - b[None]) ** 2, axis=2))


def polynomial(gamma, degree):
    """(gamma a'b + 1)^degree."""
    gamma = np.longdouble(gamma)
    return lambda a, b: (gamma * (a @ b.T) + 1) ** degree


def svm(kernel, x, y, weight, C, lower, upper) -> Exact:
    """The rows `lower` have alpha = 0, `upper` C weight, and the others lie on the margin."""
    x, y, weight, C = wide(x), wide(y), wide(weight), wide(C)
    # with a linear kernel a shift of the rows changes the bias alone
    x_0 = np.mean(np.real(x), axis=0) * (kernel is linear)
    x = x - x_0
    free = ~(lower | upper)
    Q = kernel(x, x) * np.outer(y, y)
    bound = C * weight
    k = int(free.sum())
    alpha = np.where(upper, bound, 0 * bound)
    if k == 0:  # an interval of biases: the middle is the convention
        ends = y - (Q * np.outer(y, y)) @ (alpha * y)
        from_below = lower == (np.real(y) > 0)
        active = np.real(weight) > 0
        low = np.argmax(np.where(from_below & active, np.real(ends), -np.inf))
        high = np.argmin(np.where(~from_below & active, np.real(ends), np.inf))
        bias, cond = (ends[low] + ends[high]) / 2, np.inf
    else:
        A = np.zeros((k + 1, k + 1), Q.dtype)
        A[:k, :k], A[:k, k], A[k, :k] = Q[np.ix_(free, free)], y[free], y[free]
        rhs = np.append(1 - Q[free] @ alpha, -(y @ alpha))
        solved = solve(A, rhs)
        alpha[free], bias, cond = solved[:k], solved[k], condition(A)
    slope = np.real(Q @ alpha - 1 + bias * y)
    terms = 1 + np.abs(Q) @ np.abs(alpha)
    real = np.real(bound)
    inside = np.minimum(np.real(alpha), real - np.real(alpha)) / np.where(real > 0, real, 1)
    slack = np.where(free, inside, np.where(upper, -slope, slope) / terms)
    slack = np.where(real > 0, slack, np.inf)
    coef = alpha * y

    def decision(at):
        return kernel(wide(at) - x_0, x) @ coef + bias

    return Exact(decision, float(np.min(slack)), cond)
