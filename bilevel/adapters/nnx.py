"""flax nnx modules as architectures."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from ..networks import AbstractArchitecture
from ._foreign import missing
from ._modules import as_outputs, refuse_state


class Nnx(AbstractArchitecture):
    """A flax nnx module: `Network(Nnx(make))`.

    - `make(rngs) -> module`: its `__call__` takes rows (n, ...) and returns logits (n,), (n, 1) or
      (n, k), or `networks.Outputs` with activations. It may have no state beside its parameters
      and random keys: group or layer norms in place of batch norms. Dropout is on in training
      alone.

    Raises `ImportError` with the command that installs flax if it is
    missing; `init` raises `ValueError` for a module with state.
    """

    make: Callable[[Any], Any] = eqx.field(static=True)

    def init(self, key, row):
        del row
        nnx = _library()
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            module = self.make(nnx.Rngs(params=key, dropout=key))
        parameters, _, state = nnx.state(module, nnx.Param, nnx.RngState, ...)
        refuse_state(jax.tree.leaves(state) and {type(module).__name__})
        return nnx.to_pure_dict(parameters)

    def apply(self, parameters, x, key=None):
        nnx = _library()
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            module = nnx.eval_shape(lambda: self.make(nnx.Rngs(0)))
            graph, empty, keys, counts = nnx.split(module, nnx.Param, nnx.RngKey, nnx.RngCount)
            nnx.replace_by_pure_dict(empty, parameters)
            random = jax.random.key(0) if key is None else key
            keys = jax.tree.map(lambda leaf: random, keys)
            counts = jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), counts)
            module = nnx.merge(graph, empty, keys, counts)
            module.train() if key is not None else module.eval()
            return as_outputs(module(x))


def _library() -> Any:
    try:
        from flax import nnx
    except ImportError as error:
        missing("networks", error)
    return nnx
