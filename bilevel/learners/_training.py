"""One training: the inner problem that rows make, and the model that its solution stands for."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from .._data import Data
from .._solution import checked
from .._solver import Point
from ..results import CONVERGED, sentence
from ._model import AbstractModel


class Trained(eqx.Module):
    """A model that was worked on after training (pruned, fine-tuned).

    - `result`: code of that work. `report`: what it did.
    """

    model: AbstractModel
    result: Int[Array, ""] = CONVERGED  # pyright: ignore[reportAssignmentType]
    report: Any = None


class Training(eqx.Module):
    """What a learner makes of rows, once: everything but the solve.

    - `data`: the rows as trained on: a defense lowers weights or changes labels.
    - `problem`: the inner problem; None where there is nothing to solve.
    - `make_model(value)`: the model (or `Trained`) that a solution stands for. A function of
      its argument alone, or an `eqx.Partial` that holds the arrays it uses.
    - `make_kinks(value)`: quantities at whose zeros the training changes abruptly.
    - `make_support(value)`: per row, whether the solution depends on it (n,).
    - `result`: the worst code of the trainings made on the way here.
    - `report`: what a defense found.
    - `point`: where `problem` has been solved on the way here, if it has.
    - `inner`: the training of the learner that a defense wraps.
    """

    data: Data
    problem: PyTree
    make_model: Callable[[PyTree], AbstractModel | Trained]
    make_kinks: Callable[[PyTree], Array] | None = None
    make_support: Callable[[PyTree], Bool[Array, " n"]] | None = None
    result: Int[Array, ""] = CONVERGED  # pyright: ignore[reportAssignmentType]
    report: Any = None
    point: Point | None = None
    inner: "Training | None" = None

    def trained(self, value: PyTree) -> Trained:
        """The model that a solution stands for, with what was done to it after training."""
        made = self.make_model(value)
        return made if isinstance(made, Trained) else Trained(made)

    def kinks(self, value: PyTree) -> Array:
        """Quantities at whose zeros the training changes abruptly; may be empty."""
        if self.make_kinks is None:
            return jnp.zeros(0, self.data.x.dtype)
        return self.make_kinks(value)

    def support(self, value: PyTree) -> Bool[Array, " n"]:
        """Per row, whether the solution depends on it."""
        if self.make_support is None:
            return jnp.ones(self.data.rows, bool)
        return self.make_support(value)


class Fitted(eqx.Module):
    """Outcome of `Learner.fit`.

    - `model`: an `AbstractModel`, of the kind that the learner makes: `decision`, `predict`, ...
    - `warm`: the start of the next fit on nearby rows; None for a learner that follows a path.
    - `result`: int32 code of the worst training made; 0 means all converged.
    - `stats`: what the solver counted.
    - `report`: what a defense found in the rows (`Inspection`), else None.
    """

    model: Any
    warm: PyTree
    result: Int[Array, "..."]
    stats: dict[str, Any]
    report: Any

    @property
    def message(self) -> str:
        """The sentence of a concrete `result` (the first failure, if it is batched)."""
        return sentence(jnp.max(self.result))

    def checked(self) -> "Fitted":
        """This outcome, or `SolveError`: at once if concrete, at run time if under `jit`."""
        return eqx.tree_at(lambda f: f.model, self, checked(self.model, self.result))
