"""Multilayer perceptrons."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ._architecture import AbstractArchitecture, Outputs
from ._layers import dense, layer, logits


class MLP(AbstractArchitecture):
    """Dense layers, for tables and for images, which it flattens.

    - `hidden`: units of each hidden layer.
    - `outputs`: number of classes; 1 gives one real number per row, for labels -1 and +1.
    - `activation`: of the hidden layers. A smooth one has exact central differences.
    """

    hidden: tuple[int, ...] = (10,)
    outputs: int = 1
    activation: Callable = jnp.tanh

    def init(self, key, row):
        keys = jax.random.split(key, len(self.hidden) + 1)
        units, parameters = math.prod(row.shape), {}
        for i, size in enumerate(self.hidden):
            parameters[f"dense{i}"] = layer(keys[i], (units, size), row.dtype)
            units = size
        return parameters | {"logits": layer(keys[-1], (units, self.outputs), row.dtype)}

    def apply(self, parameters, x, key=None):
        del key
        x, activations = x.reshape(x.shape[0], -1), {}
        for i in range(len(self.hidden)):
            name = f"dense{i}"
            x = activations[name] = self.activation(dense(parameters[name], x))
        return Outputs(logits(parameters["logits"], x), activations)
