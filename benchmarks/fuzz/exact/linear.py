"""Linear learners with a free bias, on a given active set or by Newton's method from close by."""

import numpy as np

from .arithmetic import Exact, condition, solve, wide


def _centred(x, y, weight):
    x, y, weight = wide(x), wide(y), wide(weight)
    share = weight / np.sum(weight)
    return x, y, share, share @ x


def _linear(w, bias, x_0, slack, A) -> Exact:
    return Exact(lambda at: (wide(at) - x_0) @ w + bias, slack, condition(A))


def ridge(x, y, weight, l2) -> Exact:
    """Ridge regression, by the normal equations of centred rows."""
    x, y, share, x_0 = _centred(x, y, weight)
    xc, y_0 = x - x_0, share @ y
    A = xc.T @ (share[:, None] * xc) + wide(l2) * np.eye(x.shape[1])
    w = solve(A, xc.T @ (share * (y - y_0)))
    return _linear(w, y_0, x_0, np.inf, A)


def huber(x, y, weight, l2, delta, near, sign) -> Exact:
    """`near` are the rows within delta; `sign` the signs of f - y of the others."""
    x, y, share, x_0 = _centred(x, y, weight)
    rows = np.concatenate([x - x_0, np.ones((len(x), 1))], axis=1)
    inner = np.where(near, share, 0)
    A = rows.T @ (inner[:, None] * rows)
    A[:-1, :-1] += wide(l2) * np.eye(x.shape[1])
    rhs = rows.T @ (inner * y - np.where(near, 0, share * wide(delta) * sign))
    w = solve(A, rhs)
    r = np.real(rows @ w - y)
    far = np.where(near, np.real(delta) - np.abs(r), sign * r - np.real(delta))
    slack = np.where(np.real(share) > 0, far / (np.abs(r) + np.real(delta)), np.inf)
    return _linear(w[:-1], w[-1], x_0, float(np.min(slack)), A)


def sparse(x, y, weight, l1, l2, sign) -> Exact:
    """LASSO and elastic net. `sign` of the weights: 0 for features that are out."""
    x, y, share, x_0 = _centred(x, y, weight)
    xc, y_0, l1, l2 = x - x_0, share @ y, wide(l1), wide(l2)
    on = sign != 0
    inside = xc[:, on]
    A = inside.T @ (share[:, None] * inside) + l2 * np.eye(int(on.sum()))
    w = np.zeros(x.shape[1], A.dtype)
    if on.any():
        w[on] = solve(A, inside.T @ (share * (y - y_0)) - l1 * sign[on])
    pull = np.real(xc.T @ (share * (y - y_0 - xc @ w)))
    large = np.real(sign * w)
    top = np.max(np.abs(large), initial=0)
    slack = np.where(on, large / (top if top > 0 else 1), 1 - np.abs(pull) / np.real(l1))
    return _linear(w, y_0, x_0, float(np.min(slack)), A)


def logistic(x, y, weight, l2, start, steps=4) -> Exact:
    """Labels -1 and +1. `start` has the weights and the bias of a solution in double precision."""
    x, y, share, x_0 = _centred(x, y, weight)
    rows = np.concatenate([x - x_0, np.ones((len(x), 1))], axis=1)
    u = wide(start) + 0 * rows[0]
    u[-1] += np.real(x_0) @ np.real(u[:-1])
    strengths = wide(l2) * np.append(np.ones(x.shape[1]), 0)
    A = np.diag(strengths)
    for _ in range(steps):
        p = 1 / (1 + np.exp(y * (rows @ u)))
        A = rows.T @ ((share * p * (1 - p))[:, None] * rows) + np.diag(strengths)
        u = u - solve(A, strengths * u - rows.T @ (share * p * y))
    return _linear(u[:-1], u[-1], x_0, np.inf, A)


def softmax(x, y, weight, l2, start, steps=4) -> Exact:
    """`y` are class numbers. `start` is (W (d, k), bias (k,)); the biases sum to zero."""
    W, bias = start
    k = len(bias)
    x, _, share, x_0 = _centred(x, y, weight)
    rows = np.concatenate([x - x_0, np.ones((len(x), 1))], axis=1)
    d = rows.shape[1]
    hot = np.eye(k)[np.asarray(y).astype(int)]
    u = np.concatenate([wide(W), (wide(bias) + np.real(x_0) @ wide(W))[None]]) + 0 * rows[0, 0]
    strengths = np.repeat(wide(l2) * np.append(np.ones(d - 1), 0), k)
    gauge = np.concatenate([np.zeros((d - 1) * k), np.ones(k)])
    A = np.diag(strengths)
    for _ in range(steps):
        f = rows @ u
        p = np.exp(f - np.max(np.real(f), axis=1, keepdims=True))
        p = p / np.sum(p, axis=1, keepdims=True)
        inner = share[:, None, None] * (p[:, :, None] * np.eye(k) - p[:, :, None] * p[:, None, :])
        A = np.einsum("nab,np,nq->paqb", inner, rows, rows).reshape(d * k, d * k)
        A = A + np.diag(strengths) + np.outer(gauge, gauge)
        slope = rows.T @ (share[:, None] * (p - hot)) + strengths.reshape(d, k) * u
        slope = slope.reshape(-1) + gauge * np.sum(u[-1])
        u = u - solve(A, slope).reshape(d, k)
    shift = np.mean(u[-1] - x_0 @ u[:-1])  # the biases of uncentred rows sum to zero

    def decision(at):
        return (wide(at) - x_0) @ u[:-1] + u[-1] - shift

    return Exact(decision, np.inf, condition(A))
