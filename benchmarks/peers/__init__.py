"""Other libraries on the same inner problems, one file each: at default and at best settings.

A peer lists methods for `Dual`, `Training` and `Sparse` problems. A method solves one,
differentiably in every array of it, and says whether its library calls the result converged (None:
it does not say). Libraries are imported when their methods are asked for, so that each may be
missing.
"""

import importlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class MissingPeer(ImportError):
    """A library to compare with is not installed; the message says how to get it."""


class Dual(NamedTuple):
    """min_a 1/2 a'Qa - 1'a  subject to  0 <= a <= C  and  labels'a = 0."""

    Q: Float[Array, "n n"]
    labels: Float[Array, " n"]
    C: Float[Array, ""]


class Training(NamedTuple):
    """Arrays of a logistic regression. Features come first: at least as fast for every tool."""

    columns: Float[Array, "d n"]
    labels: Float[Array, " n"]
    weights: Float[Array, " n"]
    log_lam: Float[Array, ""]


class Sparse(NamedTuple):
    """min_w 1/(2n) |rows w - targets|^2 + lam |w|_1."""

    rows: Float[Array, "n d"]
    targets: Float[Array, " n"]
    lam: Float[Array, ""]


class Method(NamedTuple):
    """A solver under its settings: `solve(problem) -> (solution, converged or None)`."""

    setting: str
    solve: Callable[[Any], tuple[Array, Array | None]]


def load(name: str) -> Any:
    """Import a peer, without the warning that some of them raise."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(name)
    except ImportError as error:
        raise MissingPeer(
            f"{name} cannot be imported ({error}): install it with `pip install .[peers]`"
        ) from error


def loss(w: Float[Array, " d"], problem: Training) -> Float[Array, ""]:
    """What logistic regression minimises."""
    margins = problem.labels * (w @ problem.columns)
    fit = jnp.mean(problem.weights * jax.nn.softplus(-margins))
    return fit + jnp.exp(problem.log_lam) / 2 * jnp.sum(w * w)


def hessian(w: Float[Array, " d"], problem: Training, dtype: Any = None) -> Float[Array, "d d"]:
    """Second derivative of `loss`; the matrix product is taken in `dtype`."""
    margins = problem.labels * (w @ problem.columns)
    bend = problem.weights * jax.nn.sigmoid(margins) * jax.nn.sigmoid(-margins) / margins.size
    columns = problem.columns.astype(dtype or w.dtype)
    product = (columns * bend.astype(columns.dtype)) @ columns.T
    return product.astype(w.dtype) + jnp.exp(problem.log_lam) * jnp.eye(w.size)
