"""Pruning of the channels that clean rows do not use."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from bilevel import Data
from bilevel.learners import AbstractLearner, NetworkModel, Trained
from bilevel.networks import Channels, Masked
from bilevel.tools import require_count, stop_gradient

from .._arguments import share_argument
from ._network import AbstractCleanRepair, as_network


class Pruned(eqx.Module):
    """The record of a pruning.

    - `activity` (c,): mean size of each channel's outputs on the clean rows.
    - `kept` (c,): whether a channel stays.
    - `curve` (c + 1,): accuracy on the clean rows with the 0, 1, ..., c least active pruned.
    """

    activity: Float[Array, " c"]
    kept: Bool[Array, " c"]
    curve: Float[Array, " k"]


class Prune(AbstractCleanRepair):
    """Masks the channels of one layer that are least active on clean rows (Liu et al. 2018).

    The choice of channels has no derivative; the rest is differentiable as the network is.

    - `clean`: rows that the defender knows to be clean.
    - `layer`: the layer, by name or as `Channels`; by default the last convolution.
    - `channels`: how many are pruned; by default as many as the accuracy on the clean rows allows:
      pruning ends before it falls by more than `drop`, and one channel stays.

    `fit(...).report` is a `Pruned`. Raises `ValueError` for values out of range; `fit` for a model
    without that layer.
    """

    learner: AbstractLearner
    clean: Data
    layer: Channels
    channels: int | None
    drop: float

    def __init__(
        self,
        learner: AbstractLearner,
        clean: Data,
        layer: str | Channels | None = None,
        channels: int | None = None,
        drop: float = 0.04,
    ):
        self.learner, self.clean = learner, clean
        self.layer = layer if isinstance(layer, Channels) else Channels(layer)
        self.channels = None if channels is None else require_count("channels", channels)
        self.drop = share_argument("drop", drop)

    def repair(self, model, data, *, key=None):
        del data, key
        net = as_network(model)
        activations = net.activations(self.clean.x)
        name = self.layer.name(activations)
        activity = stop_gradient(self.layer.activity(activations, self.clean.weight))
        if self.channels is not None and self.channels >= activity.size:
            raise ValueError(
                f"channels: got {self.channels}, expected fewer than the {activity.size} that the "
                f"layer {name!r} has"
            )
        rank = jnp.argsort(jnp.argsort(activity))

        def without(count) -> NetworkModel:
            kept = (rank >= count).astype(activity.dtype)
            masked = Masked(net.architecture, self.layer.masks(name, net.parameters, kept))
            return NetworkModel(masked.masked(net.parameters), masked)

        curve = jax.lax.map(lambda count: self._accuracy(without(count)), jnp.arange(rank.size + 1))
        count = self.channels
        if count is None:
            fine = curve >= curve[0] - self.drop
            most = jnp.sum(jnp.cumprod(fine.astype(jnp.int32))) - 1
            count = jnp.minimum(most, rank.size - 1)
        return Trained(without(count), report=Pruned(activity, rank >= count, curve))

    def _accuracy(self, model: NetworkModel) -> Float[Array, ""]:
        right = model.predict(self.clean.x) == self.clean.y.astype(jnp.int32)
        weight = self.clean.weight
        return stop_gradient(jnp.sum(jnp.where(right, weight, 0)) / jnp.sum(weight))
