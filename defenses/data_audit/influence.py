"""What each training row does to the loss on other rows, by one certified derivative.

Koh & Liang, "Understanding black-box predictions via influence functions", ICML 2017. The rows are
followed by copies of weight zero with another label: the derivative in a copy's weight is what such
a row would do.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

import bilevel
from bilevel import Certificate, Data

from .judge import Rows
from .match import Match

FEW_CELLS = 300_000
"""Rows times features up to which compiling a program takes longer than twelve gradients."""
SURE = 0.01
"""Largest error of a certified gradient, as a share of it, or of the least figure shown of it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Influence:
    """Derivatives of the mean loss on rows held out, in the weights of n training rows.

    - `match`: whose learner it is; smooth in the weights. `rows`: the training rows, `held`: those
      held out. `other_label` (n,): the label that a copy of each row has.
    - `certificate`: of all derivatives, at the rows as they are.
    """

    match: Match
    rows: Rows
    held: Rows
    other_label: Float[np.ndarray, " n"]
    certificate: Certificate

    @property
    def of_removal(self) -> Float[np.ndarray, " n"]:
        """What leaving a row out adds to the loss, to first order."""
        return -_halves(self.certificate.gradient)[0] * self.rows.weight

    @property
    def of_other_label(self) -> Float[np.ndarray, " n"]:
        """What a further copy of a row, with another label, adds to the loss, to first order."""
        return _halves(self.certificate.gradient)[1]

    def at(self, taken: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """What changing a label adds to the loss, where those of a mask have been changed."""
        gradient = self.certificate.gradient
        if taken.any():
            weight = self.rows.weight
            w = jnp.asarray(
                np.concatenate([np.where(taken, 0, weight), np.where(taken, weight, 0)])
            )
            objective = _objective(self.match, self.rows, self.held, self.other_label)
            # A certificate costs many gradients, but its program is compiled already.
            few = self.rows.x.size <= FEW_CELLS
            gradient = bilevel.certify(objective, w).gradient if few else jax.grad(objective)(w)
        own, other = _halves(gradient)
        return (other - own) * self.rows.weight

    def sure(self, shown: Float[np.ndarray, " k"]) -> bool:
        """Whether these figures, some of the derivatives, are right to a hundredth."""
        least = float(np.min(np.abs(shown), initial=np.inf))
        return float(self.certificate.error_bound) <= SURE * least

    def exact_removal(self, which: Int[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """What leaving each of these rows out adds to the loss: scikit-learn trains without it."""
        model = self.match.twin()
        if hasattr(model, "warm_start"):
            model.set_params(warm_start=True)

        def loss(rows: Rows) -> float:
            weighed = np.any(rows.weight != 1)  # equal weights of another size count as well
            model.fit(rows.x, rows.y, **({"sample_weight": rows.weight} if weighed else {}))
            decide = getattr(model, "decision_function", model.predict)
            each = self.match.loss(jnp.asarray(self.held.y), jnp.asarray(decide(self.held.x)))
            return float(np.average(np.asarray(each), weights=self.held.weight))

        whole = loss(self.rows)
        others = [np.arange(self.rows.y.size) != row for row in which]
        return np.array([loss(self.rows.take(kept)) - whole for kept in others])


def _halves(gradient: Any) -> Float[np.ndarray, "2 n"]:
    return np.asarray(gradient).reshape(2, -1)


def influence(match: Match, rows: Rows, held: Rows, other: Float[np.ndarray, " n"]) -> Influence:
    """The influence of `rows` on the loss of rows `held` out; `other` (n,): labels of copies."""
    w = jnp.asarray(np.concatenate([rows.weight, np.zeros_like(rows.weight)]))
    certificate = bilevel.certify(_objective(match, rows, held, other), w)
    return Influence(match, rows, held, other, certificate)


def other_labels(match: Match, rows: Rows, classes: int) -> Float[np.ndarray, " n"]:
    """Of two classes the other, of more the least likely one, of numbers the farther end."""
    if classes == 0:
        return np.round(1 - rows.y)
    if classes == 2:
        return -rows.y
    model = match.twin().fit(rows.x, rows.y)
    return model.classes_[np.argmin(model.decision_function(rows.x), axis=1)]


def _objective(
    match: Match, rows: Rows, held: Rows, other: Float[np.ndarray, " n"]
) -> bilevel.Bilevel:
    """Weights (2 n,) of rows and copies -> loss of the model on rows held out."""
    x = jnp.concatenate([jnp.asarray(rows.x)] * 2)
    y = jnp.concatenate([jnp.asarray(rows.y), jnp.asarray(other)])
    goal, ours, loss = Data(held.x, held.y, held.weight), match.ours, match.loss

    def training(w: Array) -> Any:
        return ours(jnp.sum(w)).training(Data(x, y, w))

    def inner(w: Array) -> Any:
        return training(w).problem

    def outer(w: Array, value: Any) -> Array:
        f = training(w).trained(value).model.decision(goal.x)
        return jnp.sum(goal.weight * loss(goal.y, f)) / jnp.sum(goal.weight)

    solver = ours(jnp.asarray(float(np.sum(rows.weight)))).solver
    return bilevel.Bilevel(inner, outer, solver)
