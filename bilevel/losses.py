"""Losses of a row, as functions of its label y and of the decision f.

Learners train with them, goals score by them. One with kinks says where by `kinks(y, f)`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Squares(eqx.Module):
    """1/2 (f - y)^2."""

    def __call__(self, y: Float[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
        return 0.5 * (f - y) ** 2


class Hinge(eqx.Module):
    """max(0, 1 - y f), labels -1 and +1."""

    def __call__(self, y: Float[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
        return jnp.maximum(0, 1 - y * f)

    def kinks(self, y: Float[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
        return 1 - y * f


class Logistic(eqx.Module):
    """log(1 + exp(-y f)), labels -1 and +1."""

    def __call__(self, y: Float[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
        return jnp.logaddexp(0, -y * f)


class CrossEntropy(eqx.Module):
    """-log of softmax(f) at y; y holds class numbers 0, 1, ... and f a column per class.

    Not differentiable in y.
    """

    def __call__(self, y: Float[Array, " n"], f: Float[Array, "n k"]) -> Float[Array, " n"]:
        chosen = jnp.take_along_axis(f, y.astype(jnp.int32)[:, None], axis=1)
        return jax.nn.logsumexp(f, axis=1) - chosen[:, 0]
