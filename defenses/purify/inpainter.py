"""What to put where pixels of an image are missing."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from bilevel import argmin
from bilevel.derivatives import Unroll
from bilevel.networks import convolve
from bilevel.problems import Stochastic
from bilevel.solvers import Descent
from bilevel.tools import require_count


class MeanFill(eqx.Module):
    """The mean of clean images, at the pixels that are missing."""

    mean: Float[Array, "h w c"]

    def __init__(self, clean: Float[ArrayLike, "n h w c"]):
        self.mean = jnp.mean(_images(clean), axis=0)

    def __call__(self, x, mask):
        return jnp.broadcast_to(self.mean.astype(x.dtype)[None], x.shape)


class Inpainting(eqx.Module):
    """A trained inpainter: a function of images, whose missing pixels are 0, and of masks."""

    parameters: PyTree
    lowest: Float[Array, ""]
    highest: Float[Array, ""]
    block: int = eqx.field(static=True)

    def __call__(
        self, x: Float[Array, "n h w c"], mask: Float[Array, "n h w 1"]
    ) -> Float[Array, "n h w c"]:
        """Whole images, in the range of the training images."""
        painted = _painted(self.parameters, self.block, x, mask)
        return jnp.clip(painted, self.lowest, self.highest)


class Inpainter(eqx.Module):
    """A network that learns to paint missing rectangles of clean images: convolutions of 3 x 3 on
    blocks of pixels, so that a few layers see the whole image; least squares at the pixels that are
    missing, Adam.

    - `block`: pixels of a side of a block. `channels`, `layers`: of the convolutions between.
    - `patches`: rectangles of an image, with sides from a seventh of it to four sevenths.
    - `steps`, `batch`, `rate`: of the training. The defaults take half a minute of one core for
      MNIST.

    The paper adds an adversarial loss, for images that people look at; here a network does.
    """

    block: int = 4
    channels: int = 64
    layers: int = 3
    patches: int = 2
    steps: int = 700
    batch: int = 50
    rate: float = 1e-3

    def __check_init__(self):
        for name in ("block", "channels", "layers", "patches", "steps", "batch"):
            require_count(name, getattr(self, name))

    def fit(self, clean: Float[ArrayLike, "n h w c"], *, key: PRNGKeyArray) -> Inpainting:
        """An inpainting trained on clean images, n >= 1; ValueError for other rows."""
        clean = _images(clean)
        of_start, of_steps = jax.random.split(key)
        loss = eqx.Partial(_loss, self.block, self.patches, self.batch)
        problem = Stochastic(loss, self._start(of_start, clean), clean, of_steps)
        solver = Descent(optax.adam(self.rate), self.steps)
        parameters = argmin(problem, solver=solver, derivative=Unroll()).value
        return Inpainting(parameters, jnp.min(clean), jnp.max(clean), self.block)

    def _start(self, key: PRNGKeyArray, clean: Array) -> list[dict[str, Array]]:
        """Normal weights of variance 2 / inputs."""
        pixels, channels = self.block**2, clean.shape[3]
        sizes = [pixels * (channels + 1), *[self.channels] * self.layers, pixels * channels]
        return [
            {
                "weight": jax.random.normal(key, (3, 3, a, b), clean.dtype) * (2 / (9 * a)) ** 0.5,
                "bias": jnp.zeros(b, clean.dtype),
            }
            for key, a, b in zip(
                jax.random.split(key, len(sizes) - 1), sizes[:-1], sizes[1:], strict=True
            )
        ]


def _images(clean: ArrayLike) -> Float[Array, "n h w c"]:
    images = jnp.asarray(clean)
    if images.ndim != 4 or not len(images):
        raise ValueError(
            f"clean: got shape {images.shape}, expected images (n, height, width, channels)"
        )
    return images


def _loss(
    block: int, patches: int, batch: int, parameters: PyTree, clean: Array, key: PRNGKeyArray
) -> Float[Array, ""]:
    of_rows, of_masks = jax.random.split(key)
    x = clean[jax.random.randint(of_rows, (batch,), 0, len(clean))]
    mask = rectangles(of_masks, batch, patches, x.shape[1], x.shape[2]).astype(x.dtype)
    wrong = _painted(parameters, block, (1 - mask) * x, mask) - x
    return jnp.sum(mask * wrong**2) / (jnp.sum(mask) * x.shape[3])


def rectangles(
    key: PRNGKeyArray, count: int, patches: int, height: int, width: int
) -> Float[Array, "count h w 1"]:
    """1 inside random rectangles, `patches` of them in each image."""

    def inside(key: PRNGKeyArray, pixels: int) -> Float[Array, "count patches p"]:
        of_sides, of_places = jax.random.split(key)
        side = jax.random.uniform(of_sides, (count, patches, 1), float, pixels / 7, 4 * pixels / 7)
        first = jax.random.uniform(of_places, (count, patches, 1), float) * (pixels - side)
        at = jnp.arange(pixels, dtype=side.dtype)[None, None] + 0.5
        return ((at > first) & (at < first + side)).astype(side.dtype)

    of_rows, of_columns = jax.random.split(key)
    rows, columns = inside(of_rows, height), inside(of_columns, width)
    return jnp.max(rows[..., :, None] * columns[..., None, :], axis=1)[..., None]


def _painted(parameters: PyTree, block: int, x: Array, mask: Array) -> Array:
    n, height, width, channels = x.shape
    more = ((0, 0), (0, -height % block), (0, -width % block), (0, 0))
    x, mask = jnp.pad(x, more), jnp.pad(mask, more, constant_values=1)  # nobody knows what is there
    seen = _blocks(jnp.concatenate([x, mask], axis=3), block)
    for layer in parameters[:-1]:
        seen = jax.nn.relu(_convolved(layer, seen))
    painted = _convolved(parameters[-1], seen)
    h, w = painted.shape[1:3]
    painted = painted.reshape(n, h, w, block, block, channels).swapaxes(2, 3)
    return painted.reshape(n, h * block, w * block, channels)[:, :height, :width]


def _blocks(x: Array, block: int) -> Array:
    """Pixels of a block as channels."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // block, block, w // block, block, c).swapaxes(2, 3)
    return x.reshape(n, h // block, w // block, block * block * c)


def _convolved(layer: dict[str, Array], x: Array) -> Array:
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return convolve(x, layer["weight"]) + layer["bias"][None, None, None]
