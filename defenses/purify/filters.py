"""Filters of images: every pixel is replaced by what a window around it holds (median: Xu, Evans &
Qi, "Feature squeezing: detecting adversarial examples in deep neural networks", NDSS 2018).
"""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel.learners import AbstractLearner
from bilevel.tools import require_count

from ._purifier import AbstractPurifier


class AbstractWindowFilter(AbstractPurifier):
    """Shows the model images (height, width, channels) pooled over windows of `width` x `width`
    pixels around each; edges are repeated.

    Raises `ValueError` for a width below 2; `fit` for rows that are no images of that size.
    """

    learner: eqx.AbstractVar[AbstractLearner]
    width: eqx.AbstractVar[int]

    @abc.abstractmethod
    def pooled(self, windows: Float[Array, "m n h w c"]) -> Float[Array, "n h w c"]:
        """One image of the m pixels of each window."""

    def __check_init__(self):
        require_count("width", self.width, 2)

    def check(self, data):
        shape = data.x.shape[1:]
        if len(shape) != 3 or min(shape[:2]) < self.width:
            raise ValueError(
                f"x: got rows of shape {shape}, expected images (height, width, channels) of at "
                f"least {self.width} x {self.width} pixels"
            )
        super().check(data)

    def purify(self, model, x, *, key=None):
        del model, key
        before, after = (self.width - 1) // 2, self.width // 2
        around = ((0, 0), (before, after), (before, after), (0, 0))
        padded = jnp.pad(x, around, mode="edge")
        height, width = x.shape[1:3]
        shifts = [(i, j) for i in range(self.width) for j in range(self.width)]
        return self.pooled(jnp.stack([padded[:, i : i + height, j : j + width] for i, j in shifts]))


class MedianFilter(AbstractWindowFilter):
    """The median of each window. Removes triggers of few pixels, and keeps edges."""

    learner: AbstractLearner
    width: int = 3

    def pooled(self, windows):
        return jnp.median(windows, axis=0)


class MeanFilter(AbstractWindowFilter):
    """The mean of each window: smoothing."""

    learner: AbstractLearner
    width: int = 3

    def pooled(self, windows):
        return jnp.mean(windows, axis=0)
