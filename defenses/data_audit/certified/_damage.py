"""The certificate: an upper bound of what any attack within a reach adds to the test error."""

import dataclasses

import numpy as np
from jaxtyping import Float

from bilevel import Data
from bilevel.learners import AbstractLearner, Logistic, Ridge

from ._displacement import Displacement, inverse, logistic, quadratic
from ._reach import Inserted, Insertions, Mixed, Mixtures, Relabelled, Tilts, tops

SLACK = 1e-7
"""Of decisions, in their units: other solvers stop this near to the solution."""
WIDEST = 2000
"""Features of a table that is certified: matrices of this size are inverted."""


@dataclasses.dataclass(frozen=True)
class Certified:
    """What no attack of `count` rows exceeds, on the test rows.

    - `error`: rise of the share of test rows that are read wrongly; None for a regression.
    - `loss`: rise of the mean loss, log(1 + exp(-y f)) or (y - f)^2.
    - `clean_error`, `clean_loss`: of the model of the clean rows.
    """

    count: int
    error: float | None
    loss: float
    clean_error: float | None
    clean_loss: float


def certify_damage(
    learner: AbstractLearner,
    train: Data,
    test: Data,
    count: int,
    reach: Inserted | Relabelled | Mixed,
) -> Certified | None:
    """The most that `count` rows within the reach can do to a model that is judged on `test`.

    None if there is no certificate: for other learners than `Ridge` and `Logistic`, for more than
    2,000 features, for features that are dependent in float64 under too weak a penalty, and if
    the attacker can move the model without limit.

    The learner's strengths are those of the clean rows: of the sum of the losses, as scikit-learn
    counts them, l2 times the sum of the weights, also where the attacker adds rows. The bound is
    that of the local geometry of the training (strong convexity, refined by the Hessian), with
    rounding added.

    Raises `ValueError` for `count` < 0.
    """
    if count < 0:
        raise ValueError(f"count: got {count}, expected a number of rows >= 0")
    known = isinstance(learner, Ridge | Logistic)
    if not known or train.x.ndim != 2 or train.x.shape[1] > WIDEST:
        return None
    try:
        fit = Fit(learner, train)
        moved = fit.moved(count, reach)
    except np.linalg.LinAlgError:  # singular in float64
        return None
    if moved is None:
        return None
    rows, y = _augmented(test.x), np.asarray(test.y, float)
    weight = np.asarray(test.weight, float) / float(np.sum(np.asarray(test.weight)))
    f = rows @ fit.theta
    if isinstance(learner, Logistic):
        error, loss = _of_margins(moved, rows, y, f, weight)
        return Certified(count, error, loss, float(weight @ (y * f <= 0)), _log_loss(y * f, weight))
    error = None
    if set(np.unique(y)) <= {-1.0, 1.0}:
        error = _errors(moved, rows, y, f, weight)
        clean_error = float(weight @ (y * f <= 0))
    else:
        clean_error = None
    loss = _squares(moved, rows, f - y, weight)
    return Certified(count, error, loss, clean_error, float(weight @ (f - y) ** 2))


class Fit:
    """The clean training, solved: `theta` = (w, b), and what moves it."""

    def __init__(self, learner: Ridge | Logistic, train: Data):
        self.a, self.y = _augmented(train.x), np.asarray(train.y, float)
        self.weight = np.asarray(train.weight, float)
        total = float(self.weight.sum())
        strengths = np.full(self.a.shape[1], float(learner.l2))
        strengths[-1] = float(learner.l2_bias)
        self.penalty = np.diag(strengths) * total
        self.squared = isinstance(learner, Ridge)
        self.theta = self._solution()

    def _slopes(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivatives of the losses of the rows in their decisions."""
        f = self.a @ theta
        if self.squared:
            return self.weight * (f - self.y), self.weight
        share = _sigmoid(-self.y * f)
        return -self.weight * self.y * share, self.weight * share * (1 - share)

    def _solution(self) -> np.ndarray:
        theta = np.zeros(self.a.shape[1])
        for _ in range(100):
            slope, curvature = self._slopes(theta)
            gradient = self.a.T @ slope + self.penalty @ theta
            hessian = (self.a.T * curvature) @ self.a + self.penalty
            step = np.linalg.solve(hessian, gradient)
            drop, size = gradient @ step, 1.0
            if drop <= 1e-22 * (1 + abs(self._value(theta))):
                break
            while size > 1e-9 and self._value(theta - size * step) > self._value(theta) - (
                0.1 * size * drop
            ) * (drop > 1e-12):
                size /= 2
            theta = theta - size * step
        return theta

    def _value(self, theta: np.ndarray) -> float:
        f = self.a @ theta
        each = (f - self.y) ** 2 / 2 if self.squared else np.logaddexp(0, -self.y * f)
        return float(self.weight @ each + theta @ self.penalty @ theta / 2)

    def moved(self, count: int, reach: Inserted | Relabelled | Mixed) -> Displacement | None:
        """How far the attack moves the solution."""
        slope, curvature = self._slopes(self.theta)
        start = self.a.T @ slope + self.penalty @ self.theta
        hessian = (self.a.T * curvature) @ self.a + self.penalty
        if isinstance(reach, Relabelled):
            changes, most = self._tilts(count, reach.targets), np.inf
        elif isinstance(reach, Inserted):
            changes, most = self._insertions(count, reach)
        else:
            changes, most = self._mixtures(count, reach.inserted, hessian)
        if self.squared:
            return quadratic(hessian, start, changes, most)
        return logistic(self.a, curvature, self.penalty, start, changes)

    def _tilts(self, count: int, targets: tuple[float, float]) -> Tilts:
        low, high = min(targets), max(targets)
        if self.squared:
            tilt = self.weight * (self.y - high), self.weight * (self.y - low)
        else:  # a flip adds y a to the gradient, wherever the solution is
            tilt = (np.minimum(self.weight * self.y, 0), np.maximum(self.weight * self.y, 0))
        return Tilts(self.a, *tilt, count)

    def _insertions(self, count: int, reach: Inserted) -> tuple[Insertions, float]:
        """The changes of the gradient; under square loss, too, the bound |d| <= |r| / 2 in the
        Hessian, where r are the residuals of the rows at the clean solution.

        With Phi their rows and K = Phi P Phi', d = -P Phi'(1 + K)^-1 r, and singular values s of
        Phi P^1/2 give s / (1 + s^2) <= 1/2.
        """
        rows = reach.rows()
        if not self.squared:
            return Insertions(rows, 1.0, count), np.inf
        low, high, theta = min(reach.targets), max(reach.targets), self.theta[None]
        residual = max(float(rows.highest(theta)[0]) - low, float(rows.highest(-theta)[0]) + high)
        return Insertions(rows, residual, count), 0.5 * count**0.5 * residual

    def _mixtures(self, count: int, reach: Inserted, hessian: np.ndarray) -> tuple[Mixtures, float]:
        """The same of k tilts and count - k insertions.

        With t the tilts, |P^1/2 t| <= T_k, the residuals end at (1 + K)^-1 (r - Phi P t), at most
        |r| + T_k / 2, and d = -P^1/2 ((1 + P^1/2 Phi'Phi P^1/2)^-1 P^1/2 t + ...) is at most
        T_k + |r| / 2 in the Hessian.
        """
        tilts, (insertions, _) = self._tilts(count, reach.targets), self._insertions(count, reach)
        left = count - np.arange(count + 1.0)
        sums, most = left * insertions.scale, np.inf
        if self.squared:
            pushed = tops(tilts.sizes(inverse(hessian)[1])[None], count)[0]
            sums = sums + np.sqrt(left) * pushed / 2
            most = float(np.max(pushed + np.sqrt(left) * insertions.scale / 2))
        return Mixtures(tilts, insertions.rows, sums), most


def _of_margins(
    moved: Displacement, rows: np.ndarray, y: np.ndarray, f: np.ndarray, weight: np.ndarray
) -> tuple[float, float]:
    """Rises of error and of log loss."""
    signed, margin = rows * y[:, None], y * f
    back, forth = moved.along(-signed) + SLACK, moved.along(signed) + SLACK
    now, high, low = (_softplus(-m) for m in (margin, margin - back, margin + forth))
    rise = _chord(moved, signed, low - now, high - now, back, forth, weight)
    rise = min(rise, float(weight @ (high - now)))
    return _errors(moved, rows, y, f, weight), max(rise, 0.0) + SLACK


def _chord(
    moved: Displacement,
    rows: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    back: np.ndarray,
    forth: np.ndarray,
    weight: np.ndarray,
) -> float:
    """Upper bound of a sum of convex functions of the moves -back <= rows d <= forth, whose values
    at these ends are `high` and `low`: the chords are linear in d.
    """
    width = np.maximum(back + forth, 1e-300)
    slope = (high - low) / width
    level = low + slope * forth
    return float(weight @ level + moved.along(-((weight * slope) @ rows)[None])[0])


def _errors(
    moved: Displacement, rows: np.ndarray, y: np.ndarray, f: np.ndarray, weight: np.ndarray
) -> float:
    """Rise of the share of errors. A row can only become wrong if it can move so far by itself;
    the squares of the margins that are passed sum to at most that of the whole move; and the
    steps at zero are below linear functions, whose sum moves at most as far as one direction.
    """
    signed, margin = rows * y[:, None], y * f
    right = margin > 0
    back, forth = moved.along(-signed) + SLACK, moved.along(signed) + SLACK
    able = right & (margin <= back)
    bounds = [float(weight @ able)]
    if np.any(able):
        least = np.sort(margin[able] ** 2)
        count = int(np.sum(np.cumsum(least) <= (moved.norm(rows[right]) + SLACK * len(y)) ** 2))
        bounds.append(float(np.sort(weight[able])[::-1][:count].sum()))
        slope = weight[able] / (margin[able] + forth[able])
        bounds.append(float(slope @ forth[able] + moved.along(-(slope @ signed[able])[None])[0]))
    return min(bounds)


def _squares(
    moved: Displacement, rows: np.ndarray, residual: np.ndarray, weight: np.ndarray
) -> float:
    """Rise of the mean square: 2 e'W t d + |t d|^2."""
    root = np.sqrt(weight)
    norm = moved.norm(rows * root[:, None])
    linear = moved.along(2 * ((weight * residual) @ rows)[None])[0]
    rise = min(linear, 2 * np.linalg.norm(root * residual) * norm) + norm**2
    return max(float(rise), 0.0) + SLACK * (1 + float(weight @ residual**2))


def _augmented(x) -> Float[np.ndarray, "n p"]:
    x = np.asarray(x, float)
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -z))


def _softplus(z: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, z)


def _log_loss(margin: np.ndarray, weight: np.ndarray) -> float:
    return float(weight @ _softplus(-margin))
