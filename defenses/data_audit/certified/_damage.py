"""The certificate: an upper bound of what any attack within a reach adds to the test error."""

import dataclasses

import numpy as np

from bilevel import Data
from bilevel.learners import AbstractLearner, Logistic, Ridge

from ._displacement import Displacement
from ._fit import Fit, augmented
from ._reach import Inserted, Mixed, Relabelled

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
    rows, y = augmented(test.x), np.asarray(test.y, float)
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


def _softplus(z: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, z)


def _log_loss(margin: np.ndarray, weight: np.ndarray) -> float:
    return float(weight @ _softplus(-margin))
