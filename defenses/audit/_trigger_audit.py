"""Audits that restore a trigger for every label, and compare the labels by them."""

import abc
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from attacks import Box
from bilevel import Data
from bilevel.learners import AbstractModel

from ._audit import AbstractAudit, Verdict
from ._outliers import low_outliers
from ._reconstruction import Penalty, RestoredTriggers, TriggerSearch, restored


class ComparedLabels(eqx.Module):
    """The evidence of such an audit.

    - `triggers`: of all k labels.
    - `figure` (k,): what the labels are compared by, smaller is worse.
    - `index` (k,): how many deviations a figure is below the median, the deviation being 1.4826
      times the median absolute deviation; negative above the median.
    - `suspect` (k,): whether that is above the threshold.
    """

    triggers: RestoredTriggers
    figure: Float[Array, " k"]
    index: Float[Array, " k"]
    suspect: Bool[Array, " k"]


class AbstractTriggerAudit(AbstractAudit):
    """Restores the smallest trigger of each label under a penalty; a label whose figure is far
    below that of the others is suspect, and so is the model.

    - `search`: rounds, rows and steps. `domain`: the range of the rows.
    - `threshold`: the index from which a label is suspect.
    """

    search: eqx.AbstractVar[TriggerSearch]
    domain: eqx.AbstractVar[Box]
    threshold: eqx.AbstractVar[float]

    @abc.abstractmethod
    def penalty(self) -> Penalty:
        """What lam multiplies in the search."""

    @abc.abstractmethod
    def figures(
        self, model: AbstractModel, clean: Data, triggers: RestoredTriggers
    ) -> Float[Array, " k"]:
        """What the labels are compared by, smaller is worse."""

    def restore(
        self,
        model: AbstractModel,
        clean: Data,
        labels: ArrayLike | Sequence[int] | None = None,
        *,
        key: PRNGKeyArray,
    ) -> RestoredTriggers:
        """The triggers of some labels, by default of all; those of `examine` with the same key."""
        return restored(self.search, self.penalty(), self.domain, model, clean, labels, key)

    def examine(self, model, clean, *, key=None):
        triggers = restored(self.search, self.penalty(), self.domain, model, clean, None, key)
        figure = self.figures(model, clean, triggers)
        index = low_outliers(figure)
        suspect = index > self.threshold
        evidence = ComparedLabels(triggers, figure, index, suspect)
        return Verdict(jnp.any(suspect), jnp.max(index), evidence)
