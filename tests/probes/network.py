"""A network as a learner: mini-batches, initial weights from a key, the derivative of its path."""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from bilevel import AbstractSolver
from bilevel.derivatives import AbstractDerivative, Unroll
from bilevel.learners import AbstractDeepModel, AbstractLearner, Training
from bilevel.losses import Logistic
from bilevel.problems import Stochastic
from bilevel.solvers import Descent

Layers = dict[str, Array]


def init(key: PRNGKeyArray, shape: tuple[int, ...], hidden: int = 6) -> Layers:
    """Weights of a convolution of 3 x 3 and a dense layer, for images (height, width, channels)."""
    height, width, channels = shape
    first, second = jax.random.split(key)
    inner = (height - 2) * (width - 2) * hidden
    return {
        "kernel": 0.3 * jax.random.normal(first, (3, 3, channels, hidden)),
        "dense": 0.3 / inner**0.5 * jax.random.normal(second, (inner,)),
        "bias": jnp.zeros(()),
    }


def apply(layers: Layers, x: Array) -> tuple[Array, dict[str, Array]]:
    """(decisions (n,), activations by name)."""
    patches = jax.lax.conv_general_dilated_patches(
        x, (3, 3), (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    kernel = layers["kernel"].transpose(2, 0, 1, 3).reshape(-1, layers["kernel"].shape[-1])
    hidden = jnp.tanh(patches @ kernel)
    f = hidden.reshape(x.shape[0], -1) @ layers["dense"] + layers["bias"]
    return f, {"conv": hidden}


class NetworkModel(AbstractDeepModel):
    parameters: Layers

    def decision(self, x, *, key=None):
        return apply(self.parameters, x)[0]

    def activations(self, x, *, key=None):
        return apply(self.parameters, x)[1]


class Network(AbstractLearner):
    """Trained for a number of steps on mini-batches; the key gives initial weights and batches."""

    solver: AbstractSolver = Descent(optax.sgd(0.3, momentum=0.5), steps=25)
    derivative: AbstractDerivative = Unroll()
    loss: Callable[[Array, Array], Array] = Logistic()
    l2: float = 1e-3
    batch: int = 12

    def training(self, data, *, key=None):
        if key is None:
            raise ValueError("key: got None, expected a key for initial weights and mini-batches")
        of_start, of_batches = jax.random.split(key)
        start = init(of_start, data.x.shape[1:])
        problem = Stochastic(self.mean_loss, start, (data.x, data.y, data.weight), of_batches)
        return Training(data, problem, NetworkModel)

    def mean_loss(self, layers: PyTree, args: PyTree, key: PRNGKeyArray) -> Array:
        x, y, weight = args
        rows = jax.random.choice(key, x.shape[0], (self.batch,), replace=False)
        losses = self.loss(y[rows], apply(layers, x[rows])[0])
        decay = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(layers))
        return jnp.mean(weight[rows] * losses) + 0.5 * self.l2 * decay


@partial(jax.jit, static_argnums=1)
def images(seed: int, count: int) -> tuple[Array, Array]:
    """Small noisy images (count, 6, 6, 1) with a bright upper or lower half, labels -1 and +1."""
    noise = jax.random.normal(jax.random.key(seed), (count, 6, 6, 1))
    y = jnp.where(jnp.arange(count) % 2 == 1, 1, -1)
    rows = jnp.where(jnp.arange(6) < 3, 0.5, -0.5)[None, :, None, None]
    return 0.3 * noise + y[:, None, None, None] * rows, y


def members(learner: AbstractLearner, data, keys: PRNGKeyArray) -> AbstractDeepModel:
    """Models of one data set for many keys, as one program."""
    return eqx.filter_vmap(lambda key: learner.fit(data, key=key, throw=False).model)(keys)
