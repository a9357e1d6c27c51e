"""Compiled programs that are found again: by structure, shapes and settings, not by identity."""

import functools
import types
from collections.abc import Callable, Hashable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

NEEDS_VALUES = (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)
"""What a function raises that looks at the values of the arrays it closes over."""


class _Code:
    """What a Python function is apart from the values that it closes over."""

    def __init__(self, function: types.FunctionType):
        self.code, self.globals, self.name = (
            function.__code__,
            function.__globals__,
            function.__name__,
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Code) and self.code == other.code and self.globals is other.globals
        )

    def __hash__(self) -> int:
        return hash(self.code)


class _Function(eqx.Module):
    """A Python function as a pytree: the arrays that it closes over are leaves."""

    cells: tuple[PyTree, ...]
    defaults: PyTree
    keywords: PyTree
    code: _Code = eqx.field(static=True)

    def function(self) -> types.FunctionType:
        cells, defaults, keywords = closed((self.cells, self.defaults, self.keywords))
        function = types.FunctionType(
            self.code.code,
            self.code.globals,
            self.code.name,
            defaults,
            tuple(types.CellType(cell) for cell in cells),
        )
        function.__kwdefaults__ = keywords
        return function


def opened(tree: PyTree, above: tuple[int, ...] = ()) -> PyTree:
    """The tree with its Python functions made pytrees of what they close over."""

    def open_(leaf: Any) -> Any:
        if not isinstance(leaf, types.FunctionType) or id(leaf) in above:
            return leaf
        try:
            cells = tuple(cell.cell_contents for cell in leaf.__closure__ or ())
        except ValueError:  # an empty cell
            return leaf
        parts = cells, leaf.__defaults__, leaf.__kwdefaults__
        parts = opened(parts, (*above, id(leaf)))
        if not all(map(_sorted, jax.tree.leaves(parts))):
            return leaf
        return _Function(*parts, _Code(leaf))

    return jax.tree.map(open_, tree)


def _sorted(leaf: Any) -> bool:
    """Whether jit can take the leaf, as an array or as a setting."""
    return eqx.is_array_like(leaf) or isinstance(leaf, Hashable)


def closed(tree: PyTree) -> PyTree:
    """The inverse of `opened`."""

    def whole(node: Any) -> bool:
        return isinstance(node, _Function)

    return jax.tree.map(lambda n: n.function() if whole(n) else n, tree, is_leaf=whole)


def program(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(*args)` under `jit`, compiled once per structure, shapes and settings of `args`.

    `jax.jit` tells functions apart by identity, so that a lambda or an optax optimiser made anew
    compiles anew. Here functions with the same code that close over equal settings and arrays of
    equal shapes are one.
    """

    @eqx.filter_jit
    def compiled(args: PyTree) -> Any:
        return function(*closed(args))

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        try:
            return compiled(opened(args))
        except NEEDS_VALUES:
            return compiled(args)

    return run
