"""The contract of models: what training returns."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree


class AbstractModel(eqx.Module):
    """A trained model."""

    @abc.abstractmethod
    def decision(
        self, x: PyTree, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, " n"] | Float[Array, "n k"]:
        """Real-valued output per row: one number, or one per class.

        - `x`: rows (n, ...), or what the learner's `prepare_rows` made of them.
        - `key`: randomness of a model that has some (dropout, smoothing).
        """

    def predict(self, x: PyTree, *, key: PRNGKeyArray | None = None) -> Int[Array, " n"]:
        """Labels: -1 or +1 by the sign of one decision per row, or the class of the largest."""
        f = self.decision(x, key=key)
        if f.ndim == 2:
            return jnp.argmax(f, axis=1).astype(jnp.int32)
        return jnp.where(f > 0, 1, -1).astype(jnp.int32)

    def features(self, x: Float[Array, "n ..."]) -> Float[Array, "n f"]:
        """What the last layer sees of the rows; of a model without layers the rows themselves."""
        return x.reshape(x.shape[0], -1)


class AbstractDeepModel(AbstractModel):
    """A network: its parameters are a pytree, its inner layers can be looked at.

    Repairs mask parameters; they never change shapes.
    """

    parameters: eqx.AbstractVar[PyTree]

    @abc.abstractmethod
    def activations(
        self, x: Float[Array, "n ..."], *, key: PRNGKeyArray | None = None
    ) -> dict[str, Array]:
        """Outputs of the inner layers by name, first layer first, each (n, ...)."""

    def features(self, x):
        last = list(self.activations(x).values())[-1]
        return last.reshape(last.shape[0], -1)
