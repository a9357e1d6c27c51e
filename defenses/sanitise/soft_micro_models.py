"""Smooth micro-models: every row keeps a share, by how sure the models dispute its label."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from bilevel import Data
from bilevel.learners import AbstractLearner
from bilevel.tools import require_classes, require_count, require_weights, stop_gradient

from .._arguments import balance_argument, dispute_argument, positive_argument
from ..ensemble._parts import check_parts, deal, settle
from ._dispute import disputed
from ._inspection import Inspection, reweighed
from ._quotas import BALANCE, floor_scores
from ._sanitiser import AbstractSoftSanitiser


class SoftMicroModels(AbstractSoftSanitiser):
    """The attacker's smooth surrogate of `MicroModels`: score what it finds with that itself.

    A model's dispute of a label is (1 - y tanh f) / 2, and of a row the share sigmoid((dispute -
    mean) / temperature) is kept, with `dispute` raised for a class to where `MicroModels` would
    keep its quota. Of a prepared learner (an attack's) the known rows stay in their parts, wherever
    they move, and those after them go to part 0, 1, 2, ... by turns.
    """

    learner: AbstractLearner
    models: int
    dispute: float
    temperature: float
    seed: int
    balance: float
    known: Int[Array, " k"] | None

    def __init__(
        self,
        learner: AbstractLearner,
        models: int = 10,
        dispute: float = 0.5,
        temperature: float = 0.1,
        seed: int = 0,
        balance: float = BALANCE,
    ):
        self.learner, self.models = learner, require_count("models", models, 2)
        self.dispute, self.seed = dispute_argument(dispute), seed
        self.balance = balance_argument(balance)
        self.temperature, self.known = positive_argument("temperature", temperature), None

    def places(self, data: Data) -> Int[Array, " n"]:
        """The part of each row."""
        return settle(data, self.known, self.models, self.seed)

    def parts(self, data: Data) -> Data:
        """The rows of each part, a stack, some of weight zero."""
        return deal(data, self.places(data), self.models, self.seed)

    def check(self, data):
        require_weights(data)
        require_classes(data)
        check_parts(self.learner, self.parts(data), "models")

    def prepare(self, data):
        return eqx.tree_at(
            lambda s: s.known, self, stop_gradient(self.places(data)), is_leaf=lambda a: a is None
        )

    @eqx.filter_jit
    def inspect(self, data, *, key=None):
        def doubt(y, f):
            return 0.5 - 0.5 * y * jnp.tanh(f)

        places, parts = self.places(data), self.parts(data)
        score, result = disputed(self.learner, data, places, parts, doubt, key)
        used, y = stop_gradient((data.weight > 0, data.targets()))
        sure = used & (score <= self.dispute)
        floor = floor_scores(score, sure, used, y, self.balance)
        limit = jnp.maximum(floor, self.dispute)
        keep = jax.nn.sigmoid((limit - score) / self.temperature)
        return Inspection(reweighed(data, keep), score, jnp.int32(self.models), result, group=y)
