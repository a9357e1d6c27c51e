"""Differences of fourth order, central ones as a rule: the judge of every derivative here."""

import jax
import numpy as np


def moved(at, direction, t):
    """The point on the way, added in NumPy: JAX compiles a program for each shape."""

    def leaf(a, d):
        return jax.device_put(np.asarray(a) + t * np.asarray(d))

    return jax.tree.map(leaf, at, direction)


def slope(function, at, direction, step=1e-4):
    """Derivative of a scalar function along a direction, over pytrees."""

    def value(t):
        return float(function(moved(at, direction, t)))

    near, far = value(step) - value(-step), value(2 * step) - value(-2 * step)
    return (8 * near - far) / (12 * step)


def slope_ahead(function, at, direction, step=1e-4):
    """The same from values ahead alone, where the function ends at `at`: a weight of zero."""
    values = [float(function(moved(at, direction, i * step))) for i in range(5)]
    return np.dot([-25, 48, -36, 16, -3], values) / (12 * step)


def direction(like, seed):
    """A random direction of the structure of `like`, of unit size in each leaf."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        d = rng.normal(size=np.shape(leaf))
        return jax.device_put(np.asarray(d / np.sqrt(np.sum(d * d))))

    return jax.tree.map(draw, like)
