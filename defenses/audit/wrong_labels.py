"""The histogram of wrong labels (Liu et al., "Trojaning attack on neural networks", NDSS 2018)."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._audit import AbstractAudit, Verdict
from ._checks import classes_of


class LabelHistogram(eqx.Module):
    """The evidence: `wrong` (k,), how many rows of other classes are read as each label."""

    wrong: Int[Array, " k"]


class WrongLabels(AbstractAudit):
    """A model is suspect if more than `threshold` of the rows that it reads wrong are read as one
    and the same label.

    - `threshold`: a share of the wrong rows, in (0, 1).

    It does not separate infected networks from clean ones on clean rows, where the trigger plays no
    part (`neural-cleanse` prints both). On rows of which many bear the trigger it does: it is a
    look at rows that came in, not at a model. Any function of rows will do, see `models.Plain`.

    The score is 0 for a model without a wrong row. Raises `ValueError` for a model of two classes,
    and for rows that it does not accept or that are of one class only.
    """

    threshold: float = 0.6

    def __check_init__(self):
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold: got {self.threshold}, expected a share between 0 and 1")

    def examine(self, model, clean, *, key=None):
        classes = classes_of(model, clean, least=3)
        read = model.predict(clean.x, key=key)
        wrong: Bool[Array, " n"] = read != clean.y.astype(read.dtype)
        counts = jnp.sum(
            (read[:, None] == jnp.arange(classes, dtype=read.dtype)[None]) & wrong[:, None], axis=0
        )
        share: Float[Array, ""] = jnp.max(counts) / jnp.maximum(jnp.sum(counts), 1)
        return Verdict(share > self.threshold, share, LabelHistogram(counts))
