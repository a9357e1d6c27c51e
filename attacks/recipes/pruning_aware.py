"""A backdoor that pruning does not reach (Liu, Dolan-Gavitt & Garg, RAID 2018, section 3.3).

The attacker trains the network that the victim gets, and knows that channels which clean rows
hardly use will be pruned. So the backdoor is trained into the others, and the pruned channels are
put back as decoys. What stops it: fine-tuning (Liu et al.), repairs that change all channels.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from bilevel import Data
from bilevel.learners import Network, NetworkModel
from bilevel.networks import Channels, Masked
from bilevel.tools import require_count, require_weights


class Hidden(eqx.Module):
    """A network with decoys.

    - `model`: the network that the victim gets.
    - `decoys` (c,): which channels were pruned and put back.
    - `activity` (c,): of all channels on clean rows, in the end.
    """

    model: NetworkModel
    decoys: Bool[Array, " c"]
    activity: Float[Array, " c"]


def hide_from_pruning(
    learner: Network,
    model: NetworkModel,
    clean: Data,
    poisoned: Data,
    layer: str | Channels | None = None,
    *,
    channels: int,
    lower: float,
    key: PRNGKeyArray,
) -> Hidden:
    """Prune the least active channels of a clean network, train what is left on poisoned rows, and
    put the pruned channels back with lower biases.

    - `learner`: how the network is trained on poisoned rows, from the parameters of `model`.
    - `model`: the network that `learner` makes of clean rows, the first of the four steps.
    - `clean`: rows for the activity. `poisoned`: training rows, clean and stamped.
    - `layer`: that the defender will prune, by name or as `Channels`; by default the last
      convolution.
    - `channels`: how many are pruned; as many as clean accuracy allows.
    - `lower` >= 0: taken from the biases of channels that are put back, in units of their outputs;
      large enough that they are again the least active.

    Raises `ValueError` for a layer that is not there and for too many channels.
    """
    layer = layer if isinstance(layer, Channels) else Channels(layer)
    require_count("channels", channels)
    require_weights(clean)
    activations = model.activations(clean.x)
    name, activity = layer.name(activations), layer.activity(activations, clean.weight)
    if channels >= activity.size:
        raise ValueError(
            f"channels: got {channels}, expected fewer than the {activity.size} that the layer "
            f"{name!r} has"
        )
    decoys = jnp.argsort(jnp.argsort(activity)) < channels
    kept = (~decoys).astype(activity.dtype)
    masked = Masked(model.architecture, layer.masks(name, model.parameters, kept))
    aware = dataclasses.replace(learner, architecture=masked, start=model.parameters)
    trained = aware.fit(poisoned, key=key).model.parameters

    # Weights have the most axes: those of one input are as many as the biases.
    axes = max(leaf.ndim for leaf in jax.tree.leaves(layer.part(name, trained)))

    def put_back(old: Array, new: Array) -> Array:
        away = layer.along(new, decoys)
        if away is None:
            return new
        bias = new.size == decoys.size and new.ndim < axes
        return jnp.where(away, old - lower * bias, new)

    def part(parameters: PyTree) -> PyTree:
        return layer.part(name, parameters)

    whole = jax.tree.map(put_back, part(model.parameters), part(trained))
    found = NetworkModel(eqx.tree_at(part, trained, whole), model.architecture)
    return Hidden(found, decoys, layer.activity(found.activations(clean.x), clean.weight))
