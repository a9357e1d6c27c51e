"""I-BAU: a network is trained against the worst universal perturbation of clean rows."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from bilevel import AbstractSolver, Data, argmin
from bilevel.derivatives import AbstractDerivative, Implicit
from bilevel.learners import AbstractLearner, NetworkModel, Trained
from bilevel.linear import Neumann
from bilevel.networks import AbstractArchitecture
from bilevel.problems import FixedPoint
from bilevel.solvers import Descent, Picard
from bilevel.tools import concrete, require_count, strength

from .._arguments import share_argument
from ._network import AbstractCleanRepair, as_network
from .tuning import Tuning

Loss = Callable[[Array, Array], Array]
Strength = float | Float[Array, ""]


class Ball(eqx.Module):
    """The worst universal perturbation of a network: one shift of all rows, inside a ball.

        d*(w) = argmax over |d| <= radius of  mean loss(y, f_w(x + d)) - penalty |d|^2

    It is a fixed point of projected gradient ascent, d <- P(d + rate slope), from zero.

    - `radius` > 0: Euclidean, in units of the rows; infinite for none. `penalty` >= 0.
    - `rate` > 0: length of a step, in units of the slope. Where the network is sure of its rows the
      slope is tiny; a large rate makes the steps those of a power iteration, radius slope/|slope|.
    - `rows`: of the clean rows the first so many have this loss; by default all.
    - `solver`: of the fixed point. `Picard(k)` takes k steps, and ends at maxima; `Anderson()` may
      end at a saddle.
    - `derivative`: of d* in the parameters. `Implicit()` is exact at a fixed point. With
      `Implicit(Neumann(5, rate=c))` it is cut after five terms of c sum (I - c A)^i, A = I - the
      map's Jacobian, as in the authors' code: there c = .1 / rate.

    Raises `ValueError` for values out of range.
    """

    radius: Float[Array, ""]
    penalty: Float[Array, ""]
    rate: Float[Array, ""]
    rows: int | None
    solver: AbstractSolver
    derivative: AbstractDerivative

    def __init__(
        self,
        radius: Strength,
        penalty: Strength = 0.0,
        rate: Strength = 1.0,
        rows: int | None = None,
        solver: AbstractSolver = Picard(10),
        derivative: AbstractDerivative = Implicit(Neumann(5, rate=1.0)),
    ):
        infinite = concrete(radius) and np.ndim(radius) == 0 and float(radius) == np.inf
        self.radius = jnp.asarray(radius, float) if infinite else strength("radius", radius)
        self.penalty = strength("penalty", penalty, zero=True)
        self.rate = strength("rate", rate)
        self.rows = None if rows is None else require_count("rows", rows)
        self.solver, self.derivative = solver, derivative

    def worst(
        self, architecture: AbstractArchitecture, parameters: PyTree, clean: Data, loss: Loss
    ) -> Float[Array, "..."]:
        """d* as one row, differentiable in the parameters and in the clean rows."""
        start = jnp.zeros(clean.x.shape[1:], clean.x.dtype)
        few = Data(clean.x[: self.rows], clean.y[: self.rows], clean.weight[: self.rows])
        args = (self, architecture, parameters, few, loss)
        problem = FixedPoint(_ascended, start, args)
        solved = argmin(problem, solver=self.solver, derivative=self.derivative, throw=False)
        return solved.value


def _ascended(shift: Array, args: tuple[Ball, AbstractArchitecture, PyTree, Data, Loss]) -> Array:
    """One step of projected gradient ascent."""
    ball, architecture, parameters, clean, loss = args
    radius, penalty, rate = (
        value.astype(shift.dtype) for value in (ball.radius, ball.penalty, ball.rate)
    )

    def harm(shift):
        each = loss(clean.y, architecture.apply(parameters, clean.x + shift[None]).logits)
        mean = jnp.sum(clean.weight * each) / jnp.sum(clean.weight)
        return mean - penalty * jnp.sum(shift**2)

    moved = shift + rate * jax.grad(harm)(shift)
    size = jnp.sum(moved**2)
    outside = size > radius**2
    return jnp.where(outside, radius / jnp.sqrt(jnp.where(outside, size, 1)), 1) * moved


class _Shifted(AbstractArchitecture):
    """The network on rows of which a random share is shifted by what is worst for these very
    parameters; without a key, on the rows as they are.
    """

    architecture: AbstractArchitecture
    ball: Ball
    clean: Data
    loss: Loss
    share: float

    def init(self, key, row):
        return self.architecture.init(key, row)

    def apply(self, parameters, x, key=None):
        if key is None:
            return self.architecture.apply(parameters, x)
        of_rows, of_masks = jax.random.split(key)
        shift = self.ball.worst(self.architecture, parameters, self.clean, self.loss)
        chosen = jax.random.bernoulli(of_rows, self.share, (x.shape[0], *[1] * (x.ndim - 1)))
        x = x + jnp.where(chosen, shift[None], 0)
        return self.architecture.apply(parameters, x, of_masks)


class Unlearned(eqx.Module):
    """The worst perturbation, as one row, of the network `before` and `after` the repair."""

    before: Float[Array, "..."]
    after: Float[Array, "..."]


class ImplicitUnlearning(AbstractCleanRepair):
    """Goes on training on clean rows of which a share is shifted by the worst universal
    perturbation d*(w) of the network as it is: a minimum over a maximum, descended along the
    implicit hypergradient (Zeng et al., "Adversarial unlearning of backdoors via implicit
    hypergradient", ICLR 2022, I-BAU).

        min over w of  mean loss(y, f_w(x + s d*(w))),  s = 1 with probability `share`, else 0

    It assumes that what a trigger does, some small shift of all rows does. Rows may leave [0, 1].
    Where the outer rows are those of d*, its derivative adds nothing at a maximum on the sphere
    (Danskin): then it matters for mini-batches and unfinished ascents.

    - `clean`: rows that the defender knows to be clean, of the inner and of the outer problem.
    - `ball`: the inner problem. `share`: of a mini-batch, in [0, 1).
    - `tuning`: of the parameters.

    `fit(...).report` is an `Unlearned`. Raises `ValueError` for values out of range.
    """

    learner: AbstractLearner
    clean: Data
    ball: Ball
    share: float = 0.5
    tuning: Tuning = Tuning(Descent(optax.adam(1e-3), 50), batch=100)

    def __check_init__(self):
        share_argument("share", self.share)

    def repair(self, model, data, *, key=None):
        del data
        net, loss = as_network(model), self.learner.loss
        shifted = _Shifted(net.architecture, self.ball, self.clean, loss, self.share)
        tuned, result = self.tuning.run(shifted, net.parameters, self.clean, loss, key)

        def worst(parameters):
            return self.ball.worst(net.architecture, parameters, self.clean, loss)

        repaired = NetworkModel(tuned.parameters, net.architecture)
        report = Unlearned(worst(net.parameters), worst(tuned.parameters))
        return Trained(repaired, result, report)
