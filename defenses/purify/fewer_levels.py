"""Fewer levels of grey (Xu, Evans & Qi, "Feature squeezing: detecting adversarial examples in deep
neural networks", NDSS 2018).
"""

import jax.numpy as jnp

from bilevel.learners import AbstractLearner
from bilevel.tools import require_count

from .._defense import softened
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
