"""Randomness of an objective in a run: the same at every step, or drawn again at each."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

from ._bilevel import AbstractObjective, Info
from ._members import Members


class Frozen(eqx.Module):
    """Every step uses the randomness of `key`, a typed key: the objective is deterministic."""

    key: PRNGKeyArray


class Fresh(eqx.Module):
    """Step t uses the randomness of `fold_in(key, t)`, of a typed key: the ascent is stochastic."""

    key: PRNGKeyArray


class Expected(AbstractObjective):
    """Mean of an objective over keys: several initialisations, expectation over transformations
    (Athalye et al. 2018), several victims (Huang et al. 2020, MetaPoison).

    - `objective`: one whose randomness comes from a key (it implements `keyed`).
    - `keys`: (k,) typed keys, `jax.random.split(key, k)`.
    """

    objective: AbstractObjective
    keys: Key[Array, " k"]

    def prepared(self):
        return Expected(self.objective.prepared(), self.keys)

    def keyed(self, key):
        return Expected(self.objective, jax.random.split(key, self.keys.shape[0]))

    def project(self, z):
        return self.objective.project(z)

    def scale(self, z):
        return self.objective.scale(z)

    def direction(self, gradient):
        return self.objective.direction(gradient)

    def cold(self, z):
        return self._members().cold(z)

    def evaluate(self, z, warm=None) -> tuple[Float[Array, ""], tuple[PyTree, Info]]:
        return self._members().evaluate(z, warm)

    def _members(self) -> Members:
        return Members(self.objective.keyed, self.keys)
