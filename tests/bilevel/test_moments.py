"""Sums of products of rows by blocks, against NumPy's."""

import jax
import numpy as np
import pytest

from bilevel.solvers._moments import BLOCK, moments


@pytest.mark.parametrize(("rows", "features"), [(40, 5), (2 * BLOCK, 3), (2 * BLOCK + 7, 130)])
def test_every_row_counts_once(rows, features):
    rng = np.random.default_rng(rows)
    x, last, weight = rng.normal(size=(rows, features)), rng.normal(size=rows), rng.random(rows)
    u = np.column_stack([x, last])
    expected = u.T @ (weight[:, None] * u)
    seen = jax.jit(moments)(x, last, weight)
    np.testing.assert_allclose(seen, expected, rtol=1e-10, atol=1e-9)
