"""A bilevel problem whose two objectives are means over rows of data."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._bilevel import Bilevel
from .._solver import AbstractSolver
from ..problems import Smooth

Mean = Callable[[PyTree, PyTree, PyTree], Float[Array, ""]]


def _arrays(data: PyTree) -> PyTree:
    return jax.tree.map(jnp.asarray, data)


class StochasticBilevel(eqx.Module):
    """min_z F(z, w*(z)) with w*(z) = argmin_w G(z, w), where F and G are means over rows.

    - `inner(z, w, rows) -> scalar`: G on some of the rows: their mean loss, plus terms that do not
      depend on rows (a penalty). Strongly convex in w, twice differentiable.
    - `outer(z, w, rows) -> scalar`: F on some of the rows of `outer_data`.
    - `inner_data`, `outer_data`: pytrees of arrays with a common leading axis, one entry per row.
    - `inner_batch`, `outer_batch`: rows in a mini-batch; by default all rows, without randomness.

    z and w are pytrees of floating arrays. Both functions must be means: with sums, the size of a
    mini-batch would change the objective. Raises `ValueError` for data without rows or a common
    leading axis, and for batch sizes out of range.
    """

    inner: Mean
    outer: Mean
    inner_data: PyTree = eqx.field(converter=_arrays)
    outer_data: PyTree = eqx.field(converter=_arrays)
    inner_batch: int | None = None
    outer_batch: int | None = None

    def __check_init__(self):
        for level in ("inner", "outer"):
            rows = _rows(f"{level}_data", getattr(self, f"{level}_data"))
            batch = getattr(self, f"{level}_batch")
            if batch is not None and not 1 <= batch <= rows:
                raise ValueError(
                    f"{level}_batch: got {batch}, expected 1 to {rows}, the rows of {level}_data; "
                    "None is all of them"
                )

    def exact(self, solver: AbstractSolver, start: PyTree) -> Bilevel:
        """The same problem on all rows, with an exact inner minimiser, for `certify` and to
        evaluate stochastic runs.

        - `solver`: of `Smooth` problems.
        - `start`: the start of a cold solve, of the shapes of w.
        """

        def objective(w, args):
            return self.inner(args[0], w, args[1])

        return Bilevel(
            inner_problem=lambda z: Smooth(objective, start, (z, self.inner_data)),
            outer_objective=lambda z, w: self.outer(z, w, self.outer_data),
            solver=solver,
        )


def _rows(name: str, data: PyTree) -> int:
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(data)]
    if not shapes or any(shape[:1] != shapes[0][:1] or not shape for shape in shapes):
        raise ValueError(
            f"{name}: got leaves of shapes {shapes}, expected arrays that share their leading "
            "axis, one entry per row"
        )
    if shapes[0][0] == 0:
        raise ValueError(f"{name}: has no rows, expected at least one")
    return shapes[0][0]
