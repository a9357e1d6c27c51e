"""A face of independent features: where columns are dependent, the minimiser is not unique."""

import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float, Int

from . import _support

Face = tuple[Float[Array, " k"], Int[Array, " k"], Float[Array, "k k"]]


def independent(
    gram: Float[Array, "k k"],
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
    diagonal = jnp.diagonal(gram)
    widest = jnp.max(diagonal)

    def suspects(sign, chol):
        return (sign != 0) & ~kinkless & (jnp.diagonal(chol) ** 2 <= eps**0.5 * diagonal)

    def body(state):
        w, sign, chol, _ = state
        out = suspects(sign, chol)
        j = jnp.argmin(jnp.where(out, jnp.diagonal(chol) ** 2 / diagonal, jnp.inf))
        inside = (sign != 0) & ~out
        rest = _support.masked_cholesky(gram, inside)

        def refined(_, still):
            left = jnp.where(inside, gram @ still, 0)
            return still - cho_solve((rest, True), left)

        still = lax.fori_loop(0, 2, refined, jnp.zeros_like(w).at[j].set(1))
        moved = jnp.max(jnp.abs(jnp.where(sign != 0, gram @ still, 0)))
        nothing = moved <= 64 * k * eps * widest * jnp.max(jnp.abs(still))
        direction = -jnp.sign(w[j]) * still
        falling = (w * direction < 0) & ~kinkless
        reach = jnp.where(falling, -w / jnp.where(falling, direction, 1), jnp.inf)
        nearest = jnp.min(reach)
        first = (reach <= nearest) & nothing
        w = jnp.where(first, 0, jnp.where(nothing, w + nearest * direction, w))
        sign = jnp.where(first, 0, sign).astype(sign.dtype)
        return w, sign, _support.masked_cholesky(gram, sign != 0), nothing

    def go(state):
        _, sign, chol, nothing = state
        return nothing & jnp.any(suspects(sign, chol))

    return lax.while_loop(go, body, (w, sign, chol, jnp.bool_(True)))[:3]
