"""The attacker's derivative of a purifier that has none (backward pass differentiable
approximation, Athalye, Carlini & Wagner, ICML 2018).
"""

import jax

from bilevel.learners import AbstractLearner

from ._purifier import AbstractPurifier


class StraightThrough(AbstractPurifier):
    """Purifies as `defense` does, with the derivative of the identity: for an attacker who knows of
    a defense that rounds, sorts or cuts out. The value is exact, its derivative is a stand-in.

    With a purifier that draws at random, `bilevel.Expected` averages over draws (expectation over
    transformation, Athalye et al. 2018).
    """

    defense: AbstractPurifier

    def __init__(self, defense: AbstractPurifier):
        self.defense = defense

    @property
    def learner(self) -> AbstractLearner:
        """What the defense wraps."""
        return self.defense.learner

    def purify(self, model, x, *, key=None):
        made = self.defense.purify(model, jax.lax.stop_gradient(x), key=key)
        return x + jax.lax.stop_gradient(made - x)
