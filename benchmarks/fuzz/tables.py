"""Small random tables of the kinds that solvers and certificates find hard."""

from typing import NamedTuple

import numpy as np

ROWS, FEATURES, POISON, VALIDATION = 20, 4, 2, 10
WIDE = 30
"""Features of tables with more features than rows."""


class Table(NamedTuple):
    """Training rows, of which the last `POISON` are the attacker's, and validation rows.

    - `x` (n, d), `y` (n,) of -1 and +1, `weight` (n,). `x_val` (m, d), `y_val` (m,).
    - `strength`: a regularisation strength, as a factor of a usual one.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    strength: float


def _rows(rng, count, features):
    y = np.where(np.arange(count) % 2, 1.0, -1.0)
    return rng.normal(size=(count, features)) + 0.7 * y[:, None], y


def plain(rng, features=FEATURES) -> Table:
    """Two overlapping classes; labels and places of the poison are random."""
    x, y = _rows(rng, ROWS + POISON, features)
    x[ROWS:], y[ROWS:] = rng.normal(size=(POISON, features)), rng.choice([-1.0, 1.0], POISON)
    return Table(x, y, np.ones(len(y)), *_rows(rng, VALIDATION, features), 10 ** rng.uniform(-1, 1))


def weighted(rng) -> Table:
    """Weights over five orders of magnitude, some of them zero."""
    weight = 10 ** rng.uniform(-3, 2, ROWS + POISON)
    weight[rng.random(weight.size) < 0.1] = 0
    weight[:2] = 1  # rows of both classes
    return plain(rng)._replace(weight=weight)


def _twins(rng, apart: float) -> Table:
    table = plain(rng)
    twin = np.arange(ROWS) // 2 * 2
    twin = np.append(np.where(np.arange(ROWS) % 4 == 1, twin - (twin > 1), twin), [ROWS, ROWS + 1])
    x = table.x[twin]
    return table._replace(x=x + apart * rng.normal(size=x.shape), y=table.y[twin])


def duplicated(rng) -> Table:
    """Six of the clean rows, of one class, are copies of others."""
    return _twins(rng, 0.0)


def near_duplicated(rng) -> Table:
    """Copies moved by 1e-12 to 1e-6."""
    return _twins(rng, 10.0 ** rng.uniform(-12, -6))


def tied(rng) -> Table:
    """Integers: several rows may lie exactly on the margin."""
    table = plain(rng)
    return table._replace(x=np.round(2 * table.x), x_val=np.round(2 * table.x_val))


def one_hot(rng) -> Table:
    """Two binary columns, encoded: few different rows, collinear features."""
    table = plain(rng)

    def encode(x):
        return np.concatenate([np.eye(2)[(x[:, j] > 0).astype(int)] for j in range(2)], axis=1)

    return table._replace(x=encode(table.x), x_val=encode(table.x_val))


def offset(rng) -> Table:
    """Columns far from the origin: years, amounts, time stamps."""
    table = plain(rng)
    shift = 10.0 ** rng.uniform(1, 6, FEATURES)
    return table._replace(x=table.x + shift, x_val=table.x_val + shift)


def mixed_scales(rng) -> Table:
    """Columns in units eight orders of magnitude apart."""
    table = plain(rng)
    scale = 10.0 ** rng.uniform(-4, 4, FEATURES)
    return table._replace(x=table.x * scale, x_val=table.x_val * scale)


def weak(rng) -> Table:
    """Strengths of 1e-6 to 1e-2 of a usual one."""
    return plain(rng)._replace(strength=10.0 ** rng.uniform(-6, -2))


def strong(rng) -> Table:
    """Strengths of 1e2 to 1e6 of a usual one."""
    return plain(rng)._replace(strength=10.0 ** rng.uniform(2, 6))


def rank_deficient(rng) -> Table:
    """Four columns of rank two."""
    table, mix = plain(rng), rng.normal(size=(2, FEATURES))
    return table._replace(x=table.x[:, :2] @ mix, x_val=table.x_val[:, :2] @ mix)


def small(rng) -> Table:
    """Rows near the origin: kernels hardly tell them apart."""
    table, scale = plain(rng), 10.0 ** rng.uniform(-4, -1)
    return table._replace(x=scale * table.x, x_val=scale * table.x_val)


def saturated(rng) -> Table:
    """Rows far apart: kernels hardly relate them."""
    table, scale = plain(rng), 10.0 ** rng.uniform(0.5, 1.2)
    return table._replace(x=scale * table.x, x_val=scale * table.x_val)


def wide(rng) -> Table:
    """More features than rows."""
    return plain(rng, WIDE)


FAMILIES = {
    "plain": plain, "weighted": weighted, "duplicated": duplicated,
    "near-duplicated": near_duplicated, "tied": tied, "one-hot": one_hot, "offset": offset,
    "mixed-scales": mixed_scales, "weak": weak, "strong": strong,
    "rank-deficient": rank_deficient, "small": small, "saturated": saturated, "wide": wide,
}  # fmt: skip
REGULAR = ("plain", "weighted", "wide")
"""Families whose problems are regular with probability one."""
