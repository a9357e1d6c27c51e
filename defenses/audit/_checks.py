"""Checks of what an audit is given."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from attacks import Box
from bilevel import Data
from bilevel.learners import AbstractModel
from bilevel.tools import require_weights


def classes_of(model: AbstractModel, clean: Data, least: int) -> int:
    """The number of the model's classes; ValueError, with a sentence, for rows that it does not
    accept, for fewer classes than `least`, and unless the rows are of two or more of them.
    """
    require_weights(clean)
    try:
        f = jax.eval_shape(model.decision, clean.x)
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"clean: the model does not accept rows of shape {clean.x.shape[1:]}; give them in the "
            f"shape that it was trained on. It says: {str(error).splitlines()[0]}"
        ) from error
    classes = f.shape[1] if f.ndim == 2 else 2
    if classes < least:
        raise ValueError(
            f"model: got one of {classes} classes, expected {least} or more: each is compared with "
            "the others"
        )
    labels = np.unique(np.asarray(clean.y))
    wrong = labels[~np.isin(labels, np.arange(classes) if f.ndim == 2 else (-1, 1))]
    if wrong.size:
        expected = f"class numbers 0 to {classes - 1}" if f.ndim == 2 else "-1 and +1"
        raise ValueError(f"clean.y: got labels {wrong[:5]}, expected {expected}, as of the model")
    if labels.size == 1:
        raise ValueError(
            f"clean.y: all rows have the label {labels[0]:g}, which they need no trigger for; "
            "expected rows of two classes or more"
        )
    return classes


def require_range(x: Array, domain: Box) -> None:
    """ValueError unless the domain is bounded and holds the rows."""
    low, high = (np.asarray(bound) for bound in (domain.lower, domain.upper))
    domain.check(x.shape, "domain")
    if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high))):
        raise ValueError("domain: is unbounded, expected the range of the rows, Box(0.0, 1.0)")
    gap = float(domain.outside(x))
    if gap > 1e-6:
        raise ValueError(
            f"clean: has values from {float(jnp.min(x)):g} to {float(jnp.max(x)):g}, {gap:.3g} "
            "outside domain; scale the rows as for the training, or give their range, "
            "domain=Box(lower, upper)"
        )
