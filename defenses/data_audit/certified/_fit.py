"""The clean training, and what an attacker's rows change of it."""

import numpy as np
from jaxtyping import Float

from bilevel import Data
from bilevel.learners import Logistic, Ridge

from ._displacement import Displacement, inverse, logistic, quadratic
from ._reach import Inserted, Insertions, Mixed, Mixtures, Relabelled, Tilts, tops


class Fit:
    """The clean training, solved: `theta` = (w, b), and what moves it.

    It is solved here, by Newton's method in NumPy: nothing is compiled for each shape, and the
    bound does not rest on the solver that it is about. The gradient that is left is counted.
    """

    def __init__(self, learner: Ridge | Logistic, train: Data):
        self.a, self.y = augmented(train.x), np.asarray(train.y, float)
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


def augmented(x) -> Float[np.ndarray, "n p"]:
    """Rows (x, 1)."""
    x = np.asarray(x, float)
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -z))
