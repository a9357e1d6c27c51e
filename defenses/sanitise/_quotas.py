"""What every class keeps, whatever its rows are judged by. Written for NumPy's and JAX's arrays
alike: the estimators select by the same functions.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel import Data
from bilevel.losses import CrossEntropy

BALANCE = 0.8
"""A class keeps this part, at least, of the share that the other classes together keep: so no class
is lost, and one that holds all of the poison can still lose more than the others.
"""


class Quota(NamedTuple):
    """`least` (n,): how many rows of each row's class are kept at least. `group` (n,): the class
    of each row, a number.
    """

    least: Any
    group: Any


def class_of(data: Data, loss: Any) -> Float[Array, " n"]:
    """The class of each row, a number; all zero if the labels are targets of a regression. Labels
    are classes if the loss is the cross-entropy, or if all that count are -1 or +1.
    """
    y = data.targets()
    if isinstance(loss, CrossEntropy):
        return y
    signs = jnp.all((jnp.abs(y) == 1) | (data.weight == 0))
    return jnp.where(signs, y, 0)


def quota(group: Any, among: Any, share: Any, balance: Any) -> Quota:
    """How many rows each class keeps at least when this share of all rows of a mask (n,) is kept:
    `balance` times the share of the other classes together, rounded up, and one row.
    """
    xp = group.__array_namespace__()
    least = xp.ceil(_least(class_size(group, among), among, share, balance) - 1e-3)
    least = xp.where(least > 1, least, xp.ones_like(least))
    return Quota(xp.astype(least, xp.int32), group)


def least_mass(group: Any, among: Any, share: Any, balance: Any) -> Quota:
    """The quota of shares, which need not be whole: in the precision of the groups."""
    size = class_size(group, among).astype(group.dtype)
    return Quota(_least(size, among, share, balance), group)


def _least(size: Any, among: Any, share: Any, balance: Any) -> Any:
    """Rows (n,), in the precision of the class sizes (n,): r n_c for the class's share r of its n_c
    rows, if all n rows keep `share` and the n - n_c others keep r / balance; none where there are
    no others.
    """
    xp = size.__array_namespace__()
    rows = xp.sum(among, dtype=size.dtype)
    part = size / xp.where(rows > 0, rows, 1)
    least = xp.astype(xp.asarray(balance * share), size.dtype) * size / (1 - (1 - balance) * part)
    return xp.where(size < rows, least, xp.zeros_like(size))


def first_of(group: Any, among: Any) -> Any:
    """Of each row (n,), how many rows of a mask have a class of lower number: the same number for
    the rows of a class, and the place of its first one when those rows are sorted by class.
    """
    xp = group.__array_namespace__()
    return xp.astype(xp.searchsorted(_sorted(group, among), group), xp.int32)


def floor_scores(score: Any, kept: Any, among: Any, group: Any, balance: Any) -> Any:
    """Scores (n,) up to which a row is kept by the quota of its class: `balance` times the share
    that is `kept` (a mask) of the other classes together, and one row. -inf in a class that keeps
    as many by itself.
    """
    xp = score.__array_namespace__()
    size, held = class_size(group, among), class_size(group, kept)
    others = xp.sum(among, dtype=size.dtype) - size
    part = (xp.sum(kept, dtype=size.dtype) - held) / xp.where(others > 0, others, 1)
    least = xp.ceil(balance * part * size - 1e-3)
    least = xp.where(least > 1, least, xp.ones_like(least))
    ordered = score[xp.lexsort((score, group, ~among))]
    last = first_of(group, among) + xp.astype(least, xp.int32) - 1
    last = xp.clip(last, 0, score.shape[0] - 1)
    return xp.where(held < least, ordered[last], xp.full_like(score, -xp.inf))


def by_quota(score: Any, kept: Any, among: Any, group: Any, balance: Any) -> Any:
    """Rows `kept`, a mask (n,), and those of least score (n,) that the quota of their class adds;
    scores that differ by rounding are equal.
    """
    xp = score.__array_namespace__()
    floor = floor_scores(score, kept, among, group, balance)
    # The row at the floor itself is one, however the sum is rounded: a certificate rounds coarsely.
    low = (score <= floor) | (score <= floor + 64 * xp.finfo(score.dtype).eps)
    return kept | (among & low)


def _sorted(group: Any, among: Any) -> Any:
    xp = group.__array_namespace__()
    return xp.sort(xp.where(among, group, xp.full_like(group, xp.inf)))


def class_size(group: Any, among: Any) -> Any:
    """How many rows of a mask are of each row's class (n,)."""
    xp = group.__array_namespace__()
    rows = _sorted(group, among)
    many = xp.searchsorted(rows, group, side="right") - xp.searchsorted(rows, group)
    return xp.astype(many, xp.float32)  # exact up to 16 million rows
