"""Randomness of an objective in a run: the same at every step, or drawn again at each."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

from ._batch import batch
from ._bilevel import AbstractObjective, Info


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
        return jax.vmap(lambda key: self.objective.keyed(key).cold(z))(self.keys)

    def evaluate(self, z, warm=None) -> tuple[Float[Array, ""], tuple[PyTree, Info]]:
        warm = self.cold(z) if warm is None else warm
        values, (warm, info) = batch(lambda key, warm: self.objective.keyed(key).evaluate(z, warm))(
            self.keys, warm
        )
        touched = None if info.touched is None else jnp.any(info.touched)
        whole = Info(jnp.max(info.result), info.stats, touched)
        return jnp.mean(values), (warm, whole)
