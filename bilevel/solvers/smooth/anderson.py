"""Anderson acceleration for fixed points."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from ..._solver import Point
from ..._tree import norm
from ...problems import FixedPoint
from ...results import CONVERGED, MAX_STEPS, NON_FINITE
from .._equilibrium import AbstractEquilibrium

STALL = 4
"""Steps without progress after which the rounding of the map is measured."""
PROBES = 3
"""Points next to the best one at which rounding is measured: at one of them it may be the same."""
FIRST, EXTRAPOLATED, PLAIN, PROBE = map(np.int32, range(4))
"""What a point is tried as: the start, a step of one kind or the other, or to measure rounding."""


class _State(NamedTuple):
    """The point that is tried next; the last step; the history; the best; and counts."""

    at: Array
    role: Array | np.int32
    w: Array
    r: Array
    dw: Array
    dr: Array
    best: Array
    best_r: Array
    noise: Array
    probes: Array
    stall: Array
    steps: Array


class Anderson(AbstractEquilibrium):
    """Fixed points of a contraction, accelerated over the last `memory` steps (Walker & Ni 2011).

    - `tol`: the iteration ends if |map(w) - w| <= tol |w|. The solve has failed if it ends above
      100 times that, or above 100 units of rounding where these are larger: of w, or of the map
      where the iteration stalls, by how far it moves there when w moves by one unit, of three ways.
    - `max_steps`: steps, at most. Each evaluates the map once; so do an extrapolation that is given
      up and the measurement of rounding, which are no steps.
    - `memory`: number of earlier steps in an extrapolation.
    - `damping`: weight of the plain step in each update, in (0, 1].
    """

    tol: float = 1e-14
    max_steps: int = 1000
    memory: int = 5
    damping: float = 1.0

    def run(self, problem: FixedPoint, warm: PyTree) -> Point:
        w, unravel = ravel_pytree(warm)
        eps = jnp.finfo(w.dtype).eps

        def moved_by_a_unit(w: Array, number: Array) -> Array:
            """w, each part of which moves by one unit of rounding: some up, as many down."""
            up = jnp.arange(w.size, dtype=number.dtype) // (number + 1) % 2 == 0
            return w * (1 + eps * jnp.where(up, 1, -1).astype(w.dtype))

        def body(s: _State) -> _State:
            # The map is evaluated here alone, whatever for: a copy of it costs its compilation.
            r = ravel_pytree(problem.map(unravel(s.at), problem.args))[0] - s.at
            size, moved = norm(r), norm(s.at - s.w)
            # An extrapolation gives way to the plain step if the residual grows, or if it moves
            # further than a contraction of rate 1 - 1e-6 can: |r| / (1 - rate).
            bad = ~((size < 2 * norm(s.r)) & (moved < 1e6 * norm(s.r)))
            bad &= s.role == EXTRAPOLATED
            first, probe = s.role == FIRST, s.role == PROBE
            step = ~(bad | probe)

            slot = s.steps % self.memory
            turn = step & ~first
            dw = jnp.where(turn, s.dw.at[slot].set(s.at - s.w), s.dw)
            dr = jnp.where(turn, s.dr.at[slot].set(r - s.r), s.dr)
            better = first | (step & (size < norm(s.best_r)))
            best, best_r = jnp.where(better, s.at, s.best), jnp.where(better, r, s.best_r)
            stall = jnp.where(better, 0, jnp.where(step, s.stall + 1, s.stall))
            # How far the map moves if w does by one unit; at most half the digits count.
            low = eps * norm(best)
            measured = jnp.clip(norm(r - best_r), s.noise, 0.01 * eps**0.5 * norm(best))
            noise = jnp.where(better, low, jnp.where(probe, measured, s.noise))
            probes = jnp.where(probe, s.probes + 1, 0)
            w, r = jnp.where(step, s.at, s.w), jnp.where(step, r, s.r)

            # Least squares by regularised normal equations: the history becomes nearly dependent.
            gram = dr @ dr.T
            ridge = 1e-14 * jnp.trace(gram) + jnp.finfo(w.dtype).tiny
            mix = jnp.linalg.solve(gram + ridge * jnp.eye(self.memory, dtype=w.dtype), dr @ r)
            plain = w + self.damping * r
            asks = (step & (stall == STALL)) | (probe & (probes < PROBES))
            at = jnp.where(bad, plain, plain - mix @ (dw + self.damping * dr))
            at = jnp.where(asks, moved_by_a_unit(best, probes), at)
            role = jnp.where(asks, PROBE, jnp.where(bad, PLAIN, EXTRAPOLATED))
            steps = jnp.where(turn, s.steps + 1, s.steps)
            return _State(at, role, w, r, dw, dr, best, best_r, noise, probes, stall, steps)

        def go(s: _State) -> Array:
            size = norm(s.best_r)
            # A stall ends the iteration only near rounding.
            floor = (s.stall >= STALL) & (size <= 1e3 * s.noise)
            more = (size > self.tol * norm(s.best)) & (s.steps < self.max_steps) & ~floor
            return more | (s.role == PROBE) | (s.role == FIRST)

        blank, none = jnp.zeros((self.memory, w.size), w.dtype), jnp.int32(0)
        start = _State(w, FIRST, w, w, blank, blank, w, w, jnp.zeros((), w.dtype), none, none, none)
        end = lax.while_loop(go, body, start)
        size = norm(end.best_r)
        close = size <= 100 * jnp.maximum(self.tol * norm(end.best), end.noise)
        result = jnp.where(close, CONVERGED, MAX_STEPS)
        result = jnp.where(jnp.isfinite(size), result, NON_FINITE).astype(jnp.int32)
        w = unravel(end.best)
        return Point(w, w, w, result, {"steps": end.steps, "residual": size})
