"""Labels of the attacker's choice for some rows, and unchanged predictions for others."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel import Data
from bilevel.tools import concrete

from ._goal import AbstractGoal
from ._rows import AbstractRowGoal, Loss
from .indiscriminate import Indiscriminate


class Targeted(AbstractGoal):
    """-(score of `target` + keep * score of `rest`): minus the mean loss of the target rows with
    the attacker's labels and that of other rows.

    Munoz-Gonzalez et al., AISec 2017, section 3: a validation set whose target rows have the
    attacker's labels. A larger `keep` makes the attack less visible and less successful.
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
        return -(target + self.keep.astype(rest.dtype) * rest)

    def kinks(self, model, world):
        kinks = [goal.kinks(model, world) for goal in (self.target, self.rest)]
        return jnp.concatenate(kinks)


def targeted(x_target, y_wanted, x_rest, y_rest, loss: Loss, keep=1.0) -> Targeted:
    """Lower the loss of target rows with the attacker's labels, and keep it low on other rows.

    - `x_target` (n, ...), `y_wanted` (n,): target rows and the attacker's labels.
    - `x_rest` (k, ...), `y_rest` (k,): other rows and their labels.
    - `loss(y, f)`: usually the loss of the learner.
    - `keep`: weight of the other rows, >= 0; otherwise `ValueError`.
    """
    if concrete(keep) and not float(keep) >= 0:
        raise ValueError(f"keep: got {keep}, expected a weight >= 0; 0 ignores the other rows")
    target, rest = (
        Indiscriminate(data.x, data.y, data.weight, loss)
        for data in (Data(x_target, y_wanted), Data(x_rest, y_rest))
    )
    return Targeted(target, rest, jnp.asarray(keep, target.weight.dtype))
