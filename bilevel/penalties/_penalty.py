"""The interface of penalties: a prox, and faces along which the penalty is smooth."""

import abc
from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

from .._tree import concrete

Slopes = Float[Array, " d"]


class AbstractPenalty(eqx.Module):
    """A convex function p of the unknowns, smooth on each of finitely many *faces*.

    On a face some coordinates are free and the others are fixed (at zero, or at a bound). All
    methods except `flat` work on flat vectors of d unknowns, and on strengths that `flat` has
    broadcast.

    - `separable`: whether p is a sum over coordinates; then the t of `prox` may be a vector (d,),
      of one step for each coordinate.
    """

    separable: ClassVar[bool] = False

    @abc.abstractmethod
    def flat(self, w: PyTree) -> Self:
        """This penalty with one strength for each of the d unknowns of `ravel_pytree(w)`.

        Raises `ValueError` for strengths that do not broadcast to w.
        """

    @abc.abstractmethod
    def prox(self, v: Float[Array, " d"], t: Float[Array, ""]) -> Float[Array, " d"]:
        """argmin_u 1/2 |u - v|^2 + t p(u)."""

    @abc.abstractmethod
    def face(self, w: Float[Array, " d"]) -> Array:
        """The face that w lies on, as integers or booleans."""

    @abc.abstractmethod
    def free(self, face: Array) -> Bool[Array, " d"]:
        """Which coordinates may move along the face."""

    @abc.abstractmethod
    def fixed(self, face: Array) -> Float[Array, " d"]:
        """The values of the other coordinates; entries of free ones are not used."""

    @abc.abstractmethod
    def smooth(self, w: Float[Array, " d"], face: Array) -> Float[Array, ""]:
        """A smooth function of w and of the strengths that equals p along the face."""

    @abc.abstractmethod
    def slack(
        self, w: Float[Array, " d"], slope: Slopes, face: Array
    ) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        """Distances to the next change of face, per inequality, where `slope` is the gradient of
        the loss: (in units of w, in units of the slope). Infinite where one does not apply;
        negative where w is not optimal.
        """


def require_strength(name: str, strength: PyTree) -> None:
    """ValueError unless all numbers of a strength are finite and >= 0. Traced ones are not
    checked.
    """
    for leaf in jax.tree.leaves(strength):
        if concrete(leaf) and not np.all((np.asarray(leaf) >= 0) & np.isfinite(np.asarray(leaf))):
            raise ValueError(f"{name}: got {leaf}, expected finite numbers >= 0")


def spread(strength: PyTree, w: PyTree, name: str) -> Float[Array, " d"]:
    """`strength` as one number for each unknown. It is a number, an array of the shape of w (or of
    a leaf), or a tree of these whose structure is a prefix of that of w. ValueError for others.
    """

    def over(s, part):
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(part)]
        if jnp.ndim(s) > 0 and any(jnp.shape(s) != shape for shape in shapes):
            raise ValueError(
                f"{name}: got shape {jnp.shape(s)} for unknowns of shape {shapes[0]}; expected "
                "one number, or one for each unknown"
            )
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(jnp.asarray(s, jnp.result_type(leaf)), jnp.shape(leaf)),
            part,
        )

    try:
        return ravel_pytree(jax.tree.map(over, strength, w))[0]
    except (ValueError, TypeError) as error:
        if str(error).startswith(name):
            raise
        raise ValueError(
            f"{name}: got a tree {jax.tree.structure(strength)}, expected one number or a tree "
            f"that is a prefix of that of the unknowns, {jax.tree.structure(w)}"
        ) from error
