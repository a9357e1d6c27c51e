"""Capabilities: what an attacker may change, and inside which set."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bilevel import Data, append
from bilevel._tree import concrete
from bilevel.data import require_finite


class Box(eqx.Module):
    """lower <= x <= upper, per feature or for all of them."""

    lower: Float[Array, "..."]
    upper: Float[Array, "..."]

    def __init__(self, lower, upper):
        self.lower, self.upper = jnp.asarray(lower, float), jnp.asarray(upper, float)
        if concrete(self.lower) and concrete(self.upper):
            low, high = np.broadcast_arrays(np.asarray(self.lower), np.asarray(self.upper))
            for name, bound in (("lower", low), ("upper", high)):
                if np.any(np.isnan(bound)):
                    raise ValueError(f"{name}: got NaN, expected a bound (it may be infinite)")
            if np.any(low > high):
                where = np.argwhere(np.atleast_1d(low > high))[0]
                raise ValueError(f"lower: exceeds upper at feature {where[0]}, the box is empty")

    def project(self, x):
        return jnp.clip(x, self.lower, self.upper)


class AbstractCapability(eqx.Module):
    """The attacker's reach: how a decision variable z enters the training data."""

    keeps_rows: eqx.AbstractClassVar[bool]  # the clean rows stay, in front, unchanged

    @abc.abstractmethod
    def check(self, data: Data) -> None:
        """ValueError with a sentence if this reach does not fit the data."""

    @abc.abstractmethod
    def example(self, data: Data) -> PyTree:
        """Some feasible z, for shapes and checks."""

    @abc.abstractmethod
    def inject(self, z: PyTree, data: Data) -> Data:
        """The poisoned data."""

    @abc.abstractmethod
    def project(self, z: PyTree) -> PyTree:
        """The nearest z that the attacker may choose."""


class Insert(AbstractCapability):
    """Insert rows z (m, d) with given labels (m,) inside a domain, after the clean rows."""

    labels: Float[Array, " m"]
    domain: Box
    keeps_rows = True

    def __init__(self, labels, domain: Box):
        self.labels = jnp.asarray(labels, float)
        self.domain = domain
        if self.labels.ndim != 1 or self.labels.shape[0] == 0:
            raise ValueError(
                f"labels: got shape {self.labels.shape}, expected (m,) with one label per poison "
                "row and m >= 1"
            )
        require_finite(labels=self.labels)

    def check(self, data: Data) -> None:
        width = data.x.shape[1]
        for name in ("lower", "upper"):
            shape = getattr(self.domain, name).shape
            if shape not in ((), (width,)):
                raise ValueError(
                    f"domain.{name}: got shape {shape}, expected () or ({width},), one per feature"
                )

    def example(self, data: Data) -> Array:
        return self.project(jnp.zeros((self.labels.shape[0], data.x.shape[1]), data.x.dtype))

    def inject(self, z: Array, data: Data) -> Data:
        expected = (self.labels.shape[0], data.x.shape[1])
        if z.shape != expected:
            raise ValueError(
                f"z: got shape {z.shape}, expected {expected}: (poison rows, features)"
            )
        if z.dtype != data.x.dtype:
            raise ValueError(f"z: got {z.dtype}, expected {data.x.dtype}, that of the data")
        return append(data, z, self.labels.astype(data.y.dtype))

    def project(self, z: Array) -> Array:
        return self.domain.project(z)

    def check_start(self, z: Array, data: Data) -> Array:
        """The start itself, or ValueError if it is not finite or lies outside the domain."""
        require_finite(z0=z)
        if z.dtype != data.x.dtype:
            raise ValueError(f"z0: got {z.dtype}, expected {data.x.dtype}, that of the data")
        if concrete(z):
            rows, low, high = (np.asarray(a) for a in (z, self.domain.lower, self.domain.upper))
            outside = np.max(np.maximum(low - rows, rows - high))
            if outside > 0:
                raise ValueError(
                    f"z0: lies outside the domain, by {outside:.3g} at most; "
                    "start inside it, or at reach.project(z0)"
                )
        return z


class Reseed(eqx.Module):
    """For `maximize(reseed=...)`: rows whose hypergradient is exactly zero are drawn anew from a
    pool of candidate rows (k, d).
    """

    pool: Float[Array, "k d"]

    def __call__(self, key: PRNGKeyArray, z: Array, gradient: Array) -> Array:
        drawn = jax.random.choice(key, self.pool, (z.shape[0],))
        return jnp.where(jnp.all(gradient == 0, axis=1)[:, None], drawn, z)
