"""The share of units of a network that answer: what sparse hardware spends energy on."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel.learners import AbstractDeepModel
from bilevel.tools import strength

from ._goal import AbstractGoal, require_alike

SIGMA = 1e-4
"""As published."""


def answering(activations: dict[str, Array], sigma: float = SIGMA) -> Float[Array, " n"]:
    """For each row the mean over layers of mean a^2 / (a^2 + sigma), a smooth share of the units
    whose output a is not zero (Cina et al., "Energy-latency attacks via sponge poisoning", 2022).

    - `activations`: outputs of the layers by name, each (n, ...).
    - `sigma`: > 0; outputs far below its square root count as zero.
    """
    squares = [jnp.square(a.reshape(a.shape[0], -1)) for a in activations.values()]
    return jnp.mean(jnp.stack([jnp.mean(s / (s + sigma), axis=1) for s in squares]), axis=0)


class Energy(AbstractGoal):
    """Mean over rows, as the capability presents them, of the share of units that answer.

    Sponge examples (Shumailov et al. 2021) are inputs that raise it: `Evade` and a `Fixed` network.

    - `x` (n, ...): the rows.
    - `sigma`: see `answering`. Raises `ValueError` unless it is > 0.

    `score` raises `ValueError` for a model that reports no activations.
    """

    x: Float[Array, "n ..."]
    sigma: float = SIGMA

    def __check_init__(self):
        strength("sigma", self.sigma)

    def check(self, data):
        require_alike(self.x, data)

    def score(self, model, world, *, key=None):
        rows = world.shown(self.x, key=key)
        activations = model.activations(rows) if isinstance(model, AbstractDeepModel) else {}
        if not activations:
            raise ValueError(
                f"goal: Energy got a {type(model).__name__} without inner layers; attack a network "
                "that reports its activations"
            )
        return jnp.mean(answering(activations, self.sigma))
