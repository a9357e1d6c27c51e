"""The influence attack on fairness (Mehrabi et al., AAAI 2021).

It raises loss + lambda covariance of group and decision. The attacker knows the training rows, the
learner and its strengths, and validation rows with their groups. The authors move one row of each
label, by an approximate gradient, and insert copies of both; here every row moves, along the exact
one. Defenses: outlier filters and label sanitisation in `defenses`.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from bilevel import Ascent, Data
from bilevel.learners import AbstractLearner
from bilevel.losses import Logistic

from ..domains import AbstractDomain
from ..fairness import Between, MeanDecision
from ..goals import Sum, disparity, indiscriminate
from ._recipe import Recipe
from .fairness_poisoning import poison_fairness


def influence_fairness(
    train: Data,
    start: Float[ArrayLike, "m d"],
    labels: Shaped[ArrayLike, " m"],
    validation: Data,
    group,
    learner: AbstractLearner,
    *,
    against: int = 0,
    favoured: int = 1,
    trade: float | Array = 1.0,
    weight: Float[ArrayLike, " m"] | None = None,
    domain: AbstractDomain | None = None,
    steps: int = 70,
    ascent: Ascent = Ascent(),
) -> Recipe:
    """Insert m rows that raise the logistic loss and the covariance of group and decision.

    - `against`, `favoured`: the two groups whose decisions are driven apart.
    - `trade`: lambda, the weight of the covariance; 1 in the paper.

    The other arguments and errors are those of `poison_fairness`.
    """
    goal = influence_goal(validation, group, against, favoured, trade)
    return poison_fairness(
        train, start, labels, validation, group, learner, weight=weight, goal=goal, domain=domain,
        steps=steps, ascent=ascent,
    )  # fmt: skip


def influence_goal(
    validation: Data, group, against: int = 0, favoured: int = 1, trade: float | Array = 1.0
) -> Sum:
    """The loss + lambda covariance that `influence_fairness` raises; its arguments and errors."""
    loss = indiscriminate(validation.x, validation.y, Logistic())
    apart = disparity(validation.x, validation.y, group, MeanDecision(Between(favoured, against)))
    return Sum([loss, apart], jnp.asarray([1.0, trade]))
