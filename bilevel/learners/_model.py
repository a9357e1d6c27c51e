"""The interface of models, the results of training."""

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

        - `x`: rows (n, ...), or the result of the learner's `prepare_rows` for them.
        - `key`: typed key, for models with randomness (dropout, smoothing).
        """

    def predict(self, x: PyTree, *, key: PRNGKeyArray | None = None) -> Int[Array, " n"]:
        """Labels (n,): -1 or +1 by the sign of the decision, or the class of the largest of k."""
        f = self.decision(x, key=key)
        if f.ndim == 2:
            return jnp.argmax(f, axis=1).astype(jnp.int32)
        return jnp.where(f > 0, 1, -1).astype(jnp.int32)

    def features(self, x: Float[Array, "n ..."]) -> Float[Array, "n f"]:
        """Inputs of the last layer; for a model without layers the rows, flattened."""
        return x.reshape(x.shape[0], -1)


class AbstractDeepModel(AbstractModel):
    """A network: its parameters are a pytree, and the outputs of its inner layers are available.

    Repairs mask parameters and do not change shapes.
    """

    parameters: eqx.AbstractVar[PyTree]

    @abc.abstractmethod
    def activations(
        self, x: Float[Array, "n ..."], *, key: PRNGKeyArray | None = None
    ) -> dict[str, Array]:
        """Outputs of the inner layers by name, each (n, ...), from the first layer to the last."""

    def features(self, x):
        layers = list(self.activations(x).values())
        if not layers:
            raise ValueError(
                "features: the network reports no activations; let it return networks.Outputs with "
                "its last hidden layer"
            )
        last = layers[-1]
        return last.reshape(last.shape[0], -1)
