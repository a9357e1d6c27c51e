"""Measures of transfer between learners (Demontis et al., USENIX Security 2019).

An attacker without knowledge of the target trains a surrogate on other rows and attacks it. Three
measures predict the damage to the target: the alignment R of the two hypergradients, the size S of
the target's hypergradient, and the variability V of the surrogate's objective over training sets.
All are functions of composed attacks and support jit and vmap.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Real

import bilevel
from bilevel.learners import AbstractModel
from bilevel.tools import checked

from ._compose import Attack


class Sizes(eqx.Module):
    """Norms of a gradient: of each poison row (m,), and of all rows as one vector ()."""

    rows: Float[Array, " m"]
    joint: Float[Array, ""]


class Alignment(eqx.Module):
    """Cosines of two gradients: of each poison row (m,), and of all rows as one vector ().

    The cosine of a gradient that is exactly zero is NaN, for example of poison that is no support
    vector.
    """

    rows: Float[Array, " m"]
    joint: Float[Array, ""]

    @property
    def mean(self) -> Float[Array, "..."]:
        """Mean over the rows whose cosine is not NaN; NaN if there are none."""
        return jnp.nanmean(self.rows, axis=-1)


def _as_rows(gradient: PyTree) -> Float[Array, "m k"]:
    """One row per poison row: features, then targets."""
    leaves = jax.tree.leaves(gradient)
    if len({leaf.shape[:1] for leaf in leaves}) != 1 or leaves[0].ndim == 0:
        raise ValueError(
            f"gradient: got leaves of shapes {[leaf.shape for leaf in leaves]}, expected one row "
            "per poison row in each; use an attack that inserts or perturbs rows"
        )
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)


def sizes(gradient: PyTree, order: float = 2) -> Sizes:
    """Norms of a gradient with respect to the poison.

    - `gradient`: a pytree whose leaves have one row per poison row; otherwise ValueError.
    - `order`: of the norm, >= 1.
    """
    rows = _as_rows(gradient)
    return Sizes(jnp.linalg.norm(rows, order, axis=1), jnp.linalg.norm(rows.reshape(-1), order))


def alignment(gradient: PyTree, other: PyTree) -> Alignment:
    """Cosines of two gradients with respect to the same poison. ValueError for other shapes."""
    a, b = _as_rows(gradient), _as_rows(other)
    if a.shape != b.shape:
        raise ValueError(
            f"other: got {b.shape} (poison rows, features), expected {a.shape}, the shape of the "
            "first gradient; both attacks must have the same reach"
        )
    products = jnp.sum(a * b, axis=1)
    lengths = jnp.sqrt(jnp.sum(a * a, axis=1)), jnp.sqrt(jnp.sum(b * b, axis=1))
    joint = jnp.sqrt(jnp.sum(lengths[0] ** 2)) * jnp.sqrt(jnp.sum(lengths[1] ** 2))
    return Alignment(
        _quotient(products, lengths[0] * lengths[1]), _quotient(jnp.sum(products), joint)
    )


def _quotient(a: Array, b: Array) -> Array:
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), jnp.nan)


def gradient_alignment(surrogate: Attack, target: Attack, z: PyTree) -> Alignment:
    """R at the poison z: cosines of the hypergradients of two attacks with the same capability.

    - `surrogate`, `target`: the attacks; learners, training rows and goals may differ.
    - `z`: the poison. The paper expands the target's loss at the start of the poison: to predict
      the damage, use the start.
    """
    return alignment(jax.grad(surrogate)(z), jax.grad(target)(z))


def gradient_size(attack: Attack, z: PyTree, order: float = 2) -> Sizes:
    """S of poisoning: norms of the hypergradient of `attack` at the poison z.

    - `order`: of the norm dual to the one that bounds the attacker (2 for 2, 1 for infinity).
    """
    return sizes(jax.grad(attack)(z), order)


def input_gradient_size(
    model: AbstractModel,
    x: Float[Array, "n d"],
    y: Real[Array, " n"],
    loss: Callable[[Array, Array], Array],
    order: float = 2,
) -> Float[Array, " n"]:
    """S of evasion: for each row, the norm of the derivative of its loss in x, (n,).

    - `model`, `x` (n, d), `y` (n,), `loss(y, f) -> (n,)`: the loss is that of decisions f(x).
    - `order`: of the norm, as in `gradient_size`.
    """

    def total(x):
        return jnp.sum(loss(y, model.decision(x)))

    return jnp.linalg.norm(jax.grad(total)(x), order, axis=1)


def loss_variability(attack: Attack, z: PyTree, weights: Float[Array, "k n"]) -> Float[Array, ""]:
    """V at the poison z: variance of the attack's value over k training sets, divided by k.

    - `attack`: of the surrogate. `z`: the poison.
    - `weights` (k, n): training sets as weights of the attack's clean rows; otherwise ValueError. 0
      leaves a row out; counts of rows drawn with replacement are bootstrap samples.

    Raises `SolveError` if one of the trainings failed.

    If V is small, the objective is close to that of a surrogate trained on the target's rows.
    """
    rows = attack.data.rows
    if weights.ndim != 2 or weights.shape[1] != rows:
        raise ValueError(
            f"weights: got shape {weights.shape}, expected (training sets, {rows}), a weight per "
            "clean row of the attack in each"
        )

    def value(weight):
        drawn = eqx.tree_at(lambda attack: attack.data.weight, attack, weight)
        value, (_, info) = drawn.prepared().evaluate(z)
        return value, info.result

    values, codes = bilevel.batch(value)(weights.astype(attack.data.weight.dtype))
    return jnp.var(checked(values, codes))
