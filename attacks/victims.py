"""What a backdoor does to fresh victims, beside victims of clean data."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree
from scipy.special import stdtrit

from bilevel import Data, batch
from bilevel.learners import AbstractLearner, AbstractModel, Fitted, ensemble

from ._compose import Attack
from .label_maps import AbstractLabelMap


class Rates(eqx.Module):
    """A share of test rows for each of k victims.

    - `each` (k,): the shares, by the weights of the rows; NaN for a victim without rows to count.
    - `rows` (k,): number of rows that each share is of.
    """

    each: Float[Array, " *k"]
    rows: Int[Array, " *k"]

    @property
    def n(self) -> int:
        """Number of victims."""
        return self.each.shape[0]

    @property
    def mean(self) -> float:
        """Mean over the victims."""
        return float(jnp.mean(self.each))

    @property
    def worst(self) -> float:
        """The least, which is worst for the attacker."""
        return float(jnp.min(self.each))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval: of the mean over k >= 2 victims by Student's t, which is about other
        victims on these rows; of a single victim by Wilson's score, which is about other rows.
        """
        each, n = np.asarray(self.each, float), self.n
        if n > 1:
            half = float(stdtrit(n - 1, 0.975)) * np.std(each, ddof=1) / n**0.5
            return max(0.0, float(each.mean() - half)), min(1.0, float(each.mean() + half))
        share, rows, z = float(each[0]), float(self.rows[0]), 1.959963985
        middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
        half = z / (1 + z**2 / rows) * (share * (1 - share) / rows + z**2 / (4 * rows**2)) ** 0.5
        return max(0.0, middle - half), min(1.0, middle + half)


class Victims(eqx.Module):
    """k models of one training set, judged on test rows.

    - `accuracy`: on the rows as they are.
    - `success`: share of the rows shown with the trigger whose prediction is the attacker's; of
      rows that the trigger is for, and that the same model gets right without it.
    - `result` (k,): codes of the trainings, see `bilevel.results`.
    """

    accuracy: Rates
    success: Rates
    result: Int[Array, " k"]


class Judged(eqx.Module):
    """Victims of the attack, and its control: victims of the clean rows, trained with the same keys
    and shown the same stamped rows.
    """

    attacked: Victims
    clean: Victims


def victims(
    attack: Attack,
    z: PyTree,
    test: Data,
    labels: AbstractLabelMap,
    keys: Key[Array, " k"] | None = None,
    *,
    size: int | None = None,
) -> Judged:
    """Train fresh victims on the data as changed by z, and judge them on test rows.

    - `attack`: its learner, capability and clean rows count; its goal does not.
    - `z`: for a fixed trigger `attack.reach.example(attack.data)`.
    - `test`: rows that nobody has seen, with their true labels.
    - `labels`: which rows the trigger is for, and what the attacker wants of them.
    - `keys` (k,): typed keys, one per victim, other than the attacker's; None for one victim of a
      learner without randomness.
    - `size`: number of victims that train at once, see `bilevel.learners.ensemble`.

    Raises `ValueError` for test rows and labels that do not match. A training that failed is in
    `result`.
    """
    if test.x.shape[1:] != attack.data.x.shape[1:]:
        raise ValueError(
            f"test: got rows of shape {test.x.shape[1:]}, expected {attack.data.x.shape[1:]}, as "
            "in the training rows"
        )
    labels.check(test.y)
    world = attack.world(z)
    shown = world.shown(test.x)
    attacked, clean = (
        judge(_fitted(attack.learner, data, keys, size), test, shown, labels, size=size)
        for data in (world.train, attack.data)
    )
    return Judged(attacked, clean)


def _fitted(
    learner: AbstractLearner, data: Data, keys: Key[Array, " k"] | None, size: int | None
) -> Fitted:
    if keys is not None:
        return ensemble(learner, data, keys, size)
    fitted = learner.fit(data, throw=False)
    return jax.tree.map(lambda leaf: leaf[None] if eqx.is_array(leaf) else leaf, fitted)


def judge(
    fitted: Fitted,
    test: Data,
    shown: Float[Array, "n ..."],
    labels: AbstractLabelMap,
    *,
    size: int | None = None,
) -> Victims:
    """Judge victims that are trained already, for example clean ones against several triggers.

    - `fitted`: of `bilevel.learners.ensemble`.
    - `test`: rows with their true labels. `shown` (n, ...): the same rows with the trigger.
    - `labels`, `size`: see `victims`.
    """

    def of(model: AbstractModel) -> tuple[Rates, Rates]:
        right = model.predict(test.x) == test.y.astype(jnp.int32)
        counted = right & labels.applies(test.y)
        reached = labels.reached(test.y, model.predict(shown))
        return _rate(right, jnp.ones_like(right), test), _rate(reached, counted, test)

    accuracy, success = batch(of, size)(fitted.model)
    return Victims(accuracy, success, fitted.result)


def _rate(yes: Array, counted: Array, test: Data) -> Rates:
    weight = jnp.where(counted, test.weight, 0)
    share = jnp.sum(jnp.where(yes, weight, 0)) / jnp.sum(weight)
    return Rates(share, jnp.sum(weight > 0).astype(jnp.int32))
