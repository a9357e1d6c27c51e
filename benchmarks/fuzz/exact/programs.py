"""Quadratic and nonlinear programs on a given active set."""

from typing import NamedTuple

import numpy as np

from .arithmetic import condition, solve, wide


class Solved(NamedTuple):
    """A point with its multipliers, on an active set; slack and condition as those of `Exact`."""

    x: np.ndarray
    equal: np.ndarray
    unequal: np.ndarray
    slack: float
    condition: float


def _bordered(H, N):
    """[[H, N'], [N, 0]]."""
    k = len(N)
    return np.block([[H, N.T], [N, np.zeros((k, k), N.dtype)]])


def _lengths(rows):
    length = np.sqrt(np.sum(np.real(rows) ** 2, axis=1))
    return np.where(length > 0, length, 1)


def _slack(gradient, rows, lam, distance, terms, active) -> float:
    """The multipliers of active rows, and the distances of others, beside their terms."""
    steep = np.max(np.abs(gradient))
    force = np.real(lam) * _lengths(rows) / (steep if steep > 0 else 1)
    gap = np.real(distance) / np.where(terms > 0, terms, 1)
    return float(np.min(np.where(active, force, gap), initial=np.inf))


def qp(Q, q, A, b, G, h, active) -> Solved:
    """Of 1/2 x'Qx + q'x  s.t.  Ax = b, Gx <= h, of which the `active` rows hold with equality."""
    Q, q, A, b, G, h = (wide(a) for a in (Q, q, A, b, G, h))
    n, p = len(q), len(b)
    rows = np.concatenate([A, G[active]])
    size = _lengths(rows)
    matrix = _bordered(Q, rows / size[:, None])
    rhs = np.concatenate([-q, np.concatenate([b, h[active]]) / size])
    found = solve(matrix, rhs)
    x, y = found[:n], found[n:] / size
    lam = np.zeros(len(h), y.dtype)
    lam[active] = y[p:]
    gradient = np.abs(np.real(Q)) @ np.abs(np.real(x)) + np.abs(np.real(q))
    terms = np.abs(np.real(G)) @ np.abs(np.real(x)) + np.abs(np.real(h))
    slack = _slack(gradient, G, lam, h - G @ x, terms, active)
    return Solved(x, y[:p], lam, slack, condition(matrix))


def box_qp(Q, q, lower, upper, e, b, at_lower, at_upper) -> Solved:
    """Of 1/2 x'Qx + q'x  s.t.  lower <= x <= upper, e'x = b, with variables at their bounds. A
    pinned variable (lower = upper) follows the bound that it presses against.
    """
    Q, q, lower, upper, e, b = (wide(a) for a in (Q, q, lower, upper, e, b))
    pinned = np.real(lower) >= np.real(upper)
    up = at_upper & ~pinned
    free = ~(at_lower | at_upper | pinned)
    k = int(free.sum())
    matrix = _bordered(Q[np.ix_(free, free)], e[free][None])

    def at(up):
        x = np.where(up, upper, np.where(free, 0, lower)) + 0 * (q + b)
        found = solve(matrix, np.append(-q[free] - Q[free] @ x, b - e @ x))
        x[free] = found[:k]
        return x, found[k:], np.real(Q @ x + q + found[k] * e)

    *_, slope = at(up)
    up = up | (pinned & (slope < 0))
    x, nu, slope = at(up)
    below, above = np.real(x) - np.real(lower), np.real(upper) - np.real(x)
    size = np.where(np.isfinite(below + above), below + above, np.abs(x))
    inside = np.minimum(below, above) / np.where(size > 0, size, 1)
    steep = np.max(np.abs(np.real(Q)) @ np.abs(x) + np.abs(q))
    held = np.where(pinned, np.abs(slope), np.where(up, -slope, slope)) / steep
    slack = float(np.min(np.where(free, inside, held)))
    return Solved(x, nu, nu[:0], slack, condition(matrix))


def logistic_in_a_ball(x, y, share, l2, q, a, b, G, h, radius, start, active, steps=6) -> Solved:
    """Of sum share log(1 + exp(-y x'w)) + l2/2 |w|^2 + q'w  s.t.  a'w = b, Gw <= h, and last
    |w|^2 <= radius^2; `start` is (w, nu, lam) in double precision.
    """
    x, share, l2, q, a, b, G, h, radius = (wide(c) for c in (x, share, l2, q, a, b, G, h, radius))
    n, moves = x.shape[1], 0 * (l2 + b + h[0] + radius)
    w, nu, lam = (wide(part) + moves for part in start)
    lam = np.where(active, lam, 0)
    for step in range(steps):
        p = 1 / (1 + np.exp(y * (x @ w)))
        gradient = l2 * w + q - x.T @ (share * p * y)
        rows = np.concatenate([G, 2 * w[None]])
        excess = np.append(G @ w - h, w @ w - radius**2)
        H = x.T @ ((share * p * (1 - p))[:, None] * x) + (l2 + 2 * lam[-1]) * np.eye(n)
        N = np.concatenate([a[None], rows[active]])
        size = _lengths(N)
        matrix = _bordered(H, N / size[:, None])
        left = gradient + nu * a + rows.T @ lam
        unmet = np.append(a @ w - b, excess[active]) / size
        move = solve(matrix, -np.concatenate([left, unmet]))
        w = w + move[:n]
        y_move = move[n:] / size
        nu = nu + y_move[0]
        lam = lam + 0 * nu
        lam[active] = lam[active] + y_move[1:]
        if step == steps - 1:
            terms = np.append(np.abs(np.real(G)) @ np.abs(w) + np.abs(h), 2 * np.abs(radius) ** 2)
            slack = _slack(np.abs(np.real(gradient)), rows, lam, -excess, np.real(terms), active)
            return Solved(w, np.array([nu]), lam, slack, condition(matrix))
    raise ValueError("steps: expected one at least")
