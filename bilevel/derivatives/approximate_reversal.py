"""Approximate reversal of gradient descent, for comparison; its gradient is wrong."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from .._iteration import advance
from .._solver import AbstractSolver, Point
from .._tree import concrete, stop_gradient, tree_add
from ..solvers.path.descent import Descent
from ._derivative import AbstractDerivative


class ApproximateReversal(AbstractDerivative):
    """Back-gradient with w_t ~ w_{t+1} + rate * grad(w_{t+1}) (Munoz-Gonzalez et al. 2017).

    For `Descent(optax.sgd(rate), steps)` only. It stores no states, but neither the reversed path
    nor the gradient is exact: a reversed step has the error rate * |grad(w_t) - grad(w_{t+1})|,
    and the reversal amplifies each error by as much as the forward step contracted.

    Measured on 100 digits (1 against 7), for the gradient in 10 of their rows, rate .1: with 10
    tanh units the relative error is .3 after 50 steps, 4.6 after 200 and 66 after 400 (cosine with
    the gradient .96, .23, .05); with logistic regression .03, .23 and .4.

    Supports vjp only: forward mode raises, as for every `custom_vjp`.

    - `rate`: the rate of the solver's `optax.sgd`, which optax does not expose.

    `argmin` raises `TypeError` for another solver, `ValueError` for another optimiser or rate.
    """

    rate: float

    def attach(self, solver: AbstractSolver, problem: PyTree, warm: PyTree) -> tuple[PyTree, Point]:
        if not isinstance(solver, Descent):
            raise TypeError(f"solver: got {type(solver).__name__}, expected Descent")
        self._check(solver)
        start = solver.cold(problem) if warm is None else stop_gradient(warm)
        frozen, begin = stop_gradient((problem, start))
        state = advance(solver, frozen, solver.begin(frozen, begin), solver.steps)
        point = stop_gradient(solver.arrive(frozen, state))
        rest = eqx.tree_at(lambda p: p.start, problem, stop_gradient(problem.start))
        return _end((start, rest), point.unknowns, self.rate, solver.steps), point

    def _check(self, solver: Descent) -> None:
        """ValueError unless the optimiser is plain gradient descent with this rate."""
        if not concrete(self.rate):
            return
        # optax needs the standard promotion of dtypes, whatever the caller set
        with jax.ensure_compile_time_eval(), jax.numpy_dtype_promotion("standard"):
            one = jnp.ones(())
            state = solver.optimizer.init(one)
            for _ in range(2):  # the second update reveals a momentum or a schedule
                update, state = solver.optimizer.update(one, state, one)
                step = jnp.asarray(update)
                if concrete(step) and abs(float(step) + self.rate) > 1e-6 * abs(self.rate):
                    raise ValueError(
                        f"rate: got {self.rate} with an optimiser that steps {float(step):.6g} "
                        "along a gradient of 1, expected Descent(optax.sgd(rate), steps) with the "
                        "same rate"
                    )


@eqx.filter_custom_vjp
def _end(varied: PyTree, w: PyTree, rate: float, steps: int) -> PyTree:
    """The last weights w, as a function of `varied` = (start, problem)."""
    del varied, rate, steps
    return w


@_end.def_fwd
def _end_forward(perturbed, varied, w, rate, steps):
    del perturbed, varied, rate, steps
    return w, None


@_end.def_bwd
def _end_backward(residuals, cotangent, perturbed, varied, w, rate, steps):
    del residuals
    _, problem = varied
    moved, fixed = eqx.partition(problem, perturbed[1])

    def gradient(w, moved, index):
        return jax.grad(eqx.combine(moved, fixed).at(index))(w)

    def body(i, state):
        w, c_w, sums = state
        index = steps - 1 - i
        w = jax.tree.map(lambda w, g: w + rate * g, w, gradient(w, moved, index))
        _, pull = jax.vjp(lambda w, moved: gradient(w, moved, index), w, moved)
        more_w, more = pull(jax.tree.map(lambda c: -rate * c, c_w))
        return w, tree_add(c_w, more_w), tree_add(sums, more)

    sums = jax.tree.map(jnp.zeros_like, moved)
    state = w, cotangent, sums
    _, c_start, sums = lax.fori_loop(jnp.int32(0), jnp.int32(steps), body, state)
    return eqx.filter(c_start, perturbed[0]), sums
