"""Make the model say what the attacker wants of some rows, and go on as before on others."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel import Data
from bilevel.tools import concrete

from ._goal import AbstractGoal
from ._rows import AbstractRowGoal, Loss
from .indiscriminate import Indiscriminate


class Targeted(AbstractGoal):
    """-(mean loss of the target rows under the wanted labels + keep * mean loss of the others).

    Munoz-Gonzalez et al., AISec 2017, section 3: a validation set whose target rows carry the
    attacker's labels. `keep` weighs stealth against success.
    """

    target: AbstractRowGoal
    rest: AbstractRowGoal
    keep: Float[Array, ""]

    def check(self, data):
        self.target.check(data)
        self.rest.check(data)

    def prepare(self, learner):
        target, rest = self.target.prepare(learner), self.rest.prepare(learner)
        return eqx.tree_at(lambda g: (g.target, g.rest), self, (target, rest))

    def score(self, model, world, *, key=None):
        target, rest = (goal.score(model, world, key=key) for goal in (self.target, self.rest))
        return -(target + self.keep * rest)

    def kinks(self, model, world):
        kinks = [goal.kinks(model, world) for goal in (self.target, self.rest)]
        return jnp.concatenate(kinks)


def targeted(x_target, y_wanted, x_rest, y_rest, loss: Loss, keep=1.0) -> Targeted:
    """Rows to be taken for `y_wanted`, and rows (x_rest, y_rest) on which nothing shall be lost.

    `loss(y, f)` as in `indiscriminate`; the one that the learner trains with is usual.
    """
    if concrete(keep) and not float(keep) >= 0:
        raise ValueError(f"keep: got {keep}, expected a weight >= 0; 0 gives up all stealth")
    target, rest = (
        Indiscriminate(data.x, data.y, data.weight, loss)
        for data in (Data(x_target, y_wanted), Data(x_rest, y_rest))
    )
    return Targeted(target, rest, jnp.asarray(keep, target.weight.dtype))
