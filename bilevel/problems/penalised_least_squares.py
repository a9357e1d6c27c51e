"""Least squares with a penalty of one kink per coordinate: the LASSO and its relatives."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..penalties import AbstractKink
from ._problem import AbstractProblem


class PenalisedLeastSquares(AbstractProblem):
    """min_w 1/2 sum_i weights_i (rows_i'w - targets_i)^2 + penalty(w).

    - `rows` (n, d), `targets` (n,).
    - `penalty`: `L1` (the LASSO), `ElasticNet` or `NonNegative`, from `bilevel.penalties`.
    - `weights` (n,): >= 0; by default 1/n each. The loss is then half the mean square, as in
      scikit-learn.

    A column of ones with strength zero is an intercept. Raises `ValueError` for shapes that do not
    match and for other penalties.
    """

    rows: Float[Array, "n d"]
    targets: Float[Array, " n"]
    penalty: AbstractKink
    weights: Float[Array, " n"] | None = None

    def __check_init__(self):
        shape = jnp.shape(self.rows)
        if len(shape) != 2 or jnp.shape(self.targets) != shape[:1]:
            raise ValueError(
                f"rows: got shape {shape} with targets {jnp.shape(self.targets)}; expected (n, d) "
                "and (n,)"
            )
        if self.weights is not None and jnp.shape(self.weights) != shape[:1]:
            raise ValueError(
                f"weights: got shape {jnp.shape(self.weights)}, expected {shape[:1]}, one for "
                "each row"
            )
        if not isinstance(self.penalty, AbstractKink):
            raise ValueError(
                f"penalty: got {type(self.penalty).__name__}, expected L1, ElasticNet or "
                "NonNegative; for other penalties use `Composite` with the squares as its loss"
            )
