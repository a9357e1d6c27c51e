"""The interface of capabilities."""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, PyTree

from bilevel import Data
from bilevel.tools import concrete, norm, require_finite, require_floating

from .._world import World
from ..domains import AbstractDomain


def row_weights(
    weight: Float[ArrayLike, " m"] | None, shape: tuple[int, ...]
) -> Float[Array, " m"]:
    """Weights of inserted rows, by default ones; ValueError for another shape and for NaN."""
    weight = jnp.ones(shape) if weight is None else jnp.asarray(weight, float)
    if weight.shape != shape:
        raise ValueError(f"weight: got shape {weight.shape}, expected {shape}, one per poison row")
    require_finite(weight=weight)
    return weight


class AbstractCapability(eqx.Module):
    """The changes by a decision variable z: of the training rows (`inject`) and of the rows that
    the trained model predicts (`present`).

    z is any point of a convex set. Valid values near z enter the data, with the derivative of z
    itself, so that an attack is always evaluated at valid rows.

    - `keeps_rows`: the training data begin with the clean x and y, perhaps with other weights.
      Computations on the clean rows are then done once.
    """

    keeps_rows: ClassVar[bool] = False

    def check(self, data: Data) -> None:
        """ValueError, with a sentence, if this capability does not match the data."""

    @abc.abstractmethod
    def shapes(self, data: Data) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of z."""

    def inject(self, z: PyTree, data: Data) -> Data:
        """The poisoned training data, with valid rows; by default `data`. ValueError for a z of
        wrong shape or dtype.
        """
        del z
        return data

    def present(
        self, z: PyTree, x: Float[Array, "n ..."], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "n ..."]:
        """Rows as presented to the trained model; by default unchanged."""
        del z, key
        return x

    @abc.abstractmethod
    def project(self, z: PyTree) -> PyTree:
        """The nearest feasible z."""

    def places(self, data: Data) -> Int[np.ndarray, " m"] | Int[Array, " m"]:
        """Indices of the attacker's rows in the injected data, in z's order; by default empty."""
        del data
        return np.zeros(0, np.int32)

    def units(self, z: PyTree) -> PyTree:
        """Units of changes of each entry of z, in the shape of z; by default ones."""
        return jax.tree.map(jnp.ones_like, z)

    def scale(self, z: PyTree, data: Data) -> Float[Array, ""]:
        """The size of a relevant change of z, in `units`; by default one."""
        del data
        return jnp.ones((), jax.tree.leaves(z)[0].dtype)

    def direction(self, gradient: PyTree) -> PyTree:
        """The steepest direction of length 1 in the geometry of z. By default lengths are root
        mean squares over rows, in `units`; rows with larger gradients move further.
        """
        return steepest(gradient, self.units(gradient))

    def world(self, z: PyTree, data: Data, *, key: PRNGKeyArray | None = None) -> World:
        """The data as changed by z. `key`: for capabilities with randomness."""
        del key
        train = self.inject(z, data)
        places = self.places(data)
        return World(train, jax.tree.map(lambda leaf: leaf[places], train), z, self)

    def example(self, data: Data) -> PyTree:
        """A feasible z, for shapes and checks."""
        return self.project(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), self.shapes(data)))

    def check_start(self, z: PyTree, data: Data) -> PyTree:
        """Z, in floating arrays; ValueError if it is not finite or lies outside the domain."""
        z = require_floating("z0", z)
        require_shapes("z0", z, self.shapes(data))
        leaves, _ = jax.tree.flatten_with_path(z)
        for path, leaf in leaves:
            require_finite(**{"z0" + jax.tree_util.keystr(path): leaf})
        if not all(concrete(leaf) for _, leaf in leaves):
            return z
        for (path, leaf), near in zip(leaves, jax.tree.leaves(self.project(z)), strict=True):
            gap = float(np.max(np.abs(np.asarray(leaf) - np.asarray(near))))
            scale = max(1.0, float(np.max(np.abs(np.asarray(leaf)))))
            if gap > 100 * float(jnp.finfo(leaf.dtype).eps) * scale:
                raise ValueError(
                    f"z0{jax.tree_util.keystr(path)}: lies outside the domain, by {gap:.3g} at "
                    "most; start inside it, for example at reach.project(z0)"
                )
        return z


def steepest(gradient: PyTree, units: PyTree, weight: Float[Array, " m"] | None = None) -> PyTree:
    """The direction of steepest ascent for this gradient, of length 1: the root mean square over
    the rows of all leaves, in `units`. Zero for a zero gradient.

    - `weight` (m,): of the rows; those of weight zero, whose gradient is zero, are not counted.
    """
    measured = jax.tree.map(jnp.multiply, units, gradient)
    size = norm(measured)
    rows = jnp.shape(jax.tree.leaves(gradient)[0])[0]
    rows = rows if weight is None else jnp.maximum(jnp.sum(weight != 0), 1).astype(size.dtype)
    size = size / rows**0.5
    return jax.tree.map(lambda u, g: u * g / jnp.where(size > 0, size, 1), units, measured)


def spread(x: Float[Array, "n ..."], weight: Float[Array, " n"], unit: Array) -> Float[Array, ""]:
    """Root mean square distance of rows from their mean, in units (...) of each feature."""
    share = (weight / jnp.sum(weight)).reshape(-1, *(1,) * (x.ndim - 1))
    measured = jnp.where(unit > 0, x / jnp.where(unit > 0, unit, 1), 0)
    apart = measured - jnp.sum(share * measured, axis=0, keepdims=True)
    return jnp.sqrt(jnp.sum(share * apart**2))


def row_scale(domain: AbstractDomain, z: Float[Array, "m ..."], data: Data) -> Float[Array, ""]:
    """The size of a relevant change of rows z: the spread of the training rows, in units of the
    domain, or the size of the domain if that is smaller.
    """
    wide = spread(data.x, data.weight, jnp.max(domain.units(z), axis=0, keepdims=True))
    return jnp.minimum(wide, domain.size().astype(wide.dtype))


def require_shapes(name: str, z: PyTree, expected: PyTree[jax.ShapeDtypeStruct]) -> None:
    """ValueError unless z has the expected structure, shapes and dtypes."""
    structure = jax.tree.structure(expected)
    if jax.tree.structure(z) != structure:
        raise ValueError(
            f"{name}: got a {type(z).__name__} of {jax.tree.structure(z).num_leaves} arrays, "
            f"expected {structure}, the structure of reach.example(data)"
        )
    leaves, _ = jax.tree.flatten_with_path(expected)
    for leaf, (path, wanted) in zip(jax.tree.leaves(z), leaves, strict=True):
        part = name + jax.tree_util.keystr(path)
        if jnp.shape(leaf) != wanted.shape:
            what = "(poison rows, features)" if len(wanted.shape) == 2 else "one per poison row"
            raise ValueError(
                f"{part}: got shape {jnp.shape(leaf)}, expected {wanted.shape}: {what}"
            )
        if jnp.result_type(leaf) != wanted.dtype:
            raise ValueError(
                f"{part}: got {jnp.result_type(leaf)}, expected {wanted.dtype}, that of the data"
            )


def indices(rows) -> Int[Array, " k"]:
    """Indices of rows as an array; ValueError unless they are k >= 1 different integers."""
    rows = np.asarray(rows) if isinstance(rows, (list, tuple, range)) else rows
    if rows.ndim != 1 or rows.shape[0] == 0 or not jnp.issubdtype(rows.dtype, jnp.integer):
        raise ValueError(
            f"rows: got {rows.dtype} of shape {rows.shape}, expected integers (k,), k >= 1, the "
            "indices of the rows; for a mask give np.flatnonzero(mask)"
        )
    if concrete(rows):
        values, times = np.unique(np.asarray(rows), return_counts=True)
        if np.any(times > 1):
            raise ValueError(f"rows: index {values[times > 1][0]} is given twice; give each once")
    return jnp.asarray(rows)


def require_rows(rows: Int[Array, " k"], data: Data) -> None:
    """ValueError unless the data have rows with these indices."""
    if not concrete(rows):
        return
    wrong = [int(i) for i in np.asarray(rows) if not 0 <= i < data.rows]
    if wrong:
        raise ValueError(
            f"rows: got the index {wrong[0]}, expected 0 to {data.rows - 1} for {data.rows} "
            "training rows"
        )
