"""Functions evaluated operation by operation, with a rule of one's own for some of them."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Literal
from jaxtyping import Array, PyTree

Rule = Callable[[str, list[Any]], list[Any] | Array]
"""From the name of a primitive and its inputs to other inputs (a list), or to its result."""


def interpret(function: Callable[..., PyTree], rule: Rule) -> Callable[..., PyTree]:
    """`function(*args)`, in which `rule` is asked before each operation. Loops and branches
    (`scan`, `while`, `cond`) are one operation.
    """

    def run(*args: PyTree) -> PyTree:
        leaves, structure = jax.tree.flatten(args)
        closed, shape = jax.make_jaxpr(
            lambda *leaves: function(*jax.tree.unflatten(structure, leaves)), return_shape=True
        )(*leaves)
        return jax.tree.unflatten(jax.tree.structure(shape), _evaluate(closed, leaves, rule))

    return run


def _evaluate(closed: ClosedJaxpr, arguments: Sequence[Any], rule: Rule) -> list[Any]:
    jaxpr = closed.jaxpr
    known = (*jaxpr.constvars, *jaxpr.invars)
    values = dict(zip(known, (*closed.consts, *arguments), strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        primitive, inputs = equation.primitive, [read(atom) for atom in equation.invars]
        if primitive.name == "jit":
            out = _evaluate(equation.params["jaxpr"], inputs, rule)
        else:
            ruled = rule(primitive.name, inputs)
            if isinstance(ruled, list):
                out = primitive.bind(*ruled, **primitive.get_bind_params(equation.params))
                out = out if primitive.multiple_results else [out]
            else:
                out = [ruled]
        values.update(zip(equation.outvars, out, strict=True))
    return [read(atom) for atom in jaxpr.outvars]
