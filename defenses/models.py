"""Models made elsewhere, for defenses that examine or guard a finished one."""

from collections.abc import Callable
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from bilevel.learners import AbstractModel
from bilevel.tools import concrete

Function = Callable[[Any], ArrayLike]


class Plain(AbstractModel):
    """A finished model as a function of its rows.

        Plain(lambda x: module.apply(parameters, x))                      # JAX, differentiable
        Plain(classifier.decision_function)                               # scikit-learn
        Plain(lambda x: net(torch.from_numpy(x)).detach().numpy())        # torch

    - `decision(x)`: from rows (n, ...) to real numbers (n,), negative for label -1 and positive for
      +1, or (n, k), one per class 0, ..., k - 1.
    - `features(x)`: from rows to the inputs of the last layer (n, ...), for detectors that look at
      them; by default the rows themselves.

    A function that JAX can trace is used as it is. Any other is called with NumPy arrays, inside
    compiled programs too, and has no derivative: what needs one raises a `ValueError`. The same
    rows must give the same numbers. Results of another shape are a `ValueError`.
    """

    of_logits: Function
    of_features: Function | None

    def __init__(self, decision: Function, features: Function | None = None):
        self.of_logits, self.of_features = decision, features

    def decision(self, x, *, key=None):
        del key
        f = _called("decision", self.of_logits, x)
        if f.ndim not in (1, 2) or f.shape[0] != x.shape[0]:
            raise ValueError(
                f"decision: got shape {f.shape} for {x.shape[0]} rows, expected "
                f"({x.shape[0]},) or ({x.shape[0]}, classes)"
            )
        return f

    def features(self, x):
        if self.of_features is None:
            return super().features(x)
        f = _called("features", self.of_features, x)
        if f.ndim < 2 or f.shape[0] != x.shape[0]:
            raise ValueError(
                f"features: got shape {f.shape} for {x.shape[0]} rows, expected "
                f"({x.shape[0]}, features)"
            )
        return f.reshape(f.shape[0], -1)


def _called(name: str, function: Function, x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    try:
        jax.eval_shape(function, x)
    except Exception:  # of NumPy or torch, which fail in their own ways, or a mistake: seen below
        return _opaque(name, function, x)
    return jnp.asarray(function(x))


def _opaque(name: str, function: Function, x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """A function of NumPy arrays inside programs of JAX."""

    def numbers(x: ArrayLike) -> np.ndarray:
        out = np.asarray(function(np.array(x)))
        return out.astype(jax.dtypes.canonicalize_dtype(out.dtype))

    if concrete(x):
        return jnp.asarray(numbers(x))
    like = numbers(np.zeros(x.shape, x.dtype))
    shape = jax.ShapeDtypeStruct(like.shape, like.dtype)

    @jax.custom_jvp
    def call(x):
        return jax.pure_callback(numbers, shape, x, vmap_method="sequential")

    @call.defjvp
    def _(primals, tangents) -> NoReturn:
        raise ValueError(
            f"{name}: got a function that JAX cannot differentiate, and this needs its derivative; "
            "write it with jax.numpy, or take a detector that needs none (STRIP, activation "
            "clustering, spectral signatures)"
        )

    return call(x)
