"""Units of rows: how far they spread, and how long a step is."""

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from attacks.capabilities._capability import row_scale, spread, steepest
from bilevel import Data

RNG = np.random.default_rng(0)
X, WEIGHT = RNG.normal(size=(9, 3)), RNG.uniform(0.5, 2, 9)


@pytest.mark.parametrize("unit", [[1.0, 1.0, 1.0], [0.5, 4.0, 2.0], [0.5, 0.0, 2.0]])
def test_a_spread_is_the_root_mean_square_distance_in_units(unit) -> None:
    """A feature without a unit does not count."""
    unit = np.array(unit)
    used = unit > 0
    mean = np.average(X, axis=0, weights=WEIGHT)
    apart = (X - mean)[:, used] / unit[used]
    expected = np.sqrt(np.average(np.sum(apart**2, axis=1), weights=WEIGHT))
    found = spread(jnp.asarray(X), jnp.asarray(WEIGHT), jnp.asarray(unit)[None])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.stand_ins
@pytest.mark.parametrize("size", [0.01, 100.0])
def test_a_scale_is_the_spread_of_the_rows_or_the_size_of_a_smaller_domain(size) -> None:
    """In the largest unit of each feature."""
    units = jnp.array([[0.5, 1.0, 2.0], [1.0, 0.5, 2.0]])
    domain: Any = SimpleNamespace(units=lambda z: units, size=lambda: jnp.asarray(size))
    data = Data(X, np.zeros(9), WEIGHT)
    own = spread(data.x, data.weight, jnp.array([[1.0, 1.0, 2.0]]))
    assert 0.01 < float(own) < 100
    np.testing.assert_allclose(row_scale(domain, jnp.asarray(X[:2]), data), min(size, float(own)))


@pytest.mark.parametrize("weight", [None, np.array([1.0, 0.5, 0.0, 0.0])])
def test_the_steepest_direction_has_length_one_over_the_rows_that_count(weight) -> None:
    """In units of each feature; along the gradient by the square of the unit."""
    gradient, units = RNG.normal(size=(4, 3)), np.array([[0.5, 2.0, 1.0]] * 4)
    counted = 4 if weight is None else 2
    gradient[counted:] = 0
    found = np.asarray(
        steepest(jnp.asarray(gradient), jnp.asarray(units),
                 None if weight is None else jnp.asarray(weight))
    )  # fmt: skip
    along = gradient * units**2
    length = np.sqrt(np.sum((along / units) ** 2) / counted)
    np.testing.assert_allclose(found, along / length, rtol=1e-12)
    zero = steepest(jnp.zeros((4, 3)), jnp.asarray(units))
    np.testing.assert_array_equal(zero, np.zeros((4, 3)))
