"""Choosing among defenses of a learner, or none, by cross-validation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from bilevel import Data, batch
from bilevel.learners import AbstractLearner
from bilevel.losses import CrossEntropy
from bilevel.results import CONVERGED
from bilevel.tools import program

from ._defense import AbstractDefense
from ._hash import row_hash
from ._held_out import FOLDS, HeldOut, bounded
from .ensemble._parts import split
from .sanitise._inspection import reweighed
from .sanitise._quotas import class_of
from .sanitise._sanitiser import mask_of
from .sanitise.confident_learning import folds_of


class Choice(NamedTuple):
    """What rows held out of training say of some defenses.

    - `learner`: the one that pays, or the undefended learner.
    - `number`: which of the defenses that is; None if no defense surely pays.
    - `losses` (1 + k,): mean losses of rows held out, undefended and behind each of the defenses.
    - `message`: in words; of a single defense, whether it made it worse.
    """

    learner: AbstractLearner
    number: int | None
    losses: Float[np.ndarray, " m"]
    message: str


def choose(
    defenses: Sequence[AbstractDefense], data: Data, *, key: PRNGKeyArray | None = None
) -> Choice:
    """Choose the defense that pays on these rows, which may hold poison, or none.

    Cross-validation in five folds: the first of the defenses whose loss on rows held out is the
    least, to half a standard error, if it is less than the undefended one by 1.5 of them. The loss
    is the share of errors where labels are classes; of numbers r / (r + m), r the squared residual
    and m its median undefended. It is bounded, so that poison among the rows held out can hide no
    harm much larger than its share. A training that fails has the largest loss. Where rows are few,
    this does less than would pay.

    - `defenses`: around the same learner, the weakest first: `[Trim(learner, share) for share in
      (.05, .1, .2, .3)]`. Of a single one the message says whether it made it worse.
    - `data`: concrete training rows.
    - `key`: typed key, for a learner with randomness.

    Raises `ValueError` for no defense, for defenses around different learners, for fewer than ten
    rows, and if a part of the rows cannot be trained on.
    """
    plain = _undefended(defenses)
    loss, used = plain.loss, np.asarray(data.weight) > 0
    group, place = _dealt(data, loss)
    classes = isinstance(loss, CrossEntropy) or bool(jnp.any(group != 0))
    if np.sum(used) < 2 * FOLDS:
        raise ValueError(
            f"data: got {int(np.sum(used))} rows of weight > 0, expected {2 * FOLDS} at least, to "
            f"hold out a fifth of them by turns"
        )
    found = []
    for learner in (plain, *defenses):
        for fold in range(FOLDS):
            learner.check(_without(data, place, fold))
        misses, codes = _misses(learner, data, place, key)
        miss = jnp.where(codes[place] == CONVERGED, misses[0] if classes else misses[1], jnp.inf)
        found.append(np.asarray(miss, np.float64))
    losses = np.array(found)
    losses = np.nan_to_num(losses if classes else bounded(losses), nan=1.0, posinf=1.0)
    weight = np.asarray(data.weight, np.float64)
    held = HeldOut(losses, weight / np.sum(weight))
    number = held.chosen()
    means = losses @ held.share
    if number is None:
        told = held.told(0) if len(defenses) == 1 else f"undefended held-out loss {means[0]:.3g}"
        return Choice(plain, None, means, f"no defense surely pays: {told}")
    chosen = defenses[number]
    message = f"number {number}, {type(chosen).__name__}: {held.told(number)}"
    return Choice(chosen, number, means, message)


def _undefended(defenses: Sequence[AbstractDefense]) -> AbstractLearner:
    """The learner that all of them wrap."""
    if not defenses or not all(isinstance(each, AbstractDefense) for each in defenses):
        raise ValueError(
            f"defenses: got {defenses!r}, expected one or more defenses around a learner, as in "
            "[Trim(learner, .1), Trim(learner, .2)]"
        )
    plain = defenses[0].learner
    if not all(eqx.tree_equal(plain, each.learner) for each in defenses):
        raise ValueError("defenses: got some around different learners, expected the same one")
    return plain


@program
def _dealt(data: Data, loss: Any) -> tuple[Float[Array, " n"], Int[Array, " n"]]:
    """(class, fold) of each row."""
    group = class_of(data, loss)
    return group, folds_of(row_hash(data.x, data.y), group, data.weight > 0, FOLDS)


def _without(data: Data, place: Int[Array, " n"], fold: Int[Array, ""] | int) -> Data:
    """The data, where the rows of a fold have weight zero."""
    return reweighed(data, mask_of(place != fold, data.weight))


@eqx.filter_jit
def _misses(
    learner: AbstractLearner, data: Data, place: Int[Array, " n"], key: PRNGKeyArray | None
) -> tuple[tuple[Array, Array], Int[Array, " k"]]:
    """((errors (n,), squared residuals (n,)) of models that did not see the row; the codes of their
    trainings).
    """
    y = data.targets()

    def of_fold(fold: Int[Array, ""], key) -> tuple[tuple[Array, Array], Array]:
        fitted = learner.fit(_without(data, place, fold), key=key, throw=False)
        f = fitted.model.decision(data.x)
        wrong = (fitted.model.predict(data.x) != y.astype(jnp.int32)).astype(data.weight.dtype)
        return (wrong, (f - y) ** 2 if f.ndim == 1 else wrong), fitted.result

    numbers = jnp.arange(FOLDS, dtype=jnp.int32)
    misses, codes = batch(of_fold)(numbers, split(key, FOLDS))
    own = jax.tree.map(lambda of: jnp.take_along_axis(of, place[None, :], axis=0)[0], misses)
    return own, codes
