"""Convolution, in the form that is fast on the machine at hand."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def convolve(
    x: Float[Array, "n h w c"], kernel: Float[Array, "a b c f"], stride: int = 1
) -> Float[Array, "n p q f"]:
    """Convolution of images without padding: p = (h - a) // stride + 1, q likewise.

    On CPUs it is a product of matrices (im2col): XLA's own convolution is 20 to 30 times slower
    there inside a loop such as `lax.scan` (jax issue 12868). Elsewhere it is XLA's own.
    """
    return (by_patches if jax.default_backend() == "cpu" else by_xla)(x, kernel, stride)


def by_patches(x: Array, kernel: Array, stride: int = 1) -> Array:
    """The convolution as one product of matrices, of shifted images and the kernel."""
    a, b, c, f = kernel.shape
    rows, columns = ((n - k) // stride * stride + 1 for n, k in ((x.shape[1], a), (x.shape[2], b)))
    shifted = [
        x[:, i : i + rows : stride, j : j + columns : stride] for i in range(a) for j in range(b)
    ]
    patches = jnp.concatenate(shifted, axis=-1)
    return (patches.reshape(-1, a * b * c) @ kernel.reshape(-1, f)).reshape(*patches.shape[:3], f)


def by_xla(x: Array, kernel: Array, stride: int = 1) -> Array:
    """The convolution of XLA."""
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
