"""Regression with Huber's loss: quadratic in small residuals, linear in large ones."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .. import losses
from .._solver import AbstractSolver
from ..derivatives import AbstractDerivative, Implicit
from ._checks import strength, validity
from ._linear_fit import AbstractLinearLearner, Fit, Known, LinearNewton


class HuberFit(Fit):
    """A fit whose curvature is never zero. If no row is within delta, it is that of the parabola
    which touches the loss from above (the weights of iteratively reweighted squares).
    """

    loss: losses.Huber

    def slope_and_curvature(self, f):
        slope, curvature = super().slope_and_curvature(f)
        apart = jnp.abs(f - self.y)
        delta = self.loss.delta.astype(f.dtype)
        above = self.share * jnp.minimum(1, delta / jnp.where(apart > 0, apart, 1))
        return slope, jnp.where(jnp.any(curvature > 0), curvature, above)


class HuberNewton(LinearNewton):
    """`LinearNewton` for a piecewise quadratic. Its active set are the rows within delta. It needs
    more steps if delta is small and the start far from the solution: it passes many active sets.
    """

    max_steps: int = 1000

    def slack(self, problem, unknowns, frozen):
        del frozen
        fit = problem.args
        kinks = fit.loss.kinks(fit.y, fit.x @ unknowns[:-1] + unknowns[-1])
        return jnp.where(fit.share > 0, jnp.abs(kinks), jnp.inf)


class Huber(AbstractLinearLearner):
    """min_{w, b} sum_i share_i loss(w'x_i + b - y_i) + l2/2 |w|^2 + l2_bias/2 b^2 with the loss of
    Huber (1964): 1/2 r^2, but delta |r| - 1/2 delta^2 where |r| > delta; share is the weights over
    their sum.

    It limits the influence of each target to delta; the influence of a row still grows with its
    length. Differentiable in rows, targets, weights, delta and both strengths while the set of rows
    within delta stays; the certificate reports the margin to its next change.

    - `l2`: strength > 0. `l2_bias`: strength >= 0 for the bias.
    - `delta`: > 0, in units of the targets; usual are 1.35 standard deviations of the noise.
    - `solver`, `derivative`: how the problem is solved and differentiated.

    Raises `ValueError` for a strength or delta out of range.
    """

    l2: Float[Array, ""]
    delta: Float[Array, ""]
    l2_bias: Float[Array, ""]
    solver: AbstractSolver
    derivative: AbstractDerivative
    known: Known | None

    fit_of = HuberFit

    def __init__(
        self,
        l2: ArrayLike = 1.0,
        delta: ArrayLike = 1.0,
        l2_bias: ArrayLike = 0.0,
        solver: AbstractSolver | None = None,
        derivative: AbstractDerivative = Implicit(),
    ):
        self.l2 = strength("l2", l2)
        self.delta = strength("delta", delta)
        self.l2_bias = strength("l2_bias", l2_bias, zero=True)
        self.solver = HuberNewton() if solver is None else solver
        self.derivative, self.known = derivative, None

    def validity(self, data):
        return validity(data, self.l2, self.delta, self.l2_bias, positive=2)

    @property
    def loss(self):
        return losses.Huber(self.delta)
