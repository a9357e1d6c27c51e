"""Sponge poisoning: a training that makes a network costly on sparse hardware."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from bilevel.networks import Outputs
from bilevel.tools import strength

from .goals.energy import SIGMA, answering


class Sponge(eqx.Module):
    """-strength * mean over rows of (the share of units that answer, for random rows), as the
    `activity` of a `Network` (Cina et al., "Energy-latency attacks via sponge poisoning", 2022).

    The attacker trains the network for the victim, or changes part of the updates. Accuracy hardly
    changes. A penalty on activity, `Sponge` with a negative strength, is the paper's defense.

    - `strength`: of the term beside the loss.
    - `share`: of the rows of each step that have the term, in (0, 1].
    - `sigma`: see `goals.answering`.

    Raises `ValueError` for values out of range; the training does for a network that reports no
    activations.
    """

    strength: float = 1.0
    share: float = 0.05
    sigma: float = SIGMA

    def __check_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f"share: got {self.share}, expected a share of the rows in (0, 1]")
        strength("sigma", self.sigma)

    def __call__(self, key: PRNGKeyArray, outputs: Outputs) -> Float[Array, ""]:
        if not outputs.activations:
            raise ValueError(
                "activity: the network reports no activations; let it return networks.Outputs with "
                "the outputs of its inner layers"
            )
        each = answering(outputs.activations, self.sigma)
        chosen = jax.random.bernoulli(key, self.share, each.shape)
        return -self.strength * jnp.mean(jnp.where(chosen, each, 0))
