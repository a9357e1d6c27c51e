"""The set of rows that an attacker may insert, and bounds of functions over it."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from threadpoolctl import ThreadpoolController

SHARPENED = 128
"""So many features: a bound of more is not sharpened, whose steps need eigenvectors."""
STEPS = 120


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Rows x (d,) within bounds, followed by a one for the bias: a = (x, 1).

    - `lower`, `upper` (d,): finite bounds of each feature.
    - `groups`: indices of features that form a one-hot group, one of them 1 and the others 0;
      `optional`: whether a group may be zero as a whole.
    """

    lower: Float[np.ndarray, " d"]
    upper: Float[np.ndarray, " d"]
    groups: Sequence[Sequence[int]] = ()
    optional: Sequence[bool] = ()

    def highest(self, v: Float[np.ndarray, "m p"]) -> Float[np.ndarray, " m"]:
        """The maximum over the rows of v a for each v: attained, up to integers."""
        single = np.ones(self.lower.size, bool)
        total = v[:, -1].copy()
        for group, optional in zip(self.groups, self.optional, strict=True):
            single[list(group)] = False
            best = np.max(v[:, list(group)], axis=1)
            total += np.maximum(best, 0) if optional else best
        x = v[:, :-1][:, single]
        return total + np.sum(np.maximum(x * self.lower[single], x * self.upper[single]), axis=1)

    def largest(self, v: Float[np.ndarray, "m p"]) -> Float[np.ndarray, " m"]:
        """The maximum of |v a|."""
        return np.maximum(self.highest(v), self.highest(-v))

    def square(self, q: Float[np.ndarray, "p p"]) -> float:
        """An upper bound of a'qa over the rows, for q >= 0.

        With a = B u and parts u_g of norm at most one, u'Qu <= sum D_g for any D >= Q = B'qB that
        is a multiple of the identity in each part: the dual of the relaxation of maximum cut
        (Goemans & Williamson 1995). D starts from row sums, and follows the subgradient.
        """
        basis, part = self._parts()
        q = basis.T @ q @ basis
        parts = part[-1] + 1
        norms = np.zeros((parts, parts))
        np.add.at(norms, (part[:, None], part[None, :]), q * q)
        rows = np.sqrt(norms).sum(axis=1)
        if q.shape[0] > SHARPENED:
            return _raised(q, rows, part)
        best, d = _raised(q, rows, part), rows
        with _threads().limit(limits=1):  # of such small matrices a second thread costs more
            for step in range(STEPS):
                values, vectors = np.linalg.eigh(q - np.diag(d[part]))
                best = min(best, float(d.sum() + parts * (values[-1] + _slack(q))))
                top = np.bincount(part, vectors[:, -1] ** 2, parts) if values[-1] > 0 else 0.0
                slope = 1 - parts * top
                size = np.linalg.norm(slope)
                if size < 1e-9:
                    break
                d = d - 0.15 * best / np.sqrt(parts) / (1 + step) ** 0.7 * slope / size
        return best

    def _parts(self) -> tuple[Float[np.ndarray, "p u"], np.ndarray]:
        """The matrix B with a = B u, and the part of each entry of u; the first is the constant."""
        features = self.lower.size
        middle, radius = (self.upper + self.lower) / 2, (self.upper - self.lower) / 2
        part = np.zeros(features, int)
        single = np.ones(features, bool)
        for number, (group, optional) in enumerate(zip(self.groups, self.optional, strict=True)):
            size, at = len(group), list(group)
            middle[at] = 1 / (size + optional)
            # the corner furthest from the middle: zero, or a one
            corner = (1 - middle[at[0]]) ** 2 + (size - 1) * middle[at[0]] ** 2
            radius[at] = np.sqrt(max(corner, optional * size * middle[at[0]] ** 2))
            part[at], single[at] = number, False
        part[single] = len(self.groups) + np.arange(single.sum())
        order = np.argsort(part, kind="stable")
        basis = np.zeros((features + 1, features + 1))
        basis[:, 0] = np.append(middle, 1)
        basis[order, 1 + np.arange(features)] = radius[order]
        return basis, np.append(0, 1 + part[order])


def _raised(q: np.ndarray, d: np.ndarray, part: np.ndarray) -> float:
    """The bound that d gives once it is raised to D >= q."""
    short = np.linalg.eigvalsh(q - np.diag(d[part]))[-1]
    return float(d.sum() + d.size * (short + _slack(q)))


def _slack(q: np.ndarray) -> float:
    """More than the rounding of an eigenvalue of q."""
    return 64 * q.shape[0] * np.finfo(float).eps * float(np.trace(q))


@functools.cache
def _threads() -> ThreadpoolController:
    """The libraries with threads of their own: to look for them takes milliseconds."""
    return ThreadpoolController()
