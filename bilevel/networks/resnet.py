"""Residual networks without mutable state: standardised weights in place of batch norms."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array

from ._architecture import AbstractArchitecture, Outputs
from ._layers import Layer, convolution, layer, logits, normalised, standardised


class ResNet(AbstractArchitecture):
    """Residual blocks (He et al. 2016) of two convolutions of 3 x 3, with standardised weights and
    group norms (Qiao et al. 2019). For images (height, width, channels).

    - `widths`: channels of each stage. From the second stage on, the first block halves height and
      width.
    - `blocks`: blocks per stage. (64, 128, 256, 512) with 2 has the shape of ResNet-18.
    - `groups`: groups of channels of a norm; divides all widths, otherwise `ValueError`.
    - `outputs`: number of classes; 1 gives one real number per row, for labels -1 and +1.
    - `activation`: `jax.nn.softplus` and `jax.nn.gelu` are smooth.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1
    groups: int = 4
    outputs: int = 10
    activation: Callable = jax.nn.relu

    def __check_init__(self):
        if any(width % self.groups for width in self.widths):
            raise ValueError(
                f"groups: got {self.groups}, expected a divisor of all widths {self.widths}"
            )

    def init(self, key, row):
        if len(row.shape) != 3:
            raise ValueError(
                f"x: got rows of shape {row.shape}, expected (height, width, channels)"
            )
        stem, last, *keys = jax.random.split(key, 2 + len(self.widths) * self.blocks)
        inputs = self.widths[0]
        parameters: dict[str, Any] = {"stem": layer(stem, (3, 3, row.shape[2], inputs), row.dtype)}
        for i, name in enumerate(self._names()):
            width = self.widths[i // self.blocks]
            first, second, skip = jax.random.split(keys[i], 3)
            parameters[name] = {
                "first": layer(first, (3, 3, inputs, width), row.dtype),
                "second": layer(second, (3, 3, width, width), row.dtype),
            }
            if inputs != width or self._stride(i) > 1:
                parameters[name]["skip"] = layer(skip, (1, 1, inputs, width), row.dtype)
            inputs = width
        parameters["logits"] = layer(last, (inputs, self.outputs), row.dtype)
        return parameters

    def apply(self, parameters, x, key=None):
        del key
        x, activations = convolution(standardised(parameters["stem"]), x, padding=1), {}
        for i, name in enumerate(self._names()):
            x = activations[name] = self._block(parameters[name], x, self._stride(i))
        x = activations["mean"] = self._active(x).mean((1, 2))
        return Outputs(logits(parameters["logits"], x), activations)

    def _names(self) -> list[str]:
        return [f"block{i}" for i in range(len(self.widths) * self.blocks)]

    def _stride(self, block: int) -> int:
        return 2 if block >= self.blocks and block % self.blocks == 0 else 1

    def _active(self, x: Array) -> Array:
        return self.activation(normalised(x, self.groups))

    def _block(self, of: dict[str, Layer], x: Array, stride: int) -> Array:
        active = self._active(x)
        skip = convolution(standardised(of["skip"]), active, stride) if "skip" in of else x
        y = convolution(standardised(of["first"]), active, stride, padding=1)
        return skip + convolution(standardised(of["second"]), self._active(y), padding=1)
