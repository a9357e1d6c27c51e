"""The interface of architectures: parameters from a key, outputs from parameters and rows."""

import abc
from collections import OrderedDict
from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree


class Outputs(eqx.Module):
    """Outputs of a network for n rows.

    - `logits` (n,) or (n, k): one real number per row, or one per class.
    - `activations`: outputs of the inner layers by name, each (n, ...), from the first layer to the
      last; may be empty.
    """

    logits: Float[Array, " n"] | Float[Array, "n k"]
    # Ordered, because JAX sorts the keys of a plain dict.
    activations: dict[str, Array] = eqx.field(default_factory=dict, converter=OrderedDict)


class AbstractArchitecture(eqx.Module):
    """A network without its parameters, and without mutable state."""

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray, row: jax.ShapeDtypeStruct) -> PyTree:
        """Parameters, a pytree of floating arrays, for rows of shape and dtype `row`."""

    @abc.abstractmethod
    def apply(
        self, parameters: PyTree, x: Float[Array, "n ..."], key: PRNGKeyArray | None = None
    ) -> Outputs:
        """Outputs for rows x. `key` draws dropout masks; without it there is no dropout."""


class Functions(AbstractArchitecture):
    """An architecture of two plain functions.

    - `of_key(key)`: the parameters.
    - `of_rows(parameters, x)`: `Outputs`, or the logits alone.
    """

    of_key: Callable[[PRNGKeyArray], PyTree]
    of_rows: Callable[[PyTree, Array], Outputs | Array]

    def init(self, key, row):
        del row
        return self.of_key(key)

    def apply(self, parameters, x, key=None):
        del key
        outputs = self.of_rows(parameters, x)
        return outputs if isinstance(outputs, Outputs) else Outputs(outputs)
