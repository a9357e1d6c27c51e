"""What repairs of networks ask of a model, and of the defender's clean rows."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from bilevel import Data
from bilevel.learners import AbstractDeepModel, AbstractModel, NetworkModel
from bilevel.networks import AbstractArchitecture, Outputs
from bilevel.tools import concrete, require_weights

from ._repair import AbstractRepair


class AbstractCleanRepair(AbstractRepair):
    """A repair by rows that the defender knows to be clean.

    - `clean`: these rows. They have rows of every class: a network tuned on others forgets it.
    """

    clean: eqx.AbstractVar[Data]

    def check(self, data):
        super().check(data)
        clean = self.clean
        require_weights(clean)
        for name, got, wanted in (
            ("rows of shape", clean.x.shape[1:], data.x.shape[1:]),
            ("rows in", clean.x.dtype, data.x.dtype),
        ):
            if got != wanted:
                raise ValueError(
                    f"clean: got {name} {got}, expected {wanted}, as the training rows are"
                )
        if not (
            concrete(clean.y) and concrete(data.y) and jnp.issubdtype(data.y.dtype, jnp.integer)
        ):
            return
        ours, theirs = (np.unique(np.asarray(rows.y)) for rows in (clean, data))
        missing, strange = np.setdiff1d(theirs, ours), np.setdiff1d(ours, theirs)
        if missing.size:
            raise ValueError(
                f"clean: got no row of class {missing[0]:g}, which a network tuned without it "
                "forgets; add some of each class"
            )
        if strange.size:
            raise ValueError(
                f"clean: got the label {strange[0]:g}, which no training row has; their classes "
                f"are {', '.join(f'{label:g}' for label in theirs[:12])}"
            )


class _Of(AbstractArchitecture):
    """A deep model of another kind, as a function of its parameters."""

    model: AbstractDeepModel

    def init(self, key, row):
        del key, row
        return self.model.parameters

    def apply(self, parameters, x, key=None):
        model = eqx.tree_at(lambda model: model.parameters, self.model, parameters)
        return Outputs(model.decision(x, key=key), model.activations(x, key=key))


def as_network(model: AbstractModel) -> NetworkModel:
    """The model as a network; ValueError for one without layers."""
    if isinstance(model, NetworkModel):
        return model
    if isinstance(model, AbstractDeepModel):
        return NetworkModel(model.parameters, _Of(model))
    raise ValueError(
        f"learner: trains a {type(model).__name__}, expected a network, whose parameters a repair "
        "can change; put the repair directly around a Network"
    )
