"""Rounding of a gradient, sampled: every array and every sum moved by its last digit."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend.core import Literal
from jaxtyping import Array, PyTree

Ends = tuple[Array, Array]
"""Two numbers about 1 with which terms are multiplied, each by one or the other."""


def noisy(tree: PyTree, about: Ends, seed: Array) -> PyTree:
    """The tree with every entry of its floating arrays times one or the other of `about`."""
    arrays, rest = eqx.partition(tree, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(arrays)
    leaves = [shaken(leaf, about, seed + i, leaf.shape) for i, leaf in enumerate(leaves)]
    return eqx.combine(jax.tree.unflatten(structure, leaves), rest)


SUMS = frozenset(
    ("add", "sub", "add_any", "reduce_sum", "cumsum", "scatter-add", "dot_general",
     "conv_general_dilated")
)  # fmt: skip
"""What adds, by JAX's names."""


def rounded(function: Callable[[PyTree], PyTree], at: PyTree, about: Ends, seed: Array) -> PyTree:
    """`function(at)` with the terms of every sum multiplied by one or the other of two numbers
    `about` 1, each use of a term by its own draw.

    This is Monte Carlo arithmetic (Parker 1997) where it matters. A product is right to its last
    digit; only a sum whose terms cancel makes more of that, and terms may cancel anywhere: in an
    objective, a learner, a kernel, or between the two ends of a derivative. The linear solve stays
    as it is, for its residual is known; so does the inside of loops (`scan`, `while`, `cond`) in an
    objective, whose own rounding is not seen.
    """
    leaves, structure = jax.tree.flatten(at)
    closed, shape = jax.make_jaxpr(
        lambda *leaves: function(jax.tree.unflatten(structure, leaves)), return_shape=True
    )(*leaves)
    sums = 0

    def noisy(name, terms):
        nonlocal sums
        sums += 1
        terms, draw = list(terms), seed + sums
        if name in ("add", "sub"):
            # A draw for every entry of the result, as each rounds on its own, and opposite signs
            # on the two sides, so that terms which cancel show it.
            shape = jnp.broadcast_shapes(*map(jnp.shape, terms))
            low, high = about
            terms[1] = shaken(terms[1], (high, low), draw, shape)
            terms[0] = shaken(terms[0], about, draw, shape)
            return terms
        # Of a product one factor, the larger: of a matrix and a vector the matrix, whose entries
        # round each on its own.
        which = 2 if name == "scatter-add" else 0
        if name == "dot_general" and jnp.size(terms[1]) > jnp.size(terms[0]):
            which = 1
        terms[which] = shaken(terms[which], about, draw, jnp.shape(terms[which]))
        return terms

    def evaluate(jaxpr, consts, arguments):
        values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True))

        def read(atom):
            return atom.val if isinstance(atom, Literal) else values[atom]

        for equation in jaxpr.eqns:
            primitive, inputs = equation.primitive, [read(atom) for atom in equation.invars]
            if primitive.name == "jit":
                inner = equation.params["jaxpr"]
                out = evaluate(inner.jaxpr, inner.consts, inputs)
            else:
                if primitive.name in SUMS and _rounds(inputs[0]):
                    inputs = noisy(primitive.name, inputs)
                out = primitive.bind(*inputs, **primitive.get_bind_params(equation.params))
                out = out if primitive.multiple_results else [out]
            values.update(zip(equation.outvars, out, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    out = evaluate(closed.jaxpr, closed.consts, leaves)
    return jax.tree.unflatten(jax.tree.structure(shape), out)


def _rounds(a) -> bool:
    return jnp.issubdtype(jnp.result_type(a), jnp.inexact)


def shaken(a: Array, about: Ends, seed: Array, shape: tuple[int, ...]) -> Array:
    """`a`, broadcast to `shape`, with every entry times one or the other of two numbers `about` 1,
    by an integer hash of its position: as random as needed, cheap to compile, no sum in it.
    """
    position = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    h = (position + seed * jnp.uint32(0x9E3779B1)) * jnp.uint32(0x85EBCA77)
    h = (h ^ (h >> 15)) * jnp.uint32(0xC2B2AE3D)
    return a * jnp.where((h >> 16) & 1 == 1, *about).astype(jnp.result_type(a))
