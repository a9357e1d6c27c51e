"""SEVER (Diakonikolas et al., "Sever: a robust meta-algorithm for stochastic optimization", ICML
2019): drop the rows whose gradients stick out.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from bilevel import Data, argmin
from bilevel.learners import AbstractLearner, AbstractModel, LinearModel, SVMModel
from bilevel.learners.kernels import AbstractKernel, Linear
from bilevel.problems import FixedPoint
from bilevel.solvers import Anderson
from bilevel.tools import norm, stop_gradient

from ._arguments import count_argument, positive_argument, share_argument
from ._defense import AbstractDefense, Inspection, reweighed
from ._hash import row_hash
from ._selection import kept_count, lowest, mask_of, soft_lowest

PRODUCTS = 300
"""Most power iterations; where two directions are as long, either will do."""


class Sever(AbstractDefense):
    """Train, score each row by its gradient along the direction in which gradients vary most, drop
    the highest scores, and again: of `rounds`, each drops an equal part of the share
    `contamination`.

    The gradient is that of the row's loss in the model, slope_i * (x_i, 1) of a linear one, from
    which the mean over the rows kept is subtracted; a score is its squared projection, in units of
    the largest that was kept in the last round that the row was judged in. For an SVM a gradient is
    a function in the space of the kernel. The paper's algorithm draws its threshold at random, its
    experiments drop a fixed share, as here. The search carries no derivative, the training does:
    that of the defended learner in the rows kept.

    Stops poison that pulls together, also where no single row fits badly. Of classes far apart it
    may drop clean rows of one: a gradient's direction depends on the label.
    """

    learner: AbstractLearner
    contamination: float
    rounds: int

    def __init__(self, learner: AbstractLearner, contamination: float = 0.2, rounds: int = 4):
        self.learner, self.rounds = learner, count_argument("rounds", rounds, 1)
        self.contamination = share_argument("contamination", contamination)

    def inspect(self, data: Data) -> Inspection:
        given, learner = stop_gradient(data), stop_gradient(self.learner)
        used = given.weight > 0
        content = row_hash(given.x, given.y)

        def drop(number, state):
            keep, score, warm = state
            subset = reweighed(given, keep.astype(given.weight.dtype))
            trained = argmin(learner.problem(subset), warm, solver=learner.solver, throw=False)
            model = learner.model(subset, trained.value)
            gradients = row_gradients(learner.loss, model, subset)
            found = gradients.scores(principal(gradients))
            share = self.contamination / self.rounds * (number + 1).astype(jnp.float32)
            # Rows without a slope tie: then their content decides, and no order of the rows.
            left = lowest(found, keep, kept_count(used, share), content)
            most = jnp.max(jnp.where(left, found, 0))
            found = found / jnp.where(most > 0, most, 1)
            return left, jnp.where(keep, found, score), trained.warm

        warm = learner.solver.cold(learner.problem(given))
        state = used, jnp.zeros_like(given.y), warm
        keep, score, _ = lax.fori_loop(0, self.rounds, drop, state)
        keep = mask_of(keep, data.weight)
        return Inspection(reweighed(data, keep), score, jnp.int32(self.rounds))


class SoftSever(AbstractDefense):
    """The attacker's smooth surrogate of `Sever`: score what it finds with `Sever` itself.

    Each round multiplies the shares of the rows by 1 / (1 + (score / threshold)^sharpness), so that
    they sum to as many rows as `Sever` keeps. Differentiable throughout: trainings and principal
    directions implicitly.
    """

    learner: AbstractLearner
    contamination: float
    rounds: int
    sharpness: float

    def __init__(
        self,
        learner: AbstractLearner,
        contamination: float = 0.2,
        rounds: int = 4,
        sharpness: float = 2.0,
    ):
        self.learner, self.rounds = learner, count_argument("rounds", rounds, 1)
        self.contamination = share_argument("contamination", contamination)
        self.sharpness = positive_argument("sharpness", sharpness)

    def inspect(self, data: Data) -> Inspection:
        learner = self.learner
        used = lax.stop_gradient((data.weight > 0).astype(data.y.dtype))

        def fade(share, number):
            subset = reweighed(data, share)
            trained = argmin(learner.problem(subset), solver=learner.solver, throw=False)
            gradients = row_gradients(learner.loss, learner.model(subset, trained.value), subset)
            near = principal(stop_gradient(gradients))
            direction = argmin(
                FixedPoint(lambda c, gradients: gradients.turn(c), near, gradients),
                solver=Anderson(tol=1e-12),
                throw=False,
            )
            score = gradients.scores(direction.value)
            mass = used * share
            count = (1 - self.contamination / self.rounds * (number + 1)) * jnp.sum(used)
            return share * soft_lowest(score, mass, count, self.sharpness), score

        numbers = jnp.arange(self.rounds, dtype=data.y.dtype)
        share, scores = lax.scan(fade, jnp.ones_like(data.y), numbers)
        return Inspection(reweighed(data, share), scores[-1], jnp.int32(self.rounds))


class Gradients(eqx.Module):
    """Of the rows' losses in the model: slope_i k(x_i, .), in the space of a kernel (and 1)."""

    slope: Float[Array, " n"]
    share: Float[Array, " n"]
    x: Float[Array, "n d"]
    rows: PyTree  # as the kernel takes them fastest
    kernel: AbstractKernel

    def project(self, c: Float[Array, " n"]) -> Float[Array, " n"]:
        """Those less their mean, on the sum of all times c."""
        coef = self.slope * c
        along = self.kernel.expand(self.rows, ((self.x, coef),)) + jnp.sum(coef)
        return self.slope * along - self.share @ (self.slope * along)

    def turn(self, c: Float[Array, " n"]) -> Float[Array, " n"]:
        """One power iteration towards the direction in which they vary most."""
        new = self.share * self.project(c)
        size = jnp.sum(new * new)
        return new / jnp.sqrt(jnp.where(size > 0, size, 1))

    def scores(self, c: Float[Array, " n"]) -> Float[Array, " n"]:
        """Squared projections on a direction, by its length."""
        projected = self.project(c)
        size = c @ projected
        return projected**2 / jnp.where(size > 0, size, 1)


def row_gradients(loss, model: AbstractModel, data: Data) -> Gradients:
    """Gradients of the rows, of which those of weight > 0 count, by weight."""
    kernel = kernel_of(model)
    f, h = model.decision(data.x), float(jnp.finfo(data.x.dtype).eps) ** 0.5
    slopes = jax.vmap(jax.grad(loss, argnums=1))
    # An SVM puts rows on its margin, the hinge's kink: on which side of it, rounding decides.
    slope = 0.5 * (slopes(data.y, (1 - h) * f) + slopes(data.y, (1 + h) * f))
    share = data.weight / jnp.sum(data.weight)
    return Gradients(slope, share, data.x, kernel.prepare(data.x, data.x), kernel)


def principal(gradients: Gradients) -> Float[Array, " n"]:
    """Coefficients of their top principal direction."""

    def body(state):
        c, _, step = state
        new = gradients.turn(c)
        return new, norm(new - c), step + 1

    def go(state):
        return (state[1] > 1e-9) & (state[2] < PRODUCTS)

    # A start of random signs, whatever the order of the rows.
    slope, share = gradients.slope, gradients.share
    odd = row_hash(gradients.x, slope, seed=1) & 1 == 1
    signs = jnp.where(odd, 1.0, -1.0).astype(slope.dtype)
    start = share * (signs - share @ signs)
    state = start / norm(start), jnp.ones_like(norm(start)), jnp.int32(0)
    return lax.while_loop(go, body, state)[0]


def kernel_of(model: AbstractModel) -> AbstractKernel:
    """The kernel whose functions (and a bias) are such models."""
    if isinstance(model, SVMModel):
        return model.kernel
    if isinstance(model, LinearModel):
        return Linear()
    raise ValueError(
        f"learner: Sever knows the gradients of linear models and SVMs, got a learner of "
        f"{type(model).__name__}; use Trim or Filter, or a linear learner"
    )
