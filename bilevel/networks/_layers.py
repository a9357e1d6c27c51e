"""Layers of the architectures that ship: functions of a dict of arrays."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from ._convolution import convolve

Layer = dict[str, Array]


@partial(jax.jit, static_argnums=(1, 2), inline=True)
def layer(key: PRNGKeyArray, shape: tuple[int, ...], dtype: DTypeLike) -> Layer:
    """Normal weights of variance 1 / (number of inputs of a unit), and biases of zero."""
    inputs = 1
    for size in shape[:-1]:
        inputs *= size
    weight = jax.random.normal(key, shape, dtype) / inputs**0.5
    return {"weight": weight, "bias": jnp.zeros(shape[-1:], dtype)}


def dense(of: Layer, x: Float[Array, "n d"]) -> Float[Array, "n f"]:
    return x @ of["weight"] + of["bias"][None, :]


def convolution(
    of: Layer, x: Float[Array, "n h w c"], stride: int = 1, padding: int = 0
) -> Float[Array, "n p q f"]:
    edge = (padding, padding)
    x = jnp.pad(x, ((0, 0), edge, edge, (0, 0))) if padding else x
    return convolve(x, of["weight"], stride) + of["bias"][None, None, None, :]


def pool(x: Float[Array, "n h w c"]) -> Float[Array, "n p q c"]:
    """Means of 2 x 2 pixels; an odd last row or column is left out.

    By reshaping: the derivative of a maximum pool is slow on CPUs.
    """
    n, h, w, c = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2]
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


def standardised(of: Layer) -> Layer:
    """The layer with weights of mean 0 and variance 1 / inputs per unit (Qiao et al. 2019)."""
    weight = of["weight"]
    axes = tuple(range(weight.ndim - 1))
    inputs = weight.size // weight.shape[-1]
    centred = weight - weight.mean(axes, keepdims=True)
    variance = jnp.mean(centred**2, axes, keepdims=True)
    return {**of, "weight": centred / jnp.sqrt(inputs * variance + 1e-4)}


def normalised(x: Float[Array, "n h w c"], groups: int) -> Float[Array, "n h w c"]:
    """Mean 0 and variance 1 per row and group of channels (Wu & He 2018), without parameters."""
    n, h, w, c = x.shape
    parts = x.reshape(n, h, w, groups, c // groups)
    parts = parts - parts.mean((1, 2, 4), keepdims=True)
    variance = jnp.mean(parts**2, (1, 2, 4), keepdims=True)
    return (parts / jnp.sqrt(variance + 1e-5)).reshape(x.shape)


def logits(of: Layer, x: Float[Array, "n d"]) -> Float[Array, " n"] | Float[Array, "n k"]:
    """A dense layer; with a single unit, one number per row (n,)."""
    f = dense(of, x)
    return f[:, 0] if f.shape[1] == 1 else f
