"""Weights as integers, so that steps with a decaying velocity can be reversed exactly.

Multiplication by a decay below 1 loses bits. Here they are pushed onto an integer beside each
velocity, log2(1/decay) bits per step, and popped in the reversal (Maclaurin, Duvenaud & Adams 2015,
algorithm 3). Additions of integers are exact, so that no other bits are lost.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import dtypes
from jaxtyping import Array, Bool, Float, Int, UInt

FRACTION = 48  # bits after the binary point of weights
# A reversed division is uncertain in the last bits of a velocity: they are below the weights'.
DENOMINATOR_BITS = 8
DENOMINATOR = 2**DENOMINATOR_BITS  # decays are multiples of 1/256
FINE = FRACTION + DENOMINATOR_BITS  # bits after the binary point of velocities
# Sums of weights and velocities below this size fit into 64 bits.
ROOM = 2**61


class Phase(eqx.Module):
    """Weights in units of 2^-48, velocities in units of 2^-56, and the bits lost since a spill."""

    w: Int[Array, " d"]
    v: Int[Array, " d"]
    bits: UInt[Array, " d"]

    def weights(self, dtype) -> Float[Array, " d"]:
        return (self.w.astype(jnp.float64) * 2.0**-FRACTION).astype(dtype)

    def within(self, push: Float[Array, " d"]) -> Bool[Array, ""]:
        """Whether this phase and the push that led to it are in range; False for NaN."""
        small = (jnp.abs(self.w) < ROOM) & (jnp.abs(self.v) < ROOM)
        return jnp.all(small & (jnp.abs(push) < ROOM * 2.0**-FINE))


def representable(start: Float[Array, " d"]) -> Bool[Array, ""]:
    """Whether these weights are in range; False for NaN."""
    return jnp.all(jnp.abs(start) < ROOM * 2.0**-FRACTION)


def at_rest(start: Float[Array, " d"]) -> Phase:
    """The phase before the first step."""
    if dtypes.canonicalize_dtype(np.int64) != np.int64:
        raise ValueError(
            "jax_enable_x64: got False, expected True because Momentum computes with 64-bit "
            'integers; call jax.config.update("jax_enable_x64", True) at the start'
        )
    w = _to_integer(start, FRACTION)
    return Phase(w, jnp.zeros_like(w), jnp.zeros_like(w, jnp.uint64))


def forth(phase: Phase, push: Float[Array, " d"], numerator: int) -> Phase:
    """One step: v <- v * numerator / 256 - push;  w <- w + v.

    v is divided by 256 with remainder, and the remainder is pushed onto the bits. The product with
    the numerator has room for a remainder, which is popped from the bits.
    """
    p, q = jnp.uint64(numerator), jnp.uint64(DENOMINATOR)
    bits = phase.bits * q + (phase.v & (DENOMINATOR - 1)).astype(jnp.uint64)
    v = (phase.v >> DENOMINATOR_BITS) * numerator + (bits % p).astype(jnp.int64)
    v = v - _to_integer(push, FINE)
    return Phase(phase.w + _coarse(v), v, bits // p)


def before(phase: Phase) -> Phase:
    """`phase` with the weights before `forth`, at which its push was computed."""
    return Phase(phase.w - _coarse(phase.v), phase.v, phase.bits)


def back(phase: Phase, push: Float[Array, " d"], numerator: int) -> Phase:
    """The exact inverse of `forth`, for the result of `before`."""
    p, q = jnp.uint64(numerator), jnp.uint64(DENOMINATOR)
    v = phase.v + _to_integer(push, FINE)
    whole = v // numerator
    bits = phase.bits * p + (v - whole * numerator).astype(jnp.uint64)
    v = whole * DENOMINATOR + (bits % q).astype(jnp.int64)
    return Phase(phase.w, v, bits // q)


def stride(numerator: int) -> int:
    """Number of steps whose lost bits always fit into an empty buffer of 64 bits."""
    largest, steps = 0, 0
    while largest * DENOMINATOR + DENOMINATOR - 1 < 2**64:
        largest = (largest * DENOMINATOR + DENOMINATOR - 1) // numerator
        steps += 1
    return steps


def _to_integer(x: Float[Array, " d"], fraction: int) -> Int[Array, " d"]:
    return jnp.round(x.astype(jnp.float64) * 2.0**fraction).astype(jnp.int64)


def _coarse(v: Int[Array, " d"]) -> Int[Array, " d"]:
    """Velocities, rounded to units of weights."""
    return (v + DENOMINATOR // 2) >> DENOMINATOR_BITS
