"""equinox modules as architectures."""

import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from ..networks import AbstractArchitecture
from ._modules import as_outputs, refuse_state


class Equinox(AbstractArchitecture):
    """An equinox module: `Network(Equinox(make))`.

    - `make(key) -> module`: its `__call__` takes one row, and a `key` if it has such an argument;
      it returns a number, (1,) or (k,), or `networks.Outputs` with activations. It may have no
      state beside its parameters: group or layer norms in place of batch norms. Dropout is on in
      training alone.

    `init` raises `ValueError` for a module with state.
    """

    make: Callable[[PRNGKeyArray], Any] = eqx.field(static=True)

    def init(self, key, row):
        del row
        module = self.make(key)
        states = [
            leaf
            for leaf in jax.tree.leaves(module, is_leaf=lambda n: isinstance(n, eqx.nn.StateIndex))
            if isinstance(leaf, eqx.nn.StateIndex)
        ]
        refuse_state(states and {type(module).__name__})
        return eqx.filter(module, eqx.is_inexact_array)

    def apply(self, parameters, x, key=None):
        shapes = eqx.filter_eval_shape(self.make, jax.random.key(0))
        rest = eqx.filter(shapes, lambda leaf: not isinstance(leaf, jax.ShapeDtypeStruct))
        module = eqx.nn.inference_mode(eqx.combine(parameters, rest), value=key is None)
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            if "key" not in inspect.signature(module.__call__).parameters:
                made = jax.vmap(module)(x)
            else:
                keys = jax.random.split(jax.random.key(0) if key is None else key, x.shape[0])
                made = jax.vmap(lambda row, key: module(row, key=key))(x, keys)
        return as_outputs(made)
