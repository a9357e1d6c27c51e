"""A momentum path in integers: the forward path, its reversal, and derivatives along them."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree, UInt

from ...problems import Smooth, Stochastic
from ._fixed_point import DENOMINATOR, Phase, at_rest, back, before, forth, representable, stride


class Arrival(eqx.Module):
    """The end of the forward path: the input of the reversal."""

    phase: Phase  # with an empty buffer of bits
    words: UInt[Array, "k d"]  # the buffer at the end of each segment
    valid: Bool[Array, ""]

    def weights(self, dtype) -> Float[Array, " d"]:
        """The last weights, NaN if the path left the range."""
        return jnp.where(self.valid, self.phase.weights(dtype), jnp.nan)


class Track(eqx.Module):
    """A path without its start; differentiable in its arrays."""

    problem: Smooth | Stochastic
    rate: Array | float
    unravel: Callable[[Float[Array, " d"]], PyTree] = eqx.field(static=True)
    numerator: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    @property
    def decay(self) -> float:
        return self.numerator / DENOMINATOR

    @property
    def segments(self) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
        """First and last (excluded) step of each segment, whose lost bits fit into one word."""
        firsts = np.arange(0, self.steps, stride(self.numerator), dtype=np.int32)
        return firsts, np.append(firsts[1:], np.int32(self.steps))

    def stored_bits(self, size: int) -> int:
        """Bits that the reversal needs besides the last phase, for `size` weights."""
        return 64 * len(self.segments[0]) * size

    def gradient(self, w: Float[Array, " d"], index: Int[Array, ""]) -> Float[Array, " d"]:
        """The gradient at step `index` times the rate."""
        gradient = jax.grad(self.problem.at(index))(self.unravel(w))
        flat, _ = ravel_pytree(gradient)
        return rate_at(self.rate, index, flat.dtype) * flat

    def push(
        self, w: Float[Array, " d"], index: Int[Array, ""]
    ) -> tuple[Float[Array, " d"], Callable[[Array], tuple[Array, PyTree]]]:
        """`gradient`, with the same bits in every call, and its transposed derivative:
        cotangent -> (in w, in the inexact arrays of this track).
        """
        moving, fixed = eqx.partition(self, eqx.is_inexact_array)

        def gradient(w, moving):
            return eqx.combine(moving, fixed).gradient(w, index)

        # Reversal amplifies a different last bit by 1/decay per step. XLA's fusion of operations,
        # and so their rounding, depends on the other uses of their results. Therefore the code
        # between the two barriers is the same in both directions: the gradient with all that its
        # derivative needs. XLA removes unused results of a barrier; `used` prevents that.
        push, pull = jax.vjp(gradient, lax.optimization_barrier(w), moving)
        push, pull = lax.optimization_barrier((push, pull))
        used = sum(_entry(leaf) for leaf in jax.tree.leaves(pull) if leaf.size)
        return jnp.where(used < -jnp.inf, jnp.nan, push), pull

    def out(
        self,
        start: Float[Array, " d"],
        passenger: PyTree = None,
        carry: Callable[[PyTree, Array, Array], PyTree] = lambda passenger, w, index: passenger,
    ) -> tuple[Arrival, PyTree]:
        """Run the path from `start`. `carry(passenger, w, index)`, with the weights before step
        `index`, returns the passenger after it. Returns (arrival, last passenger).
        """

        def step(index, state):
            phase, valid, passenger = state
            w = phase.weights(start.dtype)
            passenger = carry(passenger, w, index)
            push, _ = self.push(w, index)
            phase = forth(phase, push, self.numerator)
            return phase, valid & phase.within(push), passenger

        def segment(state, bounds):
            first, last = bounds
            phase, valid, passenger = lax.fori_loop(first, last, step, state)
            empty = Phase(phase.w, phase.v, jnp.zeros_like(phase.bits))
            return (empty, valid, passenger), phase.bits

        state = at_rest(start), representable(start), passenger
        (phase, valid, passenger), words = lax.scan(segment, state, self.segments)
        return Arrival(phase, words, valid), passenger

    def back(
        self,
        start: Float[Array, " d"],
        arrival: Arrival,
        cotangent: Float[Array, " d"],
        moving: PyTree,
    ) -> tuple[Array, PyTree, Bool[Array, ""]]:
        """Reverse the path. Returns the cotangents of the start and of the leaves of this track
        that are `moving` (a tree of booleans), and whether the path closed: it ended at the
        start, with velocity zero, and with an empty buffer at the first step of each segment.
        """

        def step(i, state, last):
            phase, c_w, c_v, sums = state
            phase = before(phase)
            push, pull = self.push(phase.weights(start.dtype), last - 1 - i)
            phase = back(phase, push, self.numerator)
            c_v = c_v + c_w
            more_w, more = pull(-c_v)
            sums = jax.tree.map(jnp.add, sums, eqx.filter(more, moving))
            return phase, c_w + more_w, self.decay * c_v, sums

        def segment(state, given):
            phase, c_w, c_v, sums, closed = state
            word, first, last = given
            phase, c_w, c_v, sums = lax.fori_loop(
                jnp.int32(0),
                last - first,
                lambda i, state: step(i, state, last),
                (Phase(phase.w, phase.v, word), c_w, c_v, sums),
            )
            closed &= jnp.all(phase.bits == jnp.uint64(0))
            return (phase, c_w, c_v, sums, closed), None

        sums = jax.tree.map(jnp.zeros_like, eqx.filter(self, moving))
        state = arrival.phase, cotangent, jnp.zeros_like(cotangent), sums, arrival.valid
        given = arrival.words, *self.segments
        (phase, c_w, _, sums, closed), _ = lax.scan(segment, state, given, reverse=True)
        begin = at_rest(start)
        closed &= jnp.all(phase.w == begin.w) & jnp.all(phase.v == begin.v)
        return c_w, sums, closed

    def forward(
        self, start: Float[Array, " d"], t_start: Float[Array, " d"], t_track: PyTree
    ) -> Float[Array, " d"]:
        """The tangent of the last weights; leaves of `t_track` are None for constant leaves."""
        moved, fixed = eqx.partition(
            self, jax.tree.map(lambda t: t is not None, t_track, is_leaf=lambda t: t is None)
        )

        def carry(tangents, w, index):
            t_w, t_v = tangents
            _, t_push = jax.jvp(
                lambda w, moved: eqx.combine(moved, fixed).gradient(w, index),
                (w, moved),
                (t_w, t_track),
            )
            t_v = self.decay * t_v - t_push
            return t_w + t_v, t_v

        _, (t_w, _) = self.out(start, (t_start, jnp.zeros_like(t_start)), carry)
        return t_w


def rate_at(rate: Array | float, index: Int[Array, ""], dtype) -> Float[Array, ""]:
    """The rate of step `index`, from one rate for all steps or one for each."""
    rate = jnp.asarray(rate, dtype)
    return rate[index] if rate.ndim else rate


def _entry(leaf: Array) -> Float[Array, ""]:
    """One entry of an array of any dtype, as a number."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return leaf[(0,) * leaf.ndim].astype(jnp.float64)
