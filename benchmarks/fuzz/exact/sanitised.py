"""What defenses keep of the rows, in extended precision: hard choices, which are compared, and soft
shares, which are analytic in the rows and weights.
"""

from collections.abc import Callable

import numpy as np

from .arithmetic import Exact, condition, solve, wide

NEIGHBOURS, AGREEMENT, UNTURNED, BALANCE = 10, 0.9, 0.9, 0.8
"""The defaults of the defenses."""


def _classes(y: np.ndarray, used: np.ndarray) -> list[np.ndarray]:
    """The rows of each class, used or not; all of them if the labels are numbers."""
    if np.all(np.abs(y[used]) == 1):
        return [y == label for label in (-1, 1)]
    return [np.ones_like(used)]


def _least(of_class: np.ndarray, used: np.ndarray, share: float) -> float:
    """Rows of a class that keeps `BALANCE` of the share of the others, if all keep `share`."""
    size, rows = (of_class & used).sum(), used.sum()
    return 0 if size == rows else BALANCE * share * size / (1 - (1 - BALANCE) * size / rows)


def _same(score: np.ndarray, one: np.ndarray, other: np.ndarray, used: np.ndarray) -> bool:
    """Whether two sets of rows used have the same scores, up to ties."""
    a, b = np.sort(score[one & used]), np.sort(score[other & used])
    top = np.max(np.abs(score[used]), initial=0)
    return a.size == b.size and bool(np.all(np.abs(a - b) <= 1e-9 * top))


def _first(score: np.ndarray, among: np.ndarray, count: int) -> np.ndarray:
    """The `count` rows of least score among those of a mask."""
    rows = np.flatnonzero(among)
    chosen = np.zeros(among.size, bool)
    chosen[rows[np.argsort(score[rows], kind="stable")][: max(count, 0)]] = True
    return chosen


def trimmed(score, y, weight, kept, share: float) -> bool:
    """Whether `kept` are the rows of least score, with the quota of each class."""
    used = weight > 0
    count = max(int(np.round((1 - share) * used.sum())), 1)
    quota = np.zeros(used.size, bool)
    for of_class in _classes(y, used):
        least = int(np.ceil(_least(of_class, used, 1 - share) - 1e-3))
        quota |= _first(score, of_class & used, max(least, 1))
    chosen = quota | _first(score, used & ~quota, count - int(quota.sum()))
    return _same(score, chosen, kept, used)


def _spheres(x, y, weight):
    """Per class: its rows, and all rows' squared distances from its weighted mean."""
    x, weight = wide(x), wide(weight)
    for label in (-1, 1):
        inside = y == label
        mass = np.where(inside, weight, 0)
        yield inside, np.sum((x - mass @ x / np.sum(mass)) ** 2, axis=1)


def filtered(x, y, weight, kept, share: float) -> bool:
    """Whether `kept` are the rows nearest to the means of their classes."""
    for inside, score in _spheres(x, y, weight):
        used = inside & (weight > 0)
        count = max(int(np.round((1 - share) * used.sum())), 1)
        if not _same(score, _first(score, used, count), kept, used):
            return False
    return True


def _votes(x, weight) -> np.ndarray:
    """Which others are no further from a row than the nearest that weigh `NEIGHBOURS` together."""
    x, weight = np.real(wide(x)), np.real(wide(weight))
    square = np.sum((x - np.mean(x, axis=0)) ** 2, axis=1)
    apart = np.sum((x[:, None] - x[None]) ** 2, axis=2)
    np.fill_diagonal(apart, np.inf)
    order = np.argsort(apart, axis=1)
    heavy = np.cumsum(weight[order], axis=1) >= NEIGHBOURS * (1 - 1e-6)
    last = np.where(heavy.any(axis=1), heavy.argmax(axis=1), len(x) - 2)
    radius = np.sort(apart, axis=1)[np.arange(len(x)), last]
    tie = 1e-14 * (square[:, None] + square[None])
    return (apart <= radius[:, None] + tie) & np.isfinite(apart)


def _lead(x, y, weight) -> np.ndarray:
    near, weight = _votes(x, weight), wide(weight)
    votes = near @ weight
    return (near @ (weight * y)) / np.where(np.real(votes) > 0, votes, 1)


def _floors(against, agreed, used, y) -> np.ndarray:
    """Of each row the score, 0 to 1, up to which the quota of its class keeps a label; -1: none."""
    floor = np.full(against.size, -1, against.dtype)
    for label in (-1, 1):
        mine, others = used & (y == label), used & (y != label)
        part = (agreed & others).sum() / max(others.sum(), 1)
        least = max(int(np.ceil(UNTURNED * part * mine.sum() - 1e-3)), 1)
        if (agreed & mine).sum() < least and mine.any():
            rows = np.flatnonzero(mine)
            rows = rows[np.argsort(np.real(against[rows]), kind="stable")]
            floor[y == label] = against[rows[min(least, rows.size) - 1]]
    return floor


def relabelled(x, y, weight, labels) -> bool:
    """Whether the rows used have the labels of most of their neighbours, where enough agree."""
    used = weight > 0
    lead = _lead(x, y, weight)
    decided = (0.5 + np.abs(lead) / 2 >= AGREEMENT - 1e-6) & (np.abs(lead) > 1e-6)
    winner = np.where(lead > 0, 1, -1)
    against = 0.5 - 0.5 * y * lead
    agreed = used & ~(decided & (winner != y))
    stays = agreed | (used & (against <= _floors(against, agreed, used, y) + 1e-13))
    expected = np.where(decided & ~stays, winner, y)
    return bool(np.all((expected == labels)[used]))


def soft_relabel(x, y, weight) -> tuple[np.ndarray, np.ndarray]:
    """(labels, shares of the weights)."""
    used, lead = np.real(weight) > 0, _lead(x, y, weight)
    demanded = 2 * AGREEMENT - 1
    against = 0.5 - 0.5 * y * lead
    agreed = used & (np.real(against) <= 0.5 + 0.5 * demanded)
    more = 2 * _floors(against, agreed, used, y) - 1
    demanded = np.where(np.real(more) > demanded, more, demanded)
    balance = lead + demanded * y + np.longdouble(0.5) / NEIGHBOURS * y
    label = np.where(np.real(balance) < 0, -1, 1)
    return label, balance * label


def _sigmoid(a):
    with np.errstate(over="ignore", invalid="ignore"):
        return 1 / (1 + np.exp(-a))


def _threshold(height, mass, count, sharpness, lowest):
    """T with sum mass sigmoid(sharpness (max(t, lowest) - height)) = count."""

    def excess(t, height, lowest):
        top = np.where(np.real(lowest) > np.real(t), lowest, t)
        return np.sum(mass * _sigmoid(sharpness * (top - height))) - count

    hard, floor = np.real(height), np.real(lowest)
    some = hard[(mass > 0) & (np.abs(hard) < 1e3)]
    some = some if some.size else np.zeros(1)  # no row has a loss
    low, high = some.min() - 40 / sharpness, some.max() + 40 / sharpness
    for _ in range(70):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle, hard, floor) < 0 else (low, middle)
    t = (low + high) / 2
    share = _sigmoid(sharpness * (t - height))
    slope = sharpness * np.sum(np.where(t > floor, mass, 0) * share * (1 - share))
    return t - excess(t, height, lowest) / slope if slope != 0 else t


def soft_lowest(score, used, count, sharpness, classes=(), least=()) -> np.ndarray:
    """Shares 1 / (1 + (score / threshold)^sharpness) that sum to `count` over the rows used, and
    to `least` at least over those of each class.
    """
    some = np.real(score) > 0
    height = np.where(some, np.log(np.where(some, score, 1)), -np.longdouble(1e3))
    lowest = np.full(height.shape, -np.longdouble(1e3)).astype(height.dtype)
    for of_class, number in zip(classes, least, strict=True):
        if number > 0:
            alone = np.full_like(lowest, -1e3)
            mass = (of_class & used) * 1.0  # a row of weight zero has the threshold of its class
            lowest[of_class] = _threshold(height, mass, number, sharpness, alone)
    t = _threshold(height, used * 1.0, count, sharpness, lowest)
    top = np.where(np.real(lowest) > np.real(t), lowest, t)
    return _sigmoid(sharpness * (top - height))


def soft_filter(x, y, weight, contamination: float) -> np.ndarray:
    """Shares of the weights."""
    share = np.zeros(len(y), wide(x).dtype)
    for inside, score in _spheres(x, y, weight):
        used = inside & (np.real(weight) > 0)
        share[inside] = soft_lowest(score, used, (1 - contamination) * used.sum(), 8)[inside]
    return share


class SoftTrim:
    """Models of weights times shares, where the shares are a fixed point of training and sharing:
    by Newton's method from `near`, our weights times shares.
    """

    def __init__(self, loss: Callable[..., np.ndarray], contamination: float, near: np.ndarray):
        self.loss, self.contamination, self.near = loss, contamination, near
        self.matrix: np.ndarray | None = None  # at `near`, where the first call comes close to

    def __call__(self, train: Callable[[np.ndarray], Exact], x, y, weight) -> Exact:
        used = np.real(weight) > 0
        classes = _classes(y, used)
        kept = 1 - self.contamination
        least = [_least(of_class, used, kept) for of_class in classes]

        def again(share):
            score = self.loss(y, train(weight * share).decision(x))
            return soft_lowest(score, used, kept * used.sum(), 2, classes, least)

        share = again(np.where(used, self.near / np.where(used, np.real(weight), 1), 1))
        if self.matrix is None:
            self.matrix = _less_identity(again, np.real(share))
        for _ in range(3):
            share = share + solve(self.matrix.astype(share.dtype), again(share) - share)
        end = train(weight * share)
        return end._replace(condition=max(end.condition, condition(self.matrix)))


def _less_identity(again: Callable[[np.ndarray], np.ndarray], at: np.ndarray) -> np.ndarray:
    """The identity less the Jacobian, by complex steps."""
    step, at = np.longdouble(1e-60), at.astype(np.clongdouble)
    still = np.imag(again(at))  # not zero where the table that `again` holds has a step of its own
    columns = [(np.imag(again(at + 1j * step * e)) - still) / step for e in np.eye(at.size)]
    return np.eye(at.size) - np.array(columns).T
