"""Gradients of the rows' losses in the model, in the space of a kernel, and how they vary."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from bilevel import Data
from bilevel.learners import AbstractModel
from bilevel.learners.kernels import AbstractKernel
from bilevel.tools import norm

from .._hash import row_hash

PRODUCTS = 300
"""Power iterations at most; where two directions are as long, either will do."""


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
    kernel = getattr(model, "kernel", None)
    if not isinstance(kernel, AbstractKernel):
        raise ValueError(
            "learner: Sever takes models that have a kernel, as linear ones and SVMs have, got a "
            f"learner of {type(model).__name__}; use Trim or Filter, or a linear learner"
        )
    f, h = model.decision(data.x), float(jnp.finfo(data.x.dtype).eps) ** 0.5
    slopes = jax.grad(lambda f: jnp.sum(loss(data.y, f)))
    # An SVM puts rows on its margin, the hinge's kink: on which side of it, rounding decides.
    slope = 0.5 * (slopes((1 - h) * f) + slopes((1 + h) * f))
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
