"""Smooth measures of disparity between groups: disparate impact, parity, odds."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, Shaped

from bilevel import Data
from bilevel.tools import concrete

from ..fairness._groups import Rates
from ..fairness.measures import AbstractMeasure
from ._goal import AbstractGoal
from ._grouped import grouped


class SoftError(eqx.Module):
    """sigmoid(-y f / temperature): a smooth count of errors, as a loss. Labels -1 and +1."""

    temperature: float = 0.25

    def __call__(self, y: Shaped[Array, " n"], f: Float[Array, " n"]) -> Float[Array, " n"]:
        return jax.nn.sigmoid(-y.astype(f.dtype) * f / self.temperature)


class Disparity(AbstractGoal):
    """A measure of smooth rates. A row is selected to the degree sigmoid(decision / temperature).

    - `x` (n, ...), `y` (n,), `group` (n,), `weight` (n,): validation rows, labels -1 and +1, groups
      0 ... k - 1, weights.
    - `measure`: of `attacks.fairness`. `groups`: the number k.
    - `temperature`: > 0, in units of the decision; the smaller, the nearer to hard rates, and the
      flatter away from the decision boundary.

    Made by `disparity`. The attack raises the measure; `Sum([goal], [-1.0])` lowers it, and
    `Near(goal, level)` brings it to a level.
    """

    x: PyTree  # (n, ...), or the result of the learner's `prepare_rows`
    y: Shaped[Array, " n"]
    group: Int[Array, " n"]
    weight: Float[Array, " n"]
    measure: AbstractMeasure
    temperature: Float[Array, ""]
    groups: int = eqx.field(static=True)

    def check(self, data: Data) -> None:
        if self.x.shape[1:] != data.x.shape[1:]:
            raise ValueError(
                f"x_val: got rows of shape {self.x.shape[1:]}, expected {data.x.shape[1:]}, as in "
                "the training rows"
            )

    def prepare(self, learner):
        return eqx.tree_at(lambda g: g.x, self, learner.prepare_rows(self.x))

    def rates(self, model) -> Rates:
        """Smooth rates of each group."""
        f = model.decision(self.x)
        if f.ndim != 1:
            raise ValueError(
                f"goal: the model's decision has shape {f.shape}, expected one number per row; "
                "train a model of two classes with labels -1 and +1"
            )
        inside = self.group[:, None] == jnp.arange(self.groups)[None, :]
        weight = jnp.where(inside, self.weight.astype(f.dtype)[:, None], 0)
        selected = jax.nn.sigmoid(f / self.temperature.astype(f.dtype))

        def mean(values: Array, weight: Array) -> Array:
            return values @ weight / jnp.sum(weight, axis=0)

        positive = (self.y > 0)[:, None]
        return Rates(
            share=jnp.sum(weight, axis=0) / jnp.sum(weight),
            selection=mean(selected, weight),
            true_positive=mean(selected, jnp.where(positive, weight, 0)),
            false_positive=mean(selected, jnp.where(positive, 0, weight)),
            decision=mean(f, weight),
        )

    def score(self, model, world, *, key=None):
        del world, key
        return self.measure(self.rates(model))

    def kinks(self, model, world):
        kinks = self.measure.kinks(self.rates(model))
        return jnp.stack(kinks) if kinks else super().kinks(model, world)


def disparity(
    x_val, y_val, group, measure: AbstractMeasure, temperature: float | Array = 0.25
) -> Disparity:
    """Raise a smooth measure of disparity on validation rows.

    - `x_val` (n, ...), `y_val` (n,): rows and labels, +1 the favourable outcome and -1.
    - `group` (n,): 0 ... k - 1, k >= 2. It need not be a feature.
    - `measure`: for example `fairness.DisparateImpact(fairness.Between(0, 1))`.
    - `temperature`: see `Disparity`.

    Raises `ValueError` for rows, labels and groups that do not fit, for a group that lacks the
    labels the measure needs, and for one with a single row.
    """
    data, groups = grouped(x_val, y_val, group, ("rows", *measure.needs))
    number = int(np.max(np.asarray(groups))) + 1
    unknown = [g for g in measure.contrast.groups() if not 0 <= g < number]
    if unknown:
        raise ValueError(
            f"measure: compares group {unknown[0]}, expected groups 0 to {number - 1}, as in group"
        )
    if concrete(temperature) and not 0 < float(temperature) < np.inf:
        raise ValueError(f"temperature: got {temperature}, expected a finite number > 0")
    soft = jnp.asarray(temperature, float)
    return Disparity(data.x, data.y, groups, data.weight, measure, soft, number)
