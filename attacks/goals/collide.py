"""Poison rows whose features meet those of a target: clean-label attacks on one test row."""

import abc
from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel.learners import AbstractDeepModel, AbstractModel
from bilevel.tools import require_count, require_finite

from ._goal import AbstractGoal, require_alike

Layers = Literal["last", "all"] | tuple[str, ...]


class AbstractCollision(eqx.Module):
    """What it means that poison meets a target in one layer: `Frogs`, `Polytope`, `Bullseye`."""

    @abc.abstractmethod
    def distance(self, here: Float[Array, "m f"], there: Float[Array, " f"]) -> Float[Array, ""]:
        """How far m poison rows with these features are from a target with those; >= 0."""


def _names(layers: str | Sequence[str]) -> Layers:
    if layers in ("last", "all"):
        return layers  # pyright: ignore[reportReturnType]
    if isinstance(layers, str) or not layers:
        raise ValueError(
            f"layers: got {layers!r}, expected 'last', 'all', or a list of names of layers"
        )
    return tuple(layers)


class Collide(AbstractGoal):
    """-mean over layers of the distance between the features of the poison and of a target.

    A model that fits the poison, whose labels are right, gives its label to the target. All poison
    rows count the same, whatever they weigh in training.

    - `x` (k, ...): the target as one row; several rows are views of one object, whose features are
      averaged (Aghakhani et al. 2021).
    - `collision`: `Frogs()`, `Polytope()` or `Bullseye()`.
    - `layers`: "last", the inputs of the last layer, for a victim that trains that layer only;
      "all" inner layers, or some of them by name, for one that trains the network end to end.
    - `draws`: number of dropout masks over which the poison's features are averaged, drawn from the
      attack's key; 0 is no dropout. The target is seen without dropout, as by the finished model.

    With `learners.Fixed(network)` the attack is on features that stay; several networks are
    `bilevel.Together`. Raises `ValueError` for values out of range; `score` raises it for
    a layer that the model has not, and without poison rows or the key for `draws`.
    """

    x: Float[Array, "k ..."]
    collision: AbstractCollision
    layers: Layers = eqx.field(default="last", converter=_names)
    draws: int = 0

    def __check_init__(self):
        require_count("draws", self.draws, least=0)
        if self.x.ndim < 2 or self.x.shape[0] == 0:
            raise ValueError(
                f"x: got shape {self.x.shape}, expected (1, ...), the target as one row"
            )

    def check(self, data):
        require_finite(x=self.x)
        require_alike(self.x, data)

    def score(self, model, world, *, key=None):
        if world.poison is None or world.poison.rows == 0:
            raise ValueError(
                "reach: gives no poison rows, expected a capability that inserts or changes "
                "training rows, such as Insert or Perturb"
            )
        here = self._drawn(model, world.poison.x, key)
        there = _features(model, world.shown(self.x), self.layers, None)
        distances = [
            self.collision.distance(a, jnp.mean(b, axis=0))
            for a, b in zip(here, there, strict=True)
        ]
        return -jnp.mean(jnp.stack(distances))

    def _drawn(self, model: AbstractModel, x: Array, key) -> list[Array]:
        """For each layer the features of the poison rows (m, f), averaged over the draws."""
        if self.draws == 0:
            return _features(model, x, self.layers, None)
        if key is None:
            raise ValueError(
                f"key: got None for {self.draws} draws of dropout; compose the attack with a key"
            )
        keys = jax.random.split(key, self.draws)
        drawn = jax.vmap(lambda key: _features(model, x, self.layers, key))(keys)
        return [jnp.mean(layer, axis=0) for layer in drawn]


def _features(model: AbstractModel, x: Array, layers: Layers, key) -> list[Array]:
    """The outputs of the layers for rows x, each flattened to (n, f)."""
    if not isinstance(model, AbstractDeepModel):
        if layers == "last":
            return [model.features(x)]
        raise ValueError(
            f"layers: got {layers!r} for a {type(model).__name__}, which is no network; expected "
            "'last'"
        )
    found = model.activations(x, key=key)
    names = list(found)[-1:] if layers == "last" else list(found) if layers == "all" else layers
    unknown = [name for name in names if name not in found]
    if unknown or not names:
        raise ValueError(
            f"layers: got {unknown or layers}, expected among {list(found)}, the layers whose "
            "outputs the network reports"
        )
    return [found[name].reshape(x.shape[0], -1) for name in names]
