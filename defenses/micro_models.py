"""Micro-models (Cretu, Stavrou, Locasto, Stolfo & Keromytis, "Casting out demons: sanitizing
training data for anomaly sensors", IEEE S&P 2008): models of parts of the data judge its rows.
"""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from bilevel import Data, argmin, batch
from bilevel.learners import AbstractLearner
from bilevel.learners._checks import require_classes, require_weights
from bilevel.results import CONVERGED
from bilevel.tools import stop_gradient

from ._arguments import count_argument, positive_argument
from ._defense import AbstractDefense, Inspection, reweighed
from ._parts import check_parts, deal, settle
from ._selection import mask_of


class AbstractMicroModels(AbstractDefense):
    """Trains a model on each part; what the others say of a row decides how much of it is kept."""

    learner: eqx.AbstractVar[AbstractLearner]
    models: eqx.AbstractVar[int]
    dispute: eqx.AbstractVar[float]
    seed: eqx.AbstractVar[int]

    @abc.abstractmethod
    def places(self, data: Data) -> Int[Array, " n"]:
        """The part of each row."""

    def parts(self, data: Data) -> Data:
        """The rows of each part, a stack, some of weight zero."""
        return deal(data, self.places(data), self.models, self.seed)

    def check(self, data: Data) -> None:
        require_weights(data)
        require_classes(data)
        check_parts(self.learner, self.parts(data), "models")

    def disputed(self, data: Data, doubt: Callable[[Array, Array], Array]) -> Float[Array, " n"]:
        """Mean of doubt(y, f) over the models that were not trained on the row."""

        def of_part(part: Data) -> tuple[Float[Array, " n"], Bool[Array, ""]]:
            learner = self.learner
            trained = argmin(learner.problem(part), solver=learner.solver, throw=False)
            f = learner.model(part, trained.value).decision(data.x)
            able = trained.result == CONVERGED
            return doubt(data.y, jnp.where(able, f, 0)), able

        doubts, able = batch(of_part)(self.parts(data))
        own = self.places(data)[None, :] == jnp.arange(self.models, dtype=jnp.int32)[:, None]
        counted = (able[:, None] & ~own).astype(doubts.dtype)
        return jnp.sum(counted * doubts, axis=0) / jnp.maximum(jnp.sum(counted, axis=0), 1)


class MicroModels(AbstractMicroModels):
    """Drop the rows whose label is disputed by more than the share `dispute` of `models` models,
    each trained on a part of the rows; no model judges what it was trained on.

    As published for anomaly sensors: a part is a slice of time, a vote says normal or not and
    counts once, or as much as its slice is large, and the threshold is tuned (.5 is the majority).
    Here a part is drawn by the rows' content, all votes count the same, and it is the label (-1 or
    +1) that a model disputes. A model that could not be trained abstains. The votes carry no
    derivative, the training on the rows kept does; `SoftMicroModels` has one in all rows.

    Stops wrong labels and far rows while most parts hold few of them: an attack that lasts through
    the data, as one that is shuffled in, is in every part.
    """

    learner: AbstractLearner
    models: int
    dispute: float
    seed: int

    def __init__(
        self, learner: AbstractLearner, models: int = 10, dispute: float = 0.5, seed: int = 0
    ):
        self.learner, self.models = learner, count_argument("models", models, 2)
        self.dispute, self.seed = dispute_argument(dispute), seed

    def places(self, data):
        return settle(data, None, self.models, self.seed)

    def prepare(self, data):
        """Itself: the parts that the learner is trained on do not begin with the known rows."""
        del data
        return self

    def inspect(self, data: Data) -> Inspection:
        still = stop_gradient(self)
        score = still.disputed(
            stop_gradient(data), lambda y, f: ((f > 0) != (y > 0)).astype(f.dtype)
        )
        keep = mask_of(score <= self.dispute, data.weight)
        return Inspection(reweighed(data, keep), score, jnp.int32(self.models))


class SoftMicroModels(AbstractMicroModels):
    """The attacker's smooth surrogate of `MicroModels`: score what it finds with that itself.

    A model's dispute of a label is (1 - y tanh f) / 2, and of a row the share sigmoid((dispute -
    mean) / temperature) is kept. Of a prepared learner (an attack's) the known rows stay in their
    parts, wherever they move, and those after them go to part 0, 1, 2, ... by turns.
    """

    learner: AbstractLearner
    models: int
    dispute: float
    temperature: float
    seed: int
    known: Int[Array, " k"] | None

    def __init__(
        self,
        learner: AbstractLearner,
        models: int = 10,
        dispute: float = 0.5,
        temperature: float = 0.1,
        seed: int = 0,
    ):
        self.learner, self.models = learner, count_argument("models", models, 2)
        self.dispute, self.seed = dispute_argument(dispute), seed
        self.temperature, self.known = positive_argument("temperature", temperature), None

    def places(self, data):
        return settle(data, self.known, self.models, self.seed)

    def prepare(self, data):
        return eqx.tree_at(
            lambda s: s.known, self, stop_gradient(self.places(data)), is_leaf=lambda a: a is None
        )

    def inspect(self, data: Data) -> Inspection:
        score = self.disputed(data, lambda y, f: 0.5 - 0.5 * y * jnp.tanh(f))
        keep = jax.nn.sigmoid((self.dispute - score) / self.temperature)
        return Inspection(reweighed(data, keep), score, jnp.int32(self.models))


def dispute_argument(dispute: float) -> float:
    """ValueError unless a share below all."""
    if not 0 <= float(dispute) < 1:
        raise ValueError(
            f"dispute: got {dispute}, expected a share of the votes in [0, 1), as .5 for most"
        )
    return float(dispute)
