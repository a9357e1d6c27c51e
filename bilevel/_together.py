"""Several objectives of one decision variable."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ._bilevel import AbstractObjective, Info, worst


class Together(AbstractObjective):
    """Mean of several objectives of the same z: an attack on several surrogates at once, of any
    learners.

    - `objectives`: one or more. Projection, scale and direction of steps are those of the first.

    Raises `ValueError` without an objective. Each is a part of the program of its own; many
    trainings of one learner are `Expected`.
    """

    objectives: tuple[AbstractObjective, ...]

    def __init__(self, objectives: Sequence[AbstractObjective]):
        self.objectives = tuple(objectives)
        if not self.objectives:
            raise ValueError("objectives: got none, expected one or more of the same z")

    def prepared(self):
        return Together([part.prepared() for part in self.objectives])

    def keyed(self, key):
        keys = jax.random.split(key, len(self.objectives))
        return Together([p.keyed(k) for p, k in zip(self.objectives, keys, strict=True)])

    def project(self, z):
        return self.objectives[0].project(z)

    def scale(self, z):
        return self.objectives[0].scale(z)

    def direction(self, gradient):
        return self.objectives[0].direction(gradient)

    def cold(self, z):
        return tuple(part.cold(z) for part in self.objectives)

    def evaluate(self, z, warm=None):
        warm = self.cold(z) if warm is None else warm
        parts = [o.evaluate(z, start) for o, start in zip(self.objectives, warm, strict=True)]
        values, others = zip(*parts, strict=True)
        warm, infos = zip(*others, strict=True)
        touched = [info.touched for info in infos]
        known = None if None in touched else jnp.any(jnp.stack(touched))
        stats = {str(i): info.stats for i, info in enumerate(infos)}
        whole = Info(worst(*(info.result for info in infos)), stats, known)
        return jnp.mean(jnp.stack(values)), (warm, whole)
