"""The contract of capabilities."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from bilevel import Data
from bilevel._tree import concrete
from bilevel.data import require_finite


class AbstractCapability(eqx.Module):
    """The attacker's reach: how a decision variable z enters the training data.

    z lives in a convex set and moves freely there. `inject` puts valid values into the data, with
    the derivative of z itself: what an attack is scored by is always valid.
    """

    keeps_rows: eqx.AbstractClassVar[bool]  # clean x and y stay, in front; weights may change

    @abc.abstractmethod
    def check(self, data: Data) -> None:
        """ValueError with a sentence if this reach does not fit the data."""

    @abc.abstractmethod
    def shapes(self, data: Data) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of z."""

    @abc.abstractmethod
    def inject(self, z: PyTree, data: Data) -> Data:
        """The poisoned data, valid. ValueError for a z of wrong shape or dtype."""

    @abc.abstractmethod
    def project(self, z: PyTree) -> PyTree:
        """The nearest z that the attacker may choose."""

    def example(self, data: Data) -> PyTree:
        """Some feasible z, for shapes and checks."""
        return self.project(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), self.shapes(data)))

    def check_start(self, z: PyTree, data: Data) -> PyTree:
        """The start itself, or ValueError if it is not finite or lies outside the domain."""
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
                    "most; start inside it, or at reach.project(z0)"
                )
        return z


def require_shapes(name: str, z: PyTree, expected: PyTree[jax.ShapeDtypeStruct]) -> None:
    """ValueError unless z has the expected structure, shapes and dtypes."""
    structure = jax.tree.structure(expected)
    if jax.tree.structure(z) != structure:
        raise ValueError(
            f"{name}: got a {type(z).__name__} of {jax.tree.structure(z).num_leaves} arrays, "
            f"expected {structure}; build it as reach.example(data) is built"
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
    """Indices of rows as an array; ValueError unless they are some, different integers."""
    rows = np.asarray(rows) if isinstance(rows, (list, tuple, range)) else rows
    if rows.ndim != 1 or rows.shape[0] == 0 or not jnp.issubdtype(rows.dtype, jnp.integer):
        raise ValueError(
            f"rows: got {rows.dtype} of shape {rows.shape}, expected integers (k,), k >= 1, the "
            "indices of the rows; of a mask take np.flatnonzero(mask)"
        )
    if concrete(rows):
        values, times = np.unique(np.asarray(rows), return_counts=True)
        if np.any(times > 1):
            raise ValueError(f"rows: index {values[times > 1][0]} is given twice; give each once")
    return jnp.asarray(rows)


def require_rows(rows: Int[Array, " k"], data: Data) -> None:
    """ValueError unless the data have rows of these indices."""
    if not concrete(rows):
        return
    wrong = [int(i) for i in np.asarray(rows) if not 0 <= i < data.rows]
    if wrong:
        raise ValueError(
            f"rows: got the index {wrong[0]}, expected 0 to {data.rows - 1}, those of "
            f"{data.rows} training rows"
        )
