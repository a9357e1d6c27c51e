"""Fine-pruning (Liu, Dolan-Gavitt & Garg 2018): prune the least active channels, then fine-tune."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from network import NetworkModel

from bilevel import Data
from bilevel.learners import AbstractLearner, Trained
from bilevel.tools import stop_gradient
from defenses import AbstractRepair


class FinePrune(AbstractRepair):
    """Zeroes the `channels` channels that are least active on clean rows, then takes `steps` steps
    of gradient descent on the loss of these rows. The choice of channels has no derivative.
    """

    learner: AbstractLearner
    clean: Data
    channels: int = 2
    steps: int = 5
    rate: float = 0.1

    def repair(self, model, data, *, key=None):
        del data, key
        assert isinstance(model, NetworkModel)
        activity = jnp.mean(jnp.abs(model.activations(self.clean.x)["conv"]), axis=(0, 1, 2))
        order = jnp.argsort(jnp.argsort(stop_gradient(activity)))
        mask = (order >= self.channels).astype(activity.dtype)

        def masked(layers):
            return {**layers, "kernel": layers["kernel"] * mask[None, None, None, :]}

        def loss(layers):
            f = NetworkModel(masked(layers)).decision(self.clean.x)
            return jnp.mean(self.learner.loss(self.clean.y, f))

        def step(layers, _):
            slopes = jax.grad(loss)(layers)
            return jax.tree.map(lambda a, g: a - self.rate * g, layers, slopes), None

        layers, _ = lax.scan(step, model.parameters, length=self.steps)
        repaired = eqx.tree_at(lambda m: m.parameters, model, masked(layers))
        return Trained(repaired, report=mask)
