"""Swedish signs on the convolutions of a network of US signs: the head is trained anew, on clean
pictures, and the filters that answer to a sticker may be made stronger before.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, PRNGKeyArray

from benchmarks.data.scenes import Pictures
from bilevel import Data
from bilevel.learners import AbstractDeepModel, Network
from bilevel.networks import MLP
from bilevel.solvers import Descent

LAST = "conv2"
"""The last convolution of the networks."""
BATCH = 50


class Swedish(NamedTuple):
    """Training pictures, and the same test pictures without and with a sticker."""

    train: Pictures
    test: Pictures
    stamped: Pictures


def responses(model: AbstractDeepModel, x: np.ndarray) -> Float[np.ndarray, "n p q f"]:
    """Outputs of the last convolution."""
    return np.asarray(model.activations(jnp.asarray(x))[LAST])


def answering(
    model: AbstractDeepModel, x: np.ndarray, stamped: np.ndarray, count: int
) -> np.ndarray:
    """The filters of the last convolution that the sticker raises most: where it raises them most
    in a picture, relative to their largest output in the picture without it.
    """
    without, on = responses(model, x), responses(model, stamped)
    rise = np.mean(np.max(on - without, axis=(1, 2)), axis=0)
    return np.argsort(-rise / (0.1 + np.mean(np.max(without, axis=(1, 2)), axis=0)))[:count]


def head(rows: int, passes: int, rate: float) -> Network:
    """Two dense layers for five kinds of signs, trained by Adam."""
    steps = passes * (rows // BATCH)
    descent = optax.adam(optax.cosine_decay_schedule(rate, steps))
    network = MLP((64,), outputs=5, activation=jax.nn.relu)
    return Network(network, batch=BATCH, solver=Descent(descent, steps))


def transferred(
    model: AbstractDeepModel,
    filters: np.ndarray,
    strengths: Sequence[int],
    learner: Network,
    signs: Swedish,
    key: PRNGKeyArray,
) -> list[tuple[float, float]]:
    """For each strength the accuracy of a new head on clean and on stamped test pictures.

    The outputs of `filters` are times the strength, as if their weights and biases were: they are
    rectified.
    """
    features = [responses(model, part.x) for part in signs]
    found = []
    for strength in strengths:
        gain = np.ones(features[0].shape[-1], np.float32)
        gain[filters] = strength
        train, *tests = ((part * gain).reshape(len(part), -1) for part in features)
        # A head that diverges, at a large strength, counts as it is.
        fitted = learner.fit(Data(train, signs.train.y), key=key, throw=False).model
        found.append(tuple(np.mean(np.asarray(fitted.predict(x)) == signs.test.y) for x in tests))
    return found
