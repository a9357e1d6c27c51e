"""What a low-rank picture of the class leaves of a row (Koh, Steinhardt & Liang 2018: "SVD")."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._score import AbstractScore


class Residual(AbstractScore):
    """|x - its projection on the top right singular vectors of the class|, squared: as few of them
    as hold the share `spectrum` of the sum of squares (.95 as published). Rows are not centred.

    A residual below rounding is zero. Differentiable unless the first singular value left out is as
    large as the last one that counts.
    """

    spectrum: float = eqx.field(static=True, default=0.95)

    def __check_init__(self):
        if not 0 < self.spectrum < 1:
            raise ValueError(f"spectrum: got {self.spectrum}, expected a share between 0 and 1")

    def __call__(self, x, inside, outside):
        xp = x.__array_namespace__()
        moments = (x * inside[:, None]).T @ x
        onto = projector if xp is jnp else _projector
        left = x - x @ onto(moments, self.spectrum)
        score, size = xp.sum(left**2, axis=1), xp.sum(x**2, axis=1)
        rounding = 1024 * xp.finfo(x.dtype).eps ** 2 * x.shape[1]
        return xp.where(score > rounding * size, score, xp.zeros_like(score))


def _split(moments: Any, spectrum: float) -> tuple[Any, Any, Any]:
    """Eigenvalues, eigenvectors, and which of them count."""
    xp = moments.__array_namespace__()
    values, vectors = xp.linalg.eigh(moments)
    values, vectors = xp.flip(values), xp.flip(vectors, axis=1)
    values = xp.where(values > 0, values, xp.zeros_like(values))
    before = xp.cumulative_sum(values) - values
    return values, vectors, before < spectrum * xp.sum(values)


def _projector(moments: Any, spectrum: float) -> Any:
    xp = moments.__array_namespace__()
    _, vectors, top = _split(moments, spectrum)
    return (vectors * xp.astype(top, vectors.dtype)[None, :]) @ vectors.T


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def projector(moments: Float[Array, "d d"], spectrum: float) -> Float[Array, "d d"]:
    """Onto the leading eigenvectors. Its derivative divides by differences of eigenvalues across
    the cut only: those of each side may coincide, as those of empty columns do.
    """
    return _projector(moments, spectrum)


@projector.defjvp
def _projector_jvp(spectrum, primals, tangents):
    (moments,), (change,) = primals, tangents
    values, vectors, top = _split(moments, spectrum)
    across = top[:, None] != top[None, :]
    gap = jnp.where(across, jnp.abs(values[:, None] - values[None, :]), 1)
    turned = jnp.where(across, (vectors.T @ change @ vectors) / gap, 0)
    return projector(moments, spectrum), vectors @ turned @ vectors.T
