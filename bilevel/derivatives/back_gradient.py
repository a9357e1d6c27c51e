"""Reversal of a momentum path, exact to the last bit, rather than storage of the path."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from .._solver import AbstractSolver, Point
from .._tree import stop_gradient
from ..solvers.path._reversible import Track
from ..solvers.path.momentum import Momentum
from ._derivative import AbstractDerivative


class BackGradient(AbstractDerivative):
    """Reversible back-gradient (Maclaurin, Duvenaud & Adams 2015), for `Momentum` only.

    The derivative of the whole path, as by `Unroll()`, in every array of the problem, including its
    start, and in the solver's rate. Memory grows by log2(1/decay) bits per weight and step, .155
    at a decay of .9; `Unroll()` stores whole states. The derivative ignores the rounding of the
    integer path.

    The reversed path must end at the start, with velocity zero and with no stored bit left.
    Otherwise (the loss is not a deterministic function of its arguments) the gradient is NaN. The
    value is returned before the reversal, so that its `result` reports only failures of the
    forward path.

    Supports vjp and jvp. Second derivatives raise `NotImplementedError`; `argmin` raises
    `TypeError` for another solver.
    """

    def attach(self, solver: AbstractSolver, problem: PyTree, warm: PyTree) -> tuple[PyTree, Point]:
        if not isinstance(solver, Momentum):
            raise TypeError(
                f"solver: got {type(solver).__name__}, expected Momentum, whose path can be run "
                "backwards; use Unroll() with other solvers"
            )
        start = solver.cold(problem) if warm is None else stop_gradient(warm)
        # The start is a separate argument, not an array of the problem.
        rest = eqx.tree_at(lambda p: p.start, problem, stop_gradient(problem.start))
        flat, track = solver.track(rest, start)
        w, valid = _end(flat, track)
        point = solver.landing(*stop_gradient((track, problem, w, valid)))
        return track.unravel(w), stop_gradient(point)


@eqx.filter_custom_jvp
def _end(start: Float[Array, " d"], track: Track):
    """(The last weights, whether they are valid)."""
    arrival, _ = track.out(start)
    return arrival.weights(start.dtype), arrival.valid


@_end.def_jvp
def _end_jvp(primals, tangents):
    start, track = jax.tree.map(lambda x: _once(x) if eqx.is_inexact_array(x) else x, primals)
    arrival, _ = track.out(start)
    w = arrival.weights(start.dtype)
    moving = jax.tree.map(lambda t: t is not None, tangents, is_leaf=lambda t: t is None)

    def push(tangents):
        t_start, t_track = tangents
        t_start = jnp.zeros_like(start) if t_start is None else t_start
        return jnp.where(arrival.valid, track.forward(start, t_start, t_track), jnp.nan)

    def pull(cotangent):
        c_start, c_track, closed = track.back(start, arrival, cotangent, moving[1])
        cotangents = eqx.filter((c_start, c_track), moving)
        return jax.tree.map(lambda c: jnp.where(closed, c, jnp.nan), cotangents)

    return (w, arrival.valid), (_linear(push, pull, tangents, jnp.zeros_like(w)), None)


def _linear(push, pull, inputs: PyTree, zero: Array) -> Array:
    """push(inputs), a linear map whose transpose is `pull`.

    Only `lax.custom_linear_solve` accepts a given transpose and can be batched. It needs a square
    system: (inputs, zero) -> (inputs, zero + push(inputs)) is one. The matrix of the system is used
    only by a second derivative, which `_once` forbids; the identity stands in for it.
    """

    def solve(_, rhs):
        inputs, zero = rhs
        return inputs, zero + push(inputs)

    def transpose_solve(_, rhs):
        inputs, cotangent = rhs
        return jax.tree.map(jnp.add, inputs, pull(cotangent)), cotangent

    # Every part of the right-hand side, also `zero`, must depend on the differentiated inputs.
    entries = [jnp.ravel(leaf)[0] for leaf in jax.tree.leaves(inputs) if leaf.size]
    zeros = (jnp.where(False, e, jnp.zeros_like(e)).astype(zero.dtype) for e in entries)
    nothing = sum(zeros, start=jnp.zeros((), zero.dtype))
    rhs = jax.tree.map(lambda leaf: leaf + nothing.astype(leaf.dtype), (inputs, zero))
    _, outputs = lax.custom_linear_solve(lambda x: x, rhs, solve, transpose_solve)
    return outputs


@jax.custom_jvp
def _once(x: Array) -> Array:
    """x; its derivative raises, so that x can be used in first derivatives only."""
    return x


@_once.defjvp
def _once_jvp(primals, tangents):
    del primals, tangents
    raise NotImplementedError(
        "derivative: BackGradient() has no second derivative; use Unroll(levels) for it"
    )
