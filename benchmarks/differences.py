"""Finite differences of an attack's objective, as a referee between hypergradients.

Steps are judged without looking at any gradient. A central difference counts only if no active
set and no hinge changes between its two ends; of those that count, the one that agrees best with
its half step is taken, extrapolated. Where no step counts, the two sides are measured apart.
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
from bilevel._solution import CONVERGED

STEPS = 2e-3 * 0.5 ** np.arange(15)  # down to 1.2e-7


class Look(NamedTuple):
    """The objective (NaN where retraining failed), and which smooth piece of it one is on."""

    value: jax.Array
    piece: jax.Array


@eqx.filter_jit
def look(attack: Attack, places: jax.Array) -> Look:
    """Retrain from scratch at each place (k, m, d)."""

    def one(z):
        problem = attack.inner(z)
        solution = argmin(problem, solver=attack.solver, throw=False)
        value, (alpha, _) = solution.value, solution.value
        signs = (alpha <= problem.lower, alpha >= problem.upper, attack.kinks(z, value) > 0)
        failed = solution.result != CONVERGED
        return Look(jnp.where(failed, jnp.nan, attack.outer(z, value)), jnp.concatenate(signs))

    return lax.map(one, places)


class Differences(NamedTuple):
    """Slopes along directions, seen from ahead and from behind: the same where it is smooth, NaN
    where retraining failed at too many steps."""

    directions: np.ndarray
    ahead: np.ndarray
    behind: np.ndarray
    one_sided: bool
    failures: int  # retrainings that did not converge; they count for nothing

    @property
    def jump(self) -> float:
        """Relative difference of the two sides; zero where the objective is smooth."""
        size = np.linalg.norm([self.ahead, self.behind])
        return 0.0 if size == 0 else float(np.linalg.norm(self.ahead - self.behind) / size)

    def error(self, gradient: np.ndarray) -> float:
        """Relative error of a gradient's slopes; at a kink, the distance from what lies between
        the two sides (an element of the generalised gradient has its slopes there)."""
        slopes = np.tensordot(self.directions, gradient, axes=gradient.ndim)
        low, high = np.minimum(self.ahead, self.behind), np.maximum(self.ahead, self.behind)
        off = np.maximum(np.maximum(low - slopes, slopes - high), 0)
        size = np.maximum(np.linalg.norm(self.ahead), np.linalg.norm(self.behind))
        return float(np.linalg.norm(slopes) if size == 0 else np.linalg.norm(off) / size)


def differentiate(attack: Attack, z: np.ndarray, directions: Sequence[np.ndarray]) -> Differences:
    """Slopes of the objective at z (m, d) along unit directions, each (m, d)."""
    moves = np.stack([sign * h * d for d in directions for h in STEPS for sign in (1, -1)])
    seen = look(attack, jnp.asarray(np.concatenate([z[None], z + moves])))
    values, pieces = np.asarray(seen.value), np.asarray(seen.piece)
    here, home = values[0], pieces[0]
    values = values[1:].reshape(len(directions), len(STEPS), 2)
    pieces = pieces[1:].reshape(len(directions), len(STEPS), 2, -1)
    solved, failures = np.isfinite(values), int(np.sum(~np.isfinite(values)))
    smooth = np.all(pieces == home, axis=(2, 3)) & np.all(solved, axis=2)
    central = [
        _extrapolated((v[:, 0] - v[:, 1]) / (2 * STEPS), ok, order=2)
        for v, ok in zip(values, smooth, strict=True)
    ]
    if not any(np.isnan(central)):
        slopes = np.array(central)
        return Differences(np.stack(directions), slopes, slopes, False, failures)
    sides = []
    for side, sign in ((0, 1), (1, -1)):
        slopes = []
        for value, piece, ok in zip(
            values[:, :, side], pieces[:, :, side], solved[:, :, side], strict=True
        ):
            nearest = len(ok) - 1 - np.argmax(ok[::-1])  # the piece next to z on this side
            same = ok & np.all(piece == piece[nearest], axis=1)
            slopes.append(_extrapolated(sign * (value - here) / STEPS, same, order=1))
        sides.append(np.array(slopes))
    return Differences(np.stack(directions), *sides, True, failures)


def _extrapolated(quotients: np.ndarray, counts: np.ndarray, order: int) -> float:
    """Richardson on each step and its half; the pair that agrees best. NaN if no pair counts."""
    change = quotients[1:] - quotients[:-1]
    usable = counts[1:] & counts[:-1]
    if not usable.any():
        return float("nan")
    best = np.nanargmin(np.where(usable, np.abs(change), np.inf))
    return float(quotients[best + 1] + change[best] / (2**order - 1))
