"""Randomness of an objective in a run: fresh draws over a resumed run, and means over keys."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array, PRNGKeyArray

from bilevel import AbstractObjective, Expected, Fresh, Info, SolveError, minimize
from bilevel.results import CONVERGED, MAX_STEPS

KEY = jax.random.key(3)
KEYS = jax.random.split(KEY, 5)


class Shaken(AbstractObjective):
    """|z - draw|^2 with a draw from the key; it fails if the first draw is above `limit`."""

    limit: float = 9.0
    key: PRNGKeyArray | None = None

    def cold(self, z):
        del z
        return None

    def keyed(self, key):
        return Shaken(self.limit, key)

    def draw(self) -> Array:
        return jax.random.normal(KEY if self.key is None else self.key, (3,))

    def evaluate(self, z, warm=None):
        del warm
        draw = self.draw()
        result = jnp.where(draw[0] > self.limit, MAX_STEPS, CONVERGED).astype(jnp.int32)
        return jnp.sum((z - draw) ** 2), (None, Info(result, {}))


def test_a_resumed_run_goes_on_with_the_draws_of_one_long_run():
    options = {"optimizer": optax.sgd(0.1), "draws": Fresh(KEY), "patience": 20}
    start = jnp.ones(3)
    long = minimize(Shaken(), start, steps=6, **options)
    first = minimize(Shaken(), start, steps=3, **options)
    second = minimize(Shaken(), start, steps=3, state=first.state, **options)
    np.testing.assert_allclose(
        np.concatenate([first.history, second.history]), long.history, rtol=1e-12
    )
    draws = [np.asarray(jax.random.normal(jax.random.fold_in(KEY, t), (3,))) for t in range(6)]
    z = np.ones(3)
    for t, draw in enumerate(draws):
        np.testing.assert_allclose(long.history[t], np.sum((z - draw) ** 2), rtol=1e-12)
        z = z - 0.1 * 2 * (z - draw)


def test_the_expectation_is_the_mean_over_the_keys():
    draws = np.stack([jax.random.normal(key, (3,)) for key in KEYS])
    value, (_, info) = Expected(Shaken(), KEYS).evaluate(jnp.ones(3))
    np.testing.assert_allclose(value, np.mean(np.sum((1 - draws) ** 2, axis=1)), rtol=1e-12)
    assert int(info.result) == CONVERGED


def test_the_expectation_fails_where_one_key_fails():
    first = sorted(float(jax.random.normal(key, (3,))[0]) for key in KEYS)
    limit = 0.5 * (first[-2] + first[-1])  # one of five draws is above it
    shaken = Expected(Shaken(limit), KEYS)
    _, (_, info) = shaken.evaluate(jnp.ones(3))
    assert int(info.result) == MAX_STEPS
    with pytest.raises(SolveError, match=r"^z0: .*could not be solved"):
        minimize(shaken, jnp.ones(3), steps=2)
