"""Large arrays that an iteration seldom computes anew."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, PyTree


def renewed(where: Bool[Array, ""], make: Callable[[], PyTree], kept: PyTree) -> PyTree:
    """`make()` where asked, otherwise what is kept.

    A loop of at most one round. `lax.cond` copies what it hands through, and a batch of members
    computes both branches; a loop leaves the arrays in place, and calls `make` only if a member of
    the batch asks for it.
    """

    def once(_):
        return make(), jnp.bool_(False)

    return lax.while_loop(lambda state: state[1], once, (kept, where))[0]
