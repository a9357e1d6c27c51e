"""A face of independent features: where columns are dependent, the minimiser is not unique."""

import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Int

from . import _support

Face = tuple[Float[Array, " k"], Int[Array, " k"], Float[Array, "k k"]]


def independent(
    gram: Float[Array, "k k"],
    raised: Float[Array, "k k"],
    kinkless: Bool[Array, " k"],
    w: Float[Array, " k"],
    sign: Int[Array, " k"],
    chol: Float[Array, "k k"],
) -> Face:
    """(w, sign, chol) of a minimiser as good as w, whose free coordinates have independent columns.

    Columns that depend on others (a category and its complement, duplicates) leave a direction in
    which nothing changes: along it w moves until a coordinate is zero, which is then none of the
    face. Such a basic solution always exists (Rosset et al. 2004). Coordinates without a kink stay.
    """
    k, eps = gram.shape[0], jnp.finfo(gram.dtype).eps
    diagonal = _support.diagonal(gram)
    order = jnp.arange(k, dtype=jnp.int32)

    def first_suspect(sign, chol):
        """The first column that those before it explain; k if none."""
        out = (sign != 0) & (_support.diagonal(chol) ** 2 <= eps**0.5 * diagonal)
        return jnp.min(jnp.where(out, order, k))

    def body(state):
        w, sign, chol, j = state
        # The combination of column j with those before it that all but vanishes.
        still = solve_triangular(chol, (order == j).astype(w.dtype), trans=1, lower=True)
        moved = jnp.where(sign != 0, gram @ still, 0)
        bounds = jnp.max(jnp.abs(jnp.stack([moved, still, diagonal])), axis=1)
        nothing = bounds[0] <= 64 * k * eps * bounds[2] * bounds[1]
        direction = jnp.where(jnp.sum(jnp.where(order == j, w, 0)) > 0, -still, still)
        falling = (w * direction < 0) & ~kinkless
        reach = jnp.where(falling, -w / jnp.where(falling, direction, 1), jnp.inf)
        nearest = jnp.min(reach)
        nothing &= jnp.isfinite(nearest)
        first = (reach <= nearest) & nothing
        w = jnp.where(first, 0, jnp.where(nothing, w + nearest * direction, w))
        sign = jnp.where(first, 0, sign).astype(sign.dtype)
        chol = _support.masked_cholesky(raised, sign != 0)
        return w, sign, chol, jnp.where(nothing, first_suspect(sign, chol), k)

    start = w, sign, chol, first_suspect(sign, chol)
    return lax.while_loop(lambda state: state[3] < k, body, start)[:3]
