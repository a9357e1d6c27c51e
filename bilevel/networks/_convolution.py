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
    if stride > 1:
        x, kernel = _blocks(x, kernel, stride)
    a, b, c, f = kernel.shape
    rows, columns = x.shape[1] - a + 1, x.shape[2] - b + 1
    shifted = [x[:, i : i + rows, j : j + columns] for i in range(a) for j in range(b)]
    patches = jnp.concatenate(shifted, axis=-1)
    return (patches.reshape(-1, a * b * c) @ kernel.reshape(-1, f)).reshape(*patches.shape[:3], f)


def _blocks(x: Array, kernel: Array, stride: int) -> tuple[Array, Array]:
    """(Images, kernel) of the same convolution with stride 1: the pixels of blocks of stride x
    stride become channels. Slices with steps, and their derivatives, are slow.
    """
    for axis in (0, 1):
        size, pixels = kernel.shape[axis], x.shape[axis + 1]
        wide = -(-size // stride) * stride
        used = (pixels - size) // stride * stride + wide
        x = lax.slice_in_dim(x, 0, min(used, pixels), axis=axis + 1)
        x = _padded(x, axis + 1, max(used - pixels, 0))
        kernel = _padded(kernel, axis, wide - size)
    n, h, w, c = x.shape
    a, b, _, f = kernel.shape
    x = x.reshape(n, h // stride, stride, w // stride, stride, c).swapaxes(2, 3)
    kernel = kernel.reshape(a // stride, stride, b // stride, stride, c, f).swapaxes(1, 2)
    inputs = stride * stride * c
    return x.reshape(*x.shape[:3], inputs), kernel.reshape(*kernel.shape[:2], inputs, f)


def _padded(array: Array, axis: int, count: int) -> Array:
    widths = [(0, count if i == axis else 0) for i in range(array.ndim)]
    return jnp.pad(array, widths) if count else array


def by_xla(x: Array, kernel: Array, stride: int = 1) -> Array:
    """The convolution of XLA."""
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
