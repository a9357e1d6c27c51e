"""Samples of the rounding error of a gradient: arrays and sums perturbed in the last digit."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PyTree

from ._data import Data
from ._interpret import interpret

PERIOD = 1 << 16
"""Length of the random sequence of a noise; arrays with more entries repeat it."""


class Noise:
    """Random factors, 1 - size or 1 + size, from a hash of the seed.

    All uses read the same sequence, each from another offset, so that a use costs one slice.
    """

    def __init__(self, seed: Array, size: Array):
        position = jax.lax.iota(jnp.uint32, 2 * PERIOD)
        h = (position + seed * jnp.uint32(0x9E3779B1)) * jnp.uint32(0x85EBCA77)
        h = (h ^ (h >> 15)) * jnp.uint32(0xC2B2AE3D)
        signed = jnp.where((h >> 16) & 1 == 1, size, -size)
        self.factors = {1: 1 + signed, -1: 1 - signed}  # once: a program has hundreds of uses
        self.uses = 0

    def __call__(self, a: ArrayLike, shape: tuple[int, ...], sign: int = 1) -> Array:
        """`a`, broadcast to `shape`, with every entry multiplied by a factor."""
        self.uses += 1
        place = self.uses * 25173 % PERIOD  # this stride visits all offsets before it repeats one
        count = math.prod(shape)
        factors = self.factors[sign][place : place + min(count, PERIOD)]
        factors = factors.reshape(shape) if count <= PERIOD else jnp.resize(factors, shape)
        return factors.astype(jnp.result_type(a)) * a

    def arrays(self, tree: PyTree) -> PyTree:
        """The tree, with every entry of its floating arrays multiplied by a factor. Labels of
        `Data` that are whole numbers stay: a class is compared, not computed with.
        """

        def noisy(leaf):
            return self(leaf, leaf.shape) if eqx.is_inexact_array(leaf) else leaf

        def part(node):
            perturbed = jax.tree.map(noisy, node)
            if not isinstance(node, Data) or not eqx.is_inexact_array(node.y):
                return perturbed
            classes = jnp.all(node.y == jnp.round(node.y))
            labels = jnp.where(classes, node.y, perturbed.y)
            return eqx.tree_at(lambda data: data.y, perturbed, labels)

        return jax.tree.map(part, tree, is_leaf=lambda node: isinstance(node, Data))


SUMS = frozenset(
    ("add", "sub", "add_any", "reduce_sum", "cumsum", "scatter-add", "dot_general",
     "conv_general_dilated")
)  # fmt: skip
"""Names of the JAX primitives that add."""


def rounded(function: Callable[[PyTree], PyTree], at: PyTree, noise: Noise) -> PyTree:
    """`function(at)`, with the terms of every sum multiplied by random factors, drawn for each use.

    This is Monte Carlo arithmetic (Parker 1997), for sums only. A product is exact to its last
    digit; a sum whose terms cancel amplifies the error, and terms can cancel anywhere: in an
    objective, a learner, a kernel, or between two terms of a derivative. The linear solve is not
    perturbed, because its residual is known. Loops (`scan`, `while`, `cond`) in an objective are
    not perturbed either: the rounding inside them is not sampled.
    """

    def noisy(name, terms):
        if name in ("add", "sub"):
            # One draw for every entry of the result, because each rounds independently. Opposite
            # signs on the two sides, so that the error of terms that cancel is visible.
            shape = jnp.broadcast_shapes(*map(jnp.shape, terms))
            draw = noise.uses
            terms[0] = noise(terms[0], shape)
            noise.uses = draw
            terms[1] = noise(terms[1], shape, -1)
            return terms
        # Perturb the larger factor of a product: of a matrix and a vector the matrix, whose
        # entries round independently.
        which = 2 if name == "scatter-add" else 0
        if name == "dot_general" and jnp.size(terms[1]) > jnp.size(terms[0]):
            which = 1
        terms[which] = noise(terms[which], jnp.shape(terms[which]))
        return terms

    def rule(name, inputs):
        return noisy(name, inputs) if name in SUMS and _rounds(inputs[0]) else inputs

    return interpret(function, rule)(at)


def _rounds(a) -> bool:
    return jnp.issubdtype(jnp.result_type(a), jnp.inexact)
