"""Units in which a linear learner is solved: features centred, and scaled to a like curvature."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._program import program


class Units(eqx.Module):
    """u = factor * (x - origin) for rows x in the user's units and u in the solver's. The factors
    are powers of two: products with them have no rounding.

    A solution in the user's units does not depend on them; they decide how much of it rounding
    leaves. So they are constants of a derivative, which saves several passes over the rows.
    """

    origin: Float[Array, " d"]
    factor: Float[Array, " d"]

    def rows(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return (x - self.origin[None, :]) * self.factor[None, :]

    def model(self, w: Array, bias: Array) -> tuple[Array, Array]:
        """(weights, bias) in the user's units, of (d,) and () or of (d, k) and (k,)."""
        w = w * self.factor.reshape(-1, *(1,) * (w.ndim - 1))
        return w, bias - self.origin @ w


@program
def units(
    x: Float[Array, "n d"],
    share: Float[Array, " n"],
    l2: Float[Array, ""],
    l2_bias: Float[Array, ""],
    scaled: bool,
) -> Units:
    """Units for rows of these shares, in which squares with the penalty have curvature .44 to 1.78
    along every feature. A solution with a penalised bias depends on the origin, which then stays;
    without `scaled` the scale stays.
    """
    x, share, l2 = lax.stop_gradient((x, share, l2))
    mean = share @ x
    origin = jnp.where(l2_bias > 0, 0, mean)
    if not scaled:
        return Units(origin, jnp.ones_like(mean))
    curvature = share @ (x - mean[None, :]) ** 2 + l2
    bits = jnp.finfo(x.dtype).nexp
    return Units(origin, lax.reduce_precision(lax.rsqrt(curvature), bits, mantissa_bits=0))


def identity(x: Float[Array, "n d"]) -> Units:
    """The user's own units, for solvers that follow a path: there the units are part of it."""
    return Units(jnp.zeros_like(x[0]), jnp.ones_like(x[0]))
