"""Differences of fourth order, central ones as a rule: the judge of every derivative here."""

import jax
import numpy as np


def slope(function, at, direction, step=1e-4):
    """Derivative of a scalar function along a direction, over pytrees."""

    def moved(t):
        return float(function(jax.tree.map(lambda a, d: a + t * d, at, direction)))

    near, far = moved(step) - moved(-step), moved(2 * step) - moved(-2 * step)
    return (8 * near - far) / (12 * step)


def slope_ahead(function, at, direction, step=1e-4):
    """The same from values ahead alone, where the function ends at `at`: a weight of zero."""

    def moved(t):
        return float(function(jax.tree.map(lambda a, d: a + t * d, at, direction)))

    values = [moved(i * step) for i in range(5)]
    return np.dot([-25, 48, -36, 16, -3], values) / (12 * step)


def direction(like, seed):
    """A random direction of the structure of `like`, of unit size in each leaf."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        d = rng.normal(size=np.shape(leaf))
        return jax.numpy.asarray(d / np.sqrt(np.sum(d * d)))

    return jax.tree.map(draw, like)
