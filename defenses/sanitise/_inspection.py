"""What a sanitiser made of the rows it was given."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Real

from bilevel import Data
from bilevel.results import CONVERGED, Code

from ._message import sentence
from ._quotas import first_of


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
    - `group`: the class of each row, a number, as quotas count it; None for none.
    - `spared`: rows that are suspect and kept, because all of their class are; None for none.
    """

    data: Data
    score: Float[Array, " n"]
    trainings: Int[Array, ""] | int = 0
    result: Code = CONVERGED
    margin: Float[Array, " n"] | None = None
    decided: Bool[Array, " n"] | None = None
    inner: object = None
    group: Float[Array, " n"] | None = None
    spared: Bool[Array, " n"] | None = None

    @property
    def kept(self) -> Bool[Array, " n"]:
        """Rows that still count."""
        return self.data.weight > 0

    def message(self, given: Data) -> str:
        """One sentence on (concrete) `given`, the rows that were inspected: how many were dropped
        or relabelled, of which class, and whether anything sets them apart.
        """
        y = np.asarray(given.y)
        none = np.zeros(y.size)
        group = none if self.group is None else np.asarray(self.group)
        spared = [] if self.spared is None else np.unique(group[np.asarray(self.spared)])
        return sentence(
            used=np.asarray(given.weight) > 0,
            kept=np.asarray(self.kept),
            changed=y != np.asarray(self.data.y),
            score=np.asarray(self.score),
            group=group,
            trainings=int(self.trainings),
            spared=list(spared),
        )


def reweighed(data: Data, keep: Real[Array, " n"] | Bool[Array, " n"]) -> Data:
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


def class_gaps(
    score: Float[Array, " n"],
    kept: Bool[Array, " n"],
    used: Bool[Array, " n"],
    group: Float[Array, " n"],
    first: Bool[Array, " n"],
) -> Float[Array, " n"]:
    """Distance of each score from the nearest threshold of its row: that of its class, and, but for
    rows kept as `first` of their class, that between the others of all classes.
    """
    apart = gaps_by(score, kept, used, group)
    return jnp.minimum(apart, gaps(score, kept, used & ~first))


def gaps_by(
    score: Float[Array, " n"],
    kept: Bool[Array, " n"],
    used: Bool[Array, " n"],
    group: Float[Array, " n"],
) -> Float[Array, " n"]:
    """`gaps` of the rows of each class."""
    number, rows = first_of(group, used), score.shape[0]
    highest = jnp.where(used & kept, score, -jnp.inf)
    lowest = jnp.where(used & ~kept, score, jnp.inf)
    highest = jax.ops.segment_max(highest, number, rows)[number]
    lowest = jax.ops.segment_min(lowest, number, rows)[number]
    middle = 0.5 * (highest + lowest)
    return jnp.where(used & jnp.isfinite(middle), jnp.abs(score - middle), jnp.inf)


def quota_gaps(
    apart: Float[Array, " n"],
    score: Float[Array, " n"],
    within: Bool[Array, " n"],
    kept: Bool[Array, " n"],
    used: Bool[Array, " n"],
    group: Float[Array, " n"],
) -> Float[Array, " n"]:
    """Distances `apart` (n,) from the threshold that a row stays `within` by itself; in a class to
    which a quota adds rows, from the one between `kept` and not, if that is nearer.
    """
    number, rows = first_of(group, used), score.shape[0]
    added = jax.ops.segment_max((kept & ~within).astype(jnp.int32), number, rows)[number] > 0
    apart = jnp.where(added, jnp.minimum(apart, gaps_by(score, kept, used, group)), apart)
    return jnp.where(used, apart, jnp.inf)
