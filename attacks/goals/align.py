"""Gradient matching: poison rows whose gradient points where a target's does."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bilevel import Data
from bilevel.tools import dot

from ._goal import AbstractGoal, require_alike
from .cancelling import gradient


class Align(AbstractGoal):
    """Cosine of two gradients in the parameters of the model: of the loss of `target`, rows with
    the attacker's labels, and of the mean loss of the poison rows. A victim that lowers the one
    lowers the other (Witches' Brew, Geiping et al., ICLR 2021, whose loss is 1 minus the score).

    With `learners.Fixed(model)` no training is unrolled; second derivatives of the network take its
    place. Target rows are seen as the capability shows them: with `WithTrigger` around `Perturb`
    and source rows with the trigger's label as `target` it is the Sleeper Agent (Souri et al.,
    NeurIPS 2022). Over several models: `bilevel.Members`.

    - `target`: one or more rows, and the labels that the attacker wants for them.
    - `loss(y, f)`: of the victim's training.
    - `augment(key, x) -> x`: the random change of the rows of each step of the victim's training
      (`Network.augment`), applied to the poison rows. It needs the key of the attack;
      `maximize(..., draws=Fresh(key))` draws anew at each step.

    `score` raises `ValueError` without poison rows, and for `augment` without a key.
    """

    target: Data
    loss: Callable[[Array, Array], Array]
    augment: Callable[[PRNGKeyArray, Array], Array] | None = None

    def check(self, data):
        require_alike(self.target.x, data, "target")
        check_labels = getattr(self.loss, "check", None)
        if check_labels is not None:
            check_labels(self.target.y, "target.y")

    def score(self, model, world, *, key=None):
        if world.poison is None or world.poison.rows == 0:
            raise ValueError(
                "reach: got a capability without training rows of its own, expected one that "
                "changes or inserts some, such as Perturb or Insert"
            )
        x = world.poison.x
        if self.augment is not None:
            if key is None:
                raise ValueError(
                    "key: got None, expected a key for `augment`; give compose(..., key=key)"
                )
            x = self.augment(key, x)
        poison = Data(x, world.poison.y, world.poison.weight)
        shown = Data(world.shown(self.target.x, key=key), self.target.y, self.target.weight)
        wanted, got = (gradient(model, rows, self.loss) for rows in (shown, poison))
        return dot(wanted, got) / (_length(wanted) * _length(got))


def _length(slope: PyTree) -> Float[Array, ""]:
    """The norm; 1 of zeros, where the norm has no derivative."""
    square = dot(slope, slope)
    return jnp.sqrt(jnp.where(square > 0, square, 1))
