"""Channel Lipschitz clipping: channels of unusual gain are masked, without any data."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from bilevel.learners import AbstractLearner, NetworkModel, Trained
from bilevel.networks import Channels, Masked
from bilevel.tools import stop_gradient

from .._arguments import positive_argument
from ._network import as_network
from ._repair import AbstractRepair


class Clipped(eqx.Module):
    """The record of one layer: `gain` (c,) of each channel, and which are `kept` (c,)."""

    gain: Float[Array, " c"]
    kept: Bool[Array, " c"]


class ClipChannels(AbstractRepair):
    """Masks channels of convolutions whose gain is above the mean of their layer by more than
    `deviations` standard deviations (Zheng et al., "Data-free backdoor removal based on channel
    Lipschitzness", ECCV 2022).

    The gain of a channel is the largest singular value of its filter, as a matrix (inputs, height x
    width): a bound of how much it raises an input. It needs no rows. The choice has no derivative.

    - `layers`: names of convolutions, or `Channels`.
    - `deviations`: > 0; 3 in the source.

    `fit(...).report` has a `Clipped` for each layer. Raises `ValueError` for values out of range
    and layers that are no convolution.
    """

    learner: AbstractLearner
    layers: tuple[str | Channels, ...]
    deviations: float = 3.0

    def __check_init__(self):
        positive_argument("deviations", self.deviations)

    def repair(self, model, data, *, key=None):
        del key
        net, reports = as_network(model), []
        activations = jax.eval_shape(net.activations, data.x[:1])
        for layer in self.layers:
            layer = layer if isinstance(layer, Channels) else Channels(layer)
            name = layer.name(activations)
            gain = _gain(layer, name, net)
            kept = gain <= jnp.mean(gain) + self.deviations * jnp.std(gain)
            masks = layer.masks(name, net.parameters, kept.astype(gain.dtype))
            architecture = Masked(net.architecture, masks)
            net = NetworkModel(architecture.masked(net.parameters), architecture)
            reports.append(Clipped(gain, kept))
        return Trained(net, report=tuple(reports))


def _gain(layer: Channels, name: str, net: NetworkModel) -> Float[Array, " c"]:
    """The largest singular value of each filter."""
    filters = [leaf for leaf in jax.tree.leaves(layer.part(name, net.parameters)) if leaf.ndim == 4]
    if len(filters) != 1:
        raise ValueError(
            f"layers: {name!r} has {len(filters)} arrays of filters, expected one; name its "
            "convolution, Channels(layer, where=lambda parameters: ...)"
        )
    # to (channels, inputs, height x width); equinox has the channels first
    (filter,) = filters
    filter = filter if layer.axis == 0 else jnp.transpose(filter, (3, 2, 0, 1))
    matrices = filter.reshape(*filter.shape[:2], -1)
    return jnp.linalg.norm(stop_gradient(matrices), 2, axis=(1, 2))
