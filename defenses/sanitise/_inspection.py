"""What a sanitiser made of the rows it was given."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bilevel import Data
from bilevel.results import CONVERGED


class Inspection(eqx.Module):
    """What a sanitiser made of the rows it was given.

    - `data`: the rows as the learner sees them: weights lowered (0: dropped) or labels changed.
    - `score`: what the rows were judged by, larger is worse; NaN where none was needed.
    - `trainings`: how often the learner was trained for it.
    - `result`: the worst code of these trainings; 0 if all converged.
    - `margin`: distance of each score from the threshold of its row, infinite where there is none;
      None for a sanitiser that has no threshold.
    - `decided`: rows whose label the sanitiser set, whatever it was; None for none.
    - `inner`: the report of a defense that the learner has inside, else None.
    """

    data: Data
    score: Float[Array, " n"]
    trainings: Int[Array, ""] = 0  # pyright: ignore[reportAssignmentType]
    result: Int[Array, ""] = CONVERGED  # pyright: ignore[reportAssignmentType]
    margin: Float[Array, " n"] | None = None
    decided: Bool[Array, " n"] | None = None
    inner: object = None

    @property
    def kept(self) -> Bool[Array, " n"]:
        """Rows that still count."""
        return self.data.weight > 0

    def message(self, given: Data) -> str:
        """One sentence on (concrete) `given`, the rows that were inspected: how many were dropped
        or relabelled, and whether anything sets them apart.
        """
        used, kept = np.asarray(given.weight) > 0, np.asarray(self.kept)
        relabelled = int(np.sum(np.asarray(given.y) != np.asarray(self.data.y)))
        dropped = used & ~kept
        text = f"kept {int(np.sum(used & kept))} of {int(np.sum(used))} rows"
        text += f", relabelled {relabelled}" if relabelled else ""
        text += f"; {int(self.trainings)} trainings"
        score = np.asarray(self.score)
        both = dropped.any() and (used & kept).any()
        if both and (score[used] > 0).all():  # and none is NaN
            gap = float(score[dropped].min() / score[used & kept].max())
            text += (
                f"; the least suspect row dropped scores {gap:.3g} times the most suspect one kept"
            )
            if gap < 1.5:
                text += (
                    ": no gap, so that clean rows are likely among the dropped. Train on rows "
                    "known to be clean to measure what dropping them costs"
                )
        return text


def reweighed(data: Data, keep: Float[Array, " n"]) -> Data:
    """The data with weights multiplied by `keep`."""
    return eqx.tree_at(lambda d: d.weight, data, data.weight * keep.astype(data.weight.dtype))


def gaps(
    score: Float[Array, " n"], kept: Bool[Array, " n"], used: Bool[Array, " n"]
) -> Float[Array, " n"]:
    """Distance of each score from the threshold between kept and dropped; infinite without one."""
    highest = jnp.max(jnp.where(used & kept, score, -jnp.inf))
    lowest = jnp.min(jnp.where(used & ~kept, score, jnp.inf))
    middle = 0.5 * (highest + lowest)
    return jnp.where(used & jnp.isfinite(middle), jnp.abs(score - middle), jnp.inf)
