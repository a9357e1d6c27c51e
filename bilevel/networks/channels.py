"""The channels of a layer, and networks of which some are masked."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Shaped

from ._architecture import AbstractArchitecture


class Masked(AbstractArchitecture):
    """A network whose parameters are multiplied by masks: what is masked has no effect, and
    further training does not bring it back. Shapes stay.

    - `masks`: a pytree of the structure of the parameters, of arrays that broadcast with them.
    """

    architecture: AbstractArchitecture
    masks: PyTree

    def init(self, key, row):
        return self.masked(self.architecture.init(key, row))

    def apply(self, parameters, x, key=None):
        return self.architecture.apply(self.masked(parameters), x, key)

    def masked(self, parameters: PyTree) -> PyTree:
        """The parameters times the masks."""
        return jax.tree.map(
            lambda leaf, mask: leaf * mask.astype(leaf.dtype), parameters, self.masks
        )


class Channels(eqx.Module):
    """The channels of one layer: where they are in its outputs, and in the parameters.

    - `layer`: its name in the activations, for example "conv1"; by default the last layer whose
      outputs are images, or the last of all if there is none.
    - `where(parameters)`: the part of the parameters that makes the layer; by default the entry of
      that name, "block/conv" in nested ones.
    - `axis`: of the channels, in a row's outputs and in arrays of parameters: -1 for images
      (height, width, channels), as here and in flax; 0 for (channels, height, width), as in
      equinox.

    Methods raise `ValueError` for a layer that is not there.
    """

    layer: str | None = None
    where: Callable[[PyTree], PyTree] | None = None
    axis: int = -1

    def name(self, activations: Mapping[str, Any]) -> str:
        """The name of the layer, of arrays or their shapes."""
        names = list(activations)
        if self.layer is None and names:
            images = [name for name in names if activations[name].ndim == 4]
            return (images or names)[-1]
        if self.layer is None or self.layer not in names:
            raise ValueError(
                f"layer: got {self.layer!r}, expected one of {', '.join(names) or 'the layers'}, "
                "of which the network reports outputs" + ("" if names else "; it reports none")
            )
        return self.layer

    def activity(
        self, activations: Mapping[str, Array], weight: Float[Array, " n"]
    ) -> Float[Array, " c"]:
        """Mean size of each channel's outputs, over rows by their weights, of positive sum, and
        over places.
        """
        outputs = activations[self.name(activations)]
        outputs = jnp.moveaxis(outputs, self.axis + (self.axis >= 0), -1)
        of_rows = jnp.mean(jnp.abs(outputs), axis=tuple(range(1, outputs.ndim - 1)))
        return weight.astype(of_rows.dtype) @ of_rows / jnp.sum(weight).astype(of_rows.dtype)

    def part(self, name: str, parameters: PyTree) -> PyTree:
        """The parameters of the layer `name`."""
        if self.where is not None:
            return self.where(parameters)
        node: Any = parameters
        for step in name.split("/"):
            if not isinstance(node, Mapping) or step not in node:
                raise ValueError(
                    f"layer: the parameters have no entry {name!r}; say which of them make that "
                    "layer, Channels(layer, where=lambda parameters: ...)"
                )
            node = node[step]
        return node

    def along(self, leaf: Array, values: Shaped[Array, " c"]) -> Shaped[Array, "..."] | None:
        """The values (c,) along the channels of an array of parameters; None if it has none."""
        if leaf.ndim == 0 or leaf.shape[self.axis] != values.size:
            return None
        shape = [1] * leaf.ndim
        shape[self.axis] = values.size
        return values.reshape(shape)

    def masks(self, name: str, parameters: PyTree, kept: Float[Array, " c"]) -> PyTree:
        """The masks of a network that keeps some channels of the layer `name`.

        - `kept` (c,): 1 for a channel that stays, 0 for one that outputs activation(0).
        """
        every = jax.tree.map(lambda leaf: jnp.ones((), leaf.dtype), parameters)
        part = self.part(name, parameters)
        along = [self.along(leaf, kept) for leaf in jax.tree.leaves(part)]
        if all(values is None for values in along):
            raise ValueError(
                f"layer: no array of {name!r} has {kept.size} channels along axis {self.axis}, as "
                "its outputs have; give Channels(layer, where, axis)"
            )
        ones = [jnp.ones((), kept.dtype) if values is None else values for values in along]
        masks = jax.tree.unflatten(jax.tree.structure(part), ones)
        return eqx.tree_at(lambda tree: self.part(name, tree), every, masks)
