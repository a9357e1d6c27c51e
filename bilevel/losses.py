"""Losses per row, as functions of the labels y (n,) and the decisions f, with values (n,).

Learners minimise them and goals evaluate them. A loss with kinks has a method `kinks(y, f)`, with
values (n,): at zeros of an entry the loss of that row is not twice differentiable. A loss of labels
has a method `check(y, name)` that raises `ValueError` for others; traced labels are not checked.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ._tree import concrete


def _require(y: Array, name: str, wrong: Callable[[np.ndarray], Any], wanted: str) -> None:
    if not concrete(y):
        return
    values = np.asarray(y)
    found = np.unique(values[np.asarray(wrong(values))])
    if found.size:
        raise ValueError(f"{name}: got labels {found[:5]}, expected {wanted}")


def _require_signs(y: Array, name: str) -> None:
    _require(y, name, lambda y: np.abs(y) != 1, "only -1 and +1; relabel the classes")


class Squares(eqx.Module):
    """1/2 (f - y)^2."""

    def __call__(self, y: Real[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
        return 0.5 * (f - y.astype(f.dtype)) ** 2


class Huber(eqx.Module):
    """1/2 r^2 of r = f - y, and delta |r| - 1/2 delta^2 where |r| > delta (Huber 1964).

    Its slope is continuous; its curvature jumps at the zeros of `kinks`. delta > 0 is in the units
    of the targets.
    """

    delta: Float[Array, ""]

    def __call__(self, y: Real[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
        r, delta = f - y.astype(f.dtype), self.delta.astype(f.dtype)
        near = jnp.clip(r, -delta, delta)
        return near * (r - 0.5 * near)

    def kinks(self, y: Real[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.delta.astype(f.dtype) - jnp.abs(f - y.astype(f.dtype))


class Hinge(eqx.Module):
    """max(0, 1 - y f), labels -1 and +1."""

    def __call__(self, y: Real[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
        return jnp.maximum(0, 1 - y.astype(f.dtype) * f)

    def check(self, y: Array, name: str = "y") -> None:
        _require_signs(y, name)

    def kinks(self, y: Real[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
        return 1 - y.astype(f.dtype) * f

    def rank(self, y: Real[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
        """1 - y f: orders rows by their loss, and also those whose loss is zero, without ties."""
        return 1 - y.astype(f.dtype) * f


class Logistic(eqx.Module):
    """log(1 + exp(-y f)), labels -1 and +1."""

    def __call__(self, y: Real[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
        return jnp.logaddexp(0, -y.astype(f.dtype) * f)

    def check(self, y: Array, name: str = "y") -> None:
        _require_signs(y, name)


class CrossEntropy(eqx.Module):
    """-log of softmax(f) at y; y has class numbers 0, 1, ... and f (n, k) a column per class.

    Not differentiable in y.
    """

    def __call__(self, y: Real[Array, " n"], f: Float[Array, "n k"]) -> Float[Array, " n"]:
        chosen = jnp.take_along_axis(f, jnp.round(y).astype(jnp.int32)[:, None], axis=1)
        return jax.nn.logsumexp(f, axis=1) - chosen[:, 0]

    def check(self, y: Array, name: str = "y") -> None:
        _require(y, name, lambda y: (y < 0) | (y != np.round(y)), "class numbers 0, 1, ...")


class CarliniWagner(eqx.Module):
    """max(max_{j != y} f_j - f_y, -margin): falls until class y leads all others by `margin`
    (Carlini & Wagner 2017, their loss f6). y has class numbers and f (n, k) a column per class.

    For goals: unlike the cross-entropy it does not vanish with the softmax of a sure network.
    """

    margin: float = 0.0

    def __check_init__(self):
        if not 0 <= self.margin < float("inf"):
            raise ValueError(f"margin: got {self.margin}, expected a finite number >= 0")

    def __call__(self, y: Real[Array, " n"], f: Float[Array, "n k"]) -> Float[Array, " n"]:
        return jnp.maximum(self._behind(y, f)[0], -self.margin)

    def check(self, y: Array, name: str = "y") -> None:
        CrossEntropy().check(y, name)

    def kinks(self, y: Real[Array, " n"], f: Float[Array, "n k"]) -> Float[Array, " n"]:
        behind, tie = self._behind(y, f)
        return jnp.minimum(jnp.abs(behind + self.margin), tie)

    def _behind(self, y: Array, f: Array) -> tuple[Array, Array]:
        """How far class y is behind the first of the others, and that one before the second."""
        own = jax.nn.one_hot(jnp.round(y).astype(jnp.int32), f.shape[1], dtype=bool)
        first, second = jax.lax.top_k(jnp.where(own, -jnp.inf, f), 2)[0].T
        return first - jnp.sum(jnp.where(own, f, 0), axis=1), first - second
