"""FISTA on columns in any units: the same solution in about as many steps."""

import jax.numpy as jnp
import numpy as np
import pytest

from bilevel import argmin
from bilevel.penalties import L1, Box, ElasticNet, NonNegative
from bilevel.problems.composite import Composite
from bilevel.results import CONVERGED
from bilevel.solvers import FISTA

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 6)), RNG.normal(size=20)
UNITS = 10.0 ** np.array([-4, 3, 0, -2, 4, 1])  # of each column
PENALTIES = {
    "l1": lambda unit: L1(jnp.asarray(2 * unit)),
    "elastic net": lambda unit: ElasticNet(jnp.asarray(2 * unit), jnp.asarray(unit**2)),
    "non-negative": lambda unit: NonNegative(jnp.asarray(0 * unit)),
    "box": lambda unit: Box(jnp.asarray(-0.1 / unit), jnp.asarray(0.05 / unit)),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_units_of_columns_change_neither_the_solution_nor_the_steps(name):
    def solved(unit):
        problem = Composite(
            lambda w, x: 0.5 * jnp.sum((x @ w - Y) ** 2),
            PENALTIES[name](unit), jnp.zeros(6), jnp.asarray(X * unit),
        )  # fmt: skip
        return argmin(problem, solver=FISTA(max_steps=500), throw=False)

    plain, mixed = solved(np.ones(6)), solved(UNITS)
    assert int(plain.result) == int(mixed.result) == CONVERGED
    np.testing.assert_allclose(mixed.value * UNITS, plain.value, rtol=1e-9, atol=1e-12)
    assert int(mixed.stats["steps"]) <= 2 * int(plain.stats["steps"])
    assert 0 < np.sum(plain.value != 0) < 6 or name == "box"
