"""Means of objectives that differ in some of their arrays."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

from ._batch import batch
from ._bilevel import AbstractObjective, Info


class Members(AbstractObjective):
    """Mean of an objective over members: trained models that it is about (an ensemble), or
    parameters that a training starts from (surrogates of different epochs, Huang et al. 2020).

    - `objective(member) -> objective`: all of one structure and on the same z, for example attacks
      composed around each model.
    - `members`: a pytree whose arrays have a leading axis of k members, such as `Fitted.model` of
      `learners.ensemble`.
    - `keys`: (k,) typed keys for the randomness of each; None if each has its own, or none.
      `draws` of a run replace them.

    Raises `ValueError` for arrays without a common leading axis.
    """

    objective: Callable[[PyTree], AbstractObjective]
    members: PyTree
    keys: Key[Array, " k"] | None = None

    def __check_init__(self):
        axes = self._axes()
        if len(axes) != 1 or axes == {()}:
            raise ValueError(
                f"members: got arrays with leading axes {sorted(axes)}, expected one common length,"
                " the number of members; `learners.ensemble` returns its models so"
            )

    def keyed(self, key):
        ((count,),) = self._axes()
        return Members(self.objective, self.members, jax.random.split(key, count))

    def project(self, z):
        return self._first().project(z)

    def scale(self, z):
        return self._first().scale(z)

    def direction(self, gradient):
        return self._first().direction(gradient)

    def cold(self, z):
        def of(member, key):
            return self._of(member, key).cold(z)

        return eqx.filter_vmap(of)(self.members, self.keys)

    def evaluate(self, z, warm=None) -> tuple[Float[Array, ""], tuple[PyTree, Info]]:
        warm = self.cold(z) if warm is None else warm
        values, (warm, info) = batch(
            lambda member, key, warm: self._of(member, key).evaluate(z, warm)
        )(self.members, self.keys, warm)
        touched = None if info.touched is None else jnp.any(info.touched)
        whole = Info(jnp.max(info.result), info.stats, touched)
        return jnp.mean(values), (warm, whole)

    def _axes(self) -> set[tuple[int, ...]]:
        arrays = jax.tree.leaves(eqx.filter((self.members, self.keys), eqx.is_array))
        return {leaf.shape[:1] for leaf in arrays}

    def _first(self) -> AbstractObjective:
        return self.objective(
            jax.tree.map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, self.members)
        )

    def _of(self, member: PyTree, key: PRNGKeyArray | None) -> AbstractObjective:
        objective = self.objective(member)
        return objective if key is None else objective.keyed(key)
