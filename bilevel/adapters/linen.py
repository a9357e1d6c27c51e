"""flax linen modules as architectures."""

import inspect
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..networks import AbstractArchitecture
from ._modules import as_outputs, refuse_state


class Linen(AbstractArchitecture):
    """A flax linen module: `Network(Linen(module))`.

    - `module`: its `__call__` takes rows (n, ...) and returns logits (n,), (n, 1) or (n, k). An
      argument named `train` or `deterministic` is given: dropout is on in training alone. It may
      have no state beside its parameters: group or layer norms in place of batch norms.

    `activations` are what the module sows into "intermediates"; if it sows nothing, the outputs of
    its submodules. `init` raises `ValueError` for a module with state.
    """

    module: Any = eqx.field(static=True)

    def init(self, key, row):
        keys = dict(zip(("params", "dropout"), jax.random.split(key), strict=True))
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            rows = jnp.zeros((1, *row.shape), row.dtype)
            variables = self.module.init(keys, rows, **self._mode(False))
        refuse_state(set(variables) - {"params", "intermediates"})
        return variables["params"]

    def apply(self, parameters, x, key=None):
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            logits, state = self.module.apply(
                {"params": parameters},
                x,
                rngs=None if key is None else {"dropout": key},
                mutable=["intermediates"],
                capture_intermediates=True,
                **self._mode(key is not None),
            )
        return as_outputs(logits, _activations(state.get("intermediates", {}), logits))

    def _mode(self, train: bool) -> dict[str, bool]:
        arguments = inspect.signature(self.module.__call__).parameters
        return {
            name: value
            for name, value in (("train", train), ("deterministic", not train))
            if name in arguments
        }


def _activations(captured: dict[str, Any], logits: Array) -> dict[str, Array]:
    sown, outputs = {}, {}

    def walk(tree, path):
        for name, node in tree.items():
            if isinstance(node, dict):
                walk(node, (*path, name))
            elif name == "__call__" and path:
                outputs["/".join(path)] = node[0]
            elif name != "__call__":
                sown["/".join((*path, name))] = node[0]

    walk(captured, ())
    arrays = {name: a for name, a in (sown or outputs).items() if isinstance(a, jax.Array)}
    return {name: a for name, a in arrays.items() if a is not logits}
