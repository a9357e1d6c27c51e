"""Convolutional networks without skips: convolutions, then dense layers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ._architecture import AbstractArchitecture, Outputs
from ._layers import convolution, dense, layer, logits, pool


class ConvNet(AbstractArchitecture):
    """Convolution, activation and mean pool of 2 x 2 for each entry of `channels`; then dense
    layers. For images (height, width, channels).

    - `channels`: filters of each convolution. `kernel`: height and width of the filters.
    - `hidden`: units of each dense layer between.
    - `stride`: of the convolutions. With 2 or more there are no pools, and less cost.
    - `outputs`: number of classes; 1 gives one real number per row, for labels -1 and +1.
    - `activation`: `jnp.tanh` and `jax.nn.softplus` are smooth.

    `init` raises `ValueError` if the images are too small.
    """

    channels: tuple[int, ...] = (16, 32)
    kernel: int = 5
    hidden: tuple[int, ...] = (512,)
    outputs: int = 10
    activation: Callable = jax.nn.relu
    stride: int = 1

    def init(self, key, row):
        if len(row.shape) != 3:
            raise ValueError(
                f"x: got rows of shape {row.shape}, expected (height, width, channels)"
            )
        height, width, units = row.shape
        keys = iter(jax.random.split(key, len(self.channels) + len(self.hidden) + 1))
        parameters = {}
        for i, filters in enumerate(self.channels):
            shape = (self.kernel, self.kernel, units, filters)
            parameters[f"conv{i}"] = layer(next(keys), shape, row.dtype)
            height, width = (self._size(n) for n in (height, width))
            units = filters
        if min(height, width) < 1:
            raise ValueError(
                f"x: got images of {row.shape[0]} x {row.shape[1]} pixels, too few for "
                f"{len(self.channels)} convolutions of {self.kernel} x {self.kernel}"
            )
        units *= height * width
        for i, size in enumerate(self.hidden):
            parameters[f"dense{i}"] = layer(next(keys), (units, size), row.dtype)
            units = size
        parameters["logits"] = layer(next(keys), (units, self.outputs), row.dtype)
        return parameters

    def apply(self, parameters, x, key=None):
        del key
        activations = {}
        for i in range(len(self.channels)):
            name = f"conv{i}"
            x = activations[name] = self.activation(convolution(parameters[name], x, self.stride))
            x = pool(x) if self.stride == 1 else x
        x = x.reshape(x.shape[0], -1)
        for i in range(len(self.hidden)):
            name = f"dense{i}"
            x = activations[name] = self.activation(dense(parameters[name], x))
        return Outputs(logits(parameters["logits"], x), activations)

    def _size(self, pixels: int) -> int:
        """Pixels after a convolution and its pool."""
        left = (pixels - self.kernel) // self.stride + 1
        return left // 2 if self.stride == 1 else left


def lenet(outputs: int = 10, activation: Callable = jax.nn.relu) -> ConvNet:
    """16 and 32 filters of 5 x 5, 512 units: the network of BadNets (Gu et al. 2017)."""
    return ConvNet((16, 32), 5, (512,), outputs, activation)


def wide(outputs: int = 10, activation: Callable = jax.nn.relu) -> ConvNet:
    """32 and 64 filters of 3 x 3, 128 units: enough last channels for pruning to choose from."""
    return ConvNet((32, 64), 3, (128,), outputs, activation)


def small(outputs: int = 10, activation: Callable = jnp.tanh) -> ConvNet:
    """8 and 16 filters of 5 x 5 with stride 2, 32 units: for hypergradients on CPUs."""
    return ConvNet((8, 16), 5, (32,), outputs, activation, stride=2)
