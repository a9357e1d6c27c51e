"""Regression by Huber's loss: squares of small residuals, no more than a pull from large ones."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .. import losses
from .._solver import AbstractSolver
from ..derivatives import AbstractDerivative, Implicit
from ._checks import strength
from ._linear_fit import AbstractLinearLearner, Fit, Known, LinearNewton


class HuberFit(Fit):
    """A fit whose curvature, where no row is within delta, is that of the parabola which touches
    the loss from above (the weights of iteratively reweighted squares), lest a step has no length.
    """

    loss: losses.Huber

    def slope_and_curvature(self, f):
        slope, curvature = super().slope_and_curvature(f)
        apart = jnp.abs(f - self.y)
        delta = self.loss.delta.astype(f.dtype)
        above = self.share * jnp.minimum(1, delta / jnp.where(apart > 0, apart, 1))
        return slope, jnp.where(jnp.any(curvature > 0), curvature, above)


class HuberNewton(LinearNewton):
    """`LinearNewton`, which ends on a piecewise quadratic with the face of the solution; its active
    set are the rows within delta. From far off, with a delta that is tiny, it passes many faces.
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

    Ridge that no target can pull at with more than delta; rows still can, by their length. The bias
    is not regularised unless `l2_bias` is given. `delta` is in units of the targets: about 1.35
    standard deviations of the noise. Differentiable in rows, targets, weights, delta and both
    strengths, on either side of a change of the rows within delta, of which the certificate tells.
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

    @property
    def loss(self):
        return losses.Huber(self.delta)
