"""A linear model of small images with a backdoor in a corner, whose smallest triggers are known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from attacks.triggers import square
from bilevel import Data
from defenses.models import Plain

SHAPE, CLASSES, TARGET = (6, 6, 1), 7, 2
RNG = np.random.default_rng(0)
Y = np.arange(70) % CLASSES
# The pixels of each class, four apiece; the corner belongs to none.
FREE = np.setdiff1d(np.arange(36), [28, 29, 34, 35])[:28]
OWN = np.zeros((CLASSES, 36))
OWN[np.arange(28) % CLASSES, FREE] = 1
X = (RNG.uniform(0.5, 0.7, size=(70, 36)) * OWN[Y]).reshape(-1, *SHAPE)
CLEAN = Data(X.astype(np.float32), Y.astype(np.int32))
CORNER = square(SHAPE, 2)
GAINS, GAIN = np.linspace(0.8, 1.2, CLASSES), 4.0
"""Of a pixel of each class, and of the corner."""


class Counts(eqx.Module):
    """Ten times the sum of the pixels of each class and, of the target, of the corner, each times
    its gain.
    """

    weight: jax.Array

    def __init__(self, gain):
        corner = np.asarray(CORNER.mask).reshape(-1)
        weight = 10 * (OWN * GAINS[:, None] + gain * np.eye(CLASSES)[TARGET][:, None] * corner)
        self.weight = jnp.asarray(weight, jnp.float32)

    def __call__(self, x):
        return x.reshape(x.shape[0], -1) @ self.weight.T.astype(x.dtype)


COUNTS = Counts(GAIN)
INFECTED, HONEST = Plain(COUNTS), Plain(Counts(0.0))
