"""Finite differences of an attack's objective, as a referee between hypergradients.

Steps are judged without looking at any gradient. Only those count at whose two ends the same
active set and the same hinges hold as in the middle; through all of these goes one polynomial,
whose scatter bounds the error of its slope. Where there is no such step, the objective
has a kink, and each side has its own polynomial.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from attacks import Attack
from bilevel import argmin
from bilevel.results import CONVERGED

STEPS = 2e-3 * 0.75 ** np.arange(24)  # down to 2.7e-6
ROUNDING = 1e-11
"""Slopes below are zero but for the rounding of values, some 1e-16 over a step."""


class Look(NamedTuple):
    """The objective (NaN where retraining failed), and which smooth piece of it one is on."""

    value: jax.Array
    piece: jax.Array


@eqx.filter_jit
def look(attack: Attack, places: jax.Array) -> Look:
    """Retrain from scratch at each place (k, m, d)."""

    def one(z):
        posed = attack.pose(z)
        problem = posed.problem
        solution = argmin(problem, solver=attack.solver, throw=False)
        value, (alpha, _) = solution.value, solution.value
        signs = (alpha <= problem.lower, alpha >= problem.upper, posed.kinks(value) > 0)
        failed = solution.result != CONVERGED
        return Look(jnp.where(failed, jnp.nan, posed.outcome(value).score), jnp.concatenate(signs))

    return lax.map(one, places)


class Differences(NamedTuple):
    """Slopes along directions, seen from ahead and from behind: the same where it is smooth.

    NaN where retraining failed at too many steps.
    """

    directions: np.ndarray
    ahead: np.ndarray
    behind: np.ndarray
    doubt: np.ndarray  # three standard errors of each slope
    one_sided: bool
    failures: int  # retrainings that did not converge; they count for nothing

    @property
    def size(self) -> float:
        """What errors are relative to; 1 where the slopes are zero but for rounding."""
        size = max(np.linalg.norm(self.ahead), np.linalg.norm(self.behind))
        return 1.0 if size <= ROUNDING else float(size)

    @property
    def noise(self) -> float:
        """Relative error of the differences themselves, as they estimate it."""
        return float(np.linalg.norm(self.doubt) / self.size)

    @property
    def jump(self) -> float:
        """Relative difference of the two sides; zero where the objective is smooth."""
        return float(np.linalg.norm(self.ahead - self.behind) / self.size)

    def error(self, gradient: np.ndarray) -> float:
        """Relative error of a gradient's slopes.

        At a kink it is the distance from what lies between the two sides, where an element of the
        generalised gradient has its slopes.
        """
        slopes = np.tensordot(self.directions, gradient, axes=gradient.ndim)
        low, high = np.minimum(self.ahead, self.behind), np.maximum(self.ahead, self.behind)
        off = np.maximum(np.maximum(low - slopes, slopes - high), 0)
        return float(np.linalg.norm(off) / self.size)


def differentiate(attack: Attack, z: np.ndarray, directions: Sequence[np.ndarray]) -> Differences:
    """Slopes of the objective at z (m, d) along unit directions, each (m, d)."""
    moves = np.stack([sign * h * d for d in directions for h in STEPS for sign in (1, -1)])
    seen = look(attack.prepared(), jnp.asarray(np.concatenate([z[None], z + moves])))
    values, pieces = np.asarray(seen.value), np.asarray(seen.piece)
    here, home = values[0], pieces[0]
    values = values[1:].reshape(len(directions), len(STEPS), 2)
    pieces = pieces[1:].reshape(len(directions), len(STEPS), 2, -1)
    solved, failures = np.isfinite(values), int(np.sum(~np.isfinite(values)))
    smooth = np.all(pieces == home, axis=(2, 3)) & np.all(solved, axis=2)
    central = [
        _slope((v[:, 0] - v[:, 1]) / 2, ok, powers=(1, 3, 5))
        for v, ok in zip(values, smooth, strict=True)
    ]
    if not np.isnan(central).any():
        slopes, doubt = np.transpose(central)
        return Differences(np.stack(directions), slopes, slopes, doubt, False, failures)
    sides = []
    for side, sign in ((0, 1), (1, -1)):
        slopes = []
        for value, piece, ok in zip(
            values[:, :, side], pieces[:, :, side], solved[:, :, side], strict=True
        ):
            nearest = len(ok) - 1 - np.argmax(ok[::-1])  # the piece next to z on this side
            same = ok & np.all(piece == piece[nearest], axis=1)
            slopes.append(_slope(sign * (value - here), same, powers=(1, 2, 3)))
        sides.append(np.transpose(slopes))
    (ahead, doubt_ahead), (behind, doubt_behind) = sides
    doubt = np.maximum(doubt_ahead, doubt_behind)
    return Differences(np.stack(directions), ahead, behind, doubt, True, failures)


def _slope(
    rise: np.ndarray, counts: np.ndarray, powers: tuple[int, int, int]
) -> tuple[float, float]:
    """Fit the rise over the steps that count by these powers of the step: the linear coefficient
    and three standard errors of it.
    """  # fmt: skip
    step, rise = STEPS[counts], rise[counts]
    if len(step) < 5:
        return float("nan"), float("nan")
    basis = (step[:, None] / step[0]) ** np.array(powers)
    inverse = np.linalg.pinv(basis)
    fitted = inverse @ rise
    scatter = np.linalg.norm(rise - basis @ fitted) / np.sqrt(len(step) - len(powers))
    return float(fitted[0] / step[0]), float(3 * scatter * np.linalg.norm(inverse[0]) / step[0])
