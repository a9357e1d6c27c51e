"""Feature squeezing (Xu, Evans & Qi, "Feature squeezing: detecting adversarial examples in deep
neural networks", NDSS 2018): fewer levels, and the median of neighbouring pixels.
"""

import jax.numpy as jnp

from bilevel.learners import AbstractLearner
from bilevel.tools import require_count

from .._defense import softened
from ._images import patches, require_images
from ._purifier import AbstractPurifier
from .straight_through import StraightThrough


class FewerLevels(AbstractPurifier):
    """Rounds what the model is shown to 2^bits levels of [0, 1]. Removes faint triggers. Its
    derivative is zero.
    """

    learner: AbstractLearner
    bits: int

    def __init__(self, learner: AbstractLearner, bits: int = 1):
        self.learner, self.bits = learner, require_count("bits", bits)

    def surrogate(self, data):
        """`StraightThrough`: the same rounding, with the derivative of none."""
        return StraightThrough(self.around(softened(self.learner, data)))

    def purify(self, model, x, *, key=None):
        del model, key
        steps = 2**self.bits - 1
        return jnp.round(jnp.clip(x, 0, 1) * steps) / steps


class MedianFilter(AbstractPurifier):
    """Replaces every pixel by the median of a window of `width` x `width` around it. Removes
    triggers of few pixels. Images (height, width, channels).
    """

    learner: AbstractLearner
    width: int

    def __init__(self, learner: AbstractLearner, width: int = 3):
        self.learner, self.width = learner, require_count("width", width, 2)

    def check(self, data):
        require_images(data, self.width)
        super().check(data)

    def purify(self, model, x, *, key=None):
        del model, key
        return jnp.median(patches(x, self.width), axis=0)


class MeanFilter(AbstractPurifier):
    """Replaces every pixel by the mean of a window of `width` x `width` around it: smoothing, with
    a derivative. Images (height, width, channels).
    """

    learner: AbstractLearner
    width: int

    def __init__(self, learner: AbstractLearner, width: int = 3):
        self.learner, self.width = learner, require_count("width", width, 2)

    def check(self, data):
        require_images(data, self.width)
        super().check(data)

    def purify(self, model, x, *, key=None):
        del model, key
        return jnp.mean(patches(x, self.width), axis=0)
