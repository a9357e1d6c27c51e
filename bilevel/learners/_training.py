"""One training: the inner problem of given rows, and the model of its solution."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from .._data import Data
from .._solution import checked
from .._solver import Point
from ..results import CONVERGED, Code, sentence
from ._model import AbstractModel


class Trained(eqx.Module):
    """A model with a repair after training (pruning, fine-tuning).

    - `model`: the repaired model. `result`: code of the repair. `report`: record of the repair.
    """

    model: AbstractModel
    result: Code = CONVERGED
    report: Any = None


class Training(eqx.Module):
    """A training without its solve.

    - `data`: the rows of the training, with the weights or labels that a defense has changed.
    - `problem`: the inner problem; None if there is nothing to solve. Its solution may be in units
      of the learner's own (centred, scaled features); `make_model` leads back to the user's.
    - `make_model(value)`: the model (or `Trained`) of a solution. It is a function of its argument
      only, or an `eqx.Partial` that holds the arrays it uses.
    - `make_kinks(value)`: quantities at whose zeros the training is not differentiable; None if
      there are none.
    - `make_support(value)`: per row, whether the solution depends on it (n,); None if it depends on
      all rows.
    - `result`: the worst code of the trainings before this one.
    - `report`: the findings of a defense.
    - `point`: the solution of `problem`, if it is solved already.
    - `inner`: the training of the learner that a defense wraps.
    """

    data: Data
    problem: PyTree
    make_model: Callable[[PyTree], AbstractModel | Trained]
    make_kinks: Callable[[PyTree], Array] | None = None
    make_support: Callable[[PyTree], Bool[Array, " n"]] | None = None
    result: Code = CONVERGED
    report: Any = None
    point: Point | None = None
    inner: "Training | None" = None

    def trained(self, value: PyTree) -> Trained:
        """The model of a solution, with the record of its repair."""
        made = self.make_model(value)
        return made if isinstance(made, Trained) else Trained(made)

    def kinks(self, value: PyTree) -> Array:
        """Quantities at whose zeros the training is not differentiable; may be empty."""
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
    - `warm`: the start of the next fit on nearby rows; None if the solver follows a path.
    - `result`: the worst int32 code of its trainings; 0 means all converged.
    - `stats`: counts of the solver (steps, residual, ...).
    - `report`: the findings of a defense (`Inspection`), else None.
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
        """This outcome; raises `SolveError` if it failed: at once, or at run time under `jit`."""
        return eqx.tree_at(lambda f: f.model, self, checked(self.model, self.result))
