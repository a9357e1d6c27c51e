"""Triggers: stamped copies among the training rows, and stamped rows shown to the model."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, Shaped

from bilevel import Data, append
from bilevel.tools import concrete, require_finite

from ..label_maps import AbstractLabelMap
from ..triggers import AbstractTrigger
from ._capability import AbstractCapability, indices, require_rows, require_shapes, row_weights


class Stamp(AbstractCapability):
    """Copies of training rows, with a trigger and labels of the attacker's, after the clean rows;
    rows shown to the model have the trigger (BadNets, Gu et al. 2017).

    - `trigger`: z is its pattern. `trigger.like(dtype)` is that of a fixed attack; with `maximize`
      the trigger is optimised through the training.
    - `rows` (m,): indices of the rows to copy, m >= 1 different ones.
    - `labels` (m,) or (): of the copies; those of the rows make a clean-label control.
    - `weight` (m,): of the copies, in units of the weight of their row; by default ones. A copy of
      weight zero has no effect: attacks with up to m copies can share a compiled program.

    The attacker adds rows to the training set, and shows stamped rows to the finished model. Among
    defenses are those that filter rows by their activations, and pruning. `stamp` draws the rows.
    Raises `ValueError` for shapes that do not match and for NaN; `check` for rows that do not
    exist, labels that are no class, and a trigger that does not fit the rows.
    """

    trigger: AbstractTrigger
    rows: Int[Array, " m"]
    labels: Shaped[Array, " m"]
    weight: Float[Array, " m"]
    keeps_rows = True

    def __init__(self, trigger: AbstractTrigger, rows, labels, weight=None):
        self.trigger, self.rows = trigger, indices(rows)
        labels = jnp.asarray(labels)
        if labels.shape not in ((), self.rows.shape):
            raise ValueError(
                f"labels: got shape {labels.shape}, expected {self.rows.shape}, one per row, or ()"
            )
        require_finite(labels=labels)
        self.labels = jnp.broadcast_to(labels, self.rows.shape)
        self.weight = row_weights(weight, self.rows.shape)

    def check(self, data: Data) -> None:
        self.trigger.check(data.x.shape[1:])
        require_rows(self.rows, data)
        if not (concrete(data.y) and concrete(self.labels)):
            return
        y = np.asarray(data.y)
        if np.issubdtype(y.dtype, np.integer) or np.all(np.abs(y) == 1):
            strange = np.setdiff1d(np.asarray(self.labels), y)
            if strange.size:
                raise ValueError(
                    f"labels: got {strange[0]:g}, which is no class of the training rows; they "
                    f"have {', '.join(f'{label:g}' for label in np.unique(y)[:12])}"
                )

    def shapes(self, data: Data) -> PyTree[jax.ShapeDtypeStruct]:
        return jax.eval_shape(lambda: self.trigger.like(data.x.dtype))

    def example(self, data: Data) -> PyTree:
        """The trigger's own pattern."""
        return self.trigger.like(data.x.dtype)

    def inject(self, z: PyTree, data: Data) -> Data:
        require_shapes("z", z, self.shapes(data))
        weight = self.weight.astype(data.weight.dtype) * data.weight[self.rows]
        return append(data, self.present(z, data.x[self.rows]), self.labels, weight)

    def present(self, z, x, *, key=None):
        del key
        return self.trigger.apply(z, x)

    def project(self, z):
        return self.trigger.project(z)

    def places(self, data):
        return data.rows + np.arange(self.rows.shape[0])

    def units(self, z):
        return self.trigger.units(z)

    def direction(self, gradient):
        return self.trigger.direction(gradient)


def stamp(
    key: PRNGKeyArray,
    trigger: AbstractTrigger,
    data: Data,
    share: float,
    labels: AbstractLabelMap,
) -> Stamp:
    """A backdoor in random rows of the source classes.

    - `key`: typed key of the draw. With the same key, rows of a smaller share are among those of
      a larger one.
    - `data`: the clean training rows. Rows of weight zero are not drawn.
    - `share`: number of copies, in units of the number of training rows.
    - `labels`: which rows, and the labels of their copies.

    Raises `ValueError` for labels or a trigger that do not match the data, and for a share that
    selects no row or more than there are.
    """
    labels.check(data.y)
    able = np.asarray(labels.applies(data.y)) & (np.asarray(data.weight) > 0)
    most, count = int(np.sum(able)), round(share * data.rows)
    if not 1 <= count <= most:
        raise ValueError(
            f"share: got {share:g}, which is {count} of {data.rows} rows, expected 1 to {most}, "
            f"the number of rows of a source class: a share up to {most / data.rows:.3g}"
        )
    rows = jax.random.permutation(key, jnp.asarray(np.flatnonzero(able)))[:count]
    made = Stamp(trigger, rows, labels.labels(data.y)[rows])
    made.check(data)
    return made
