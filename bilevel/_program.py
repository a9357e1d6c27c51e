"""Compiled programs, cached by structure, shapes and settings rather than by identity."""

import contextlib
import functools
import os
import types
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import equinox as eqx
import jax
from equinox.internal import Static
from jax.extend import core as extend
from jaxtyping import PyTree

from . import results
from ._solution import SolveError
from ._tree import concrete


class ReadsValuesError(ValueError):
    """A function given to the package reads the values of arrays that are traced."""


NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    ReadsValuesError,
)
"""Errors of a function that reads the values of its arguments, or of arrays it closes over."""


@functools.cache
def _names(code: types.CodeType) -> frozenset[str]:
    """What may be globals that the code reads, or code inside it."""
    inside = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return frozenset(code.co_names).union(*map(_names, inside))


def _read(function: types.FunctionType) -> dict[str, Any]:
    """The globals that a function reads, and those that functions of its module read for it."""
    found: dict[str, Any] = {}
    module, todo = function.__globals__, [function]
    while todo:
        for name in _names(todo.pop().__code__) & (module.keys() - found.keys()):
            found[name] = value = module[name]
            if isinstance(value, types.FunctionType) and value.__globals__ is module:
                todo.append(value)
    return found


class _Code:
    """A Python function without the values that it closes over. Globals are part of it: two of a
    notebook whose cell was run again on other data, or in a loop of a script, are not the same.
    """

    def __init__(self, function: types.FunctionType):
        self.code, self.globals, self.name, self.read = (
            function.__code__,
            function.__globals__,
            function.__name__,
            _read(function),
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Code)
            and self.code == other.code
            and self.globals is other.globals
            and self.read.keys() == other.read.keys()
            and all(value is other.read[name] for name, value in self.read.items())
        )

    def __hash__(self) -> int:
        return hash(self.code)


class _Function(eqx.Module):
    """A Python function as a pytree; the arrays that it closes over are leaves."""

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
    """The tree, with its Python functions as pytrees of the values that they close over."""

    def open_(leaf: Any) -> Any:
        if isinstance(leaf, functools.partial):
            leaf = jax.tree_util.Partial(leaf.func, *leaf.args, **leaf.keywords)
            return opened(leaf, above)
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
        return _Function(*parts, _Code(leaf))  # pyright: ignore[reportCallIssue]

    return jax.tree.map(open_, tree)


def _sorted(leaf: Any) -> bool:
    """Whether jit accepts the leaf, as an array or as a setting."""
    return eqx.is_array_like(leaf) or isinstance(leaf, Hashable)


def closed(tree: PyTree) -> PyTree:
    """The inverse of `opened`."""

    def whole(node: Any) -> bool:
        return isinstance(node, _Function)

    return jax.tree.map(lambda n: n.function() if whole(n) else n, tree, is_leaf=whole)


class _Setting:
    """A tree of everything but arrays, hashed by structure and values."""

    def __init__(self, tree: PyTree):
        self.leaves, self.structure = jax.tree.flatten(tree)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Setting)
            and self.structure == other.structure
            and self.leaves == other.leaves
        )

    def __hash__(self) -> int:
        return hash((self.structure, *self.leaves))

    def tree(self) -> PyTree:
        return jax.tree.unflatten(self.structure, self.leaves)


def tracing() -> bool:
    """Whether a program is being traced. JAX accepts no compiler options then."""
    return extend.unsafe_am_i_under_a_jit_DO_NOT_USE()  # pyright: ignore[reportPrivateImportUsage]


@functools.cache
def compiler_options(effort: int) -> dict[str, bool | int | str]:
    """Options that speed up XLA's compilation for CPUs, as far as the installed version has them.

    Effort 1 takes half the default's time, for code that is as fast. Effort 0 takes a sixth, for
    code that runs twice as long.
    """
    if jax.default_backend() != "cpu":
        return {}
    wanted = {
        "xla_cpu_use_fusion_emitters": False,
        "xla_backend_optimization_level": effort,
        "xla_cpu_parallel_codegen_split_count": 1,
    }

    def known(name: str) -> bool:
        lowered = jax.jit(lambda: 0).lower()
        try:
            lowered.compile({name: wanted[name]})
        except jax.errors.JaxRuntimeError:
            return False
        return True

    # Whoever sets an option for the whole process means it.
    chosen = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in wanted.items() if name not in chosen and known(name)}


@contextlib.contextmanager
def solve_errors() -> Iterator[None]:
    """`SolveError` with its sentence for a solve that fails inside a function of the user's, with
    `throw=True`: JAX reports it as a failed callback.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        for sentence in results.SENTENCES.values():
            if sentence in str(error):
                raise SolveError(sentence) from None
        raise


def compiled(function: Callable[..., Any], effort: int = 1) -> Callable[..., Any]:
    """`function(*args)` under `jit` with `compiler_options(effort)`. Arrays are traced; the other
    arguments are settings, compared by structure and value. `lower(*args)` is that of `jit`.
    """

    def call(arrays: PyTree, setting: _Setting) -> Any:
        out = function(*eqx.combine(arrays, setting.tree()))
        out, rest = eqx.partition(out, eqx.is_array)
        return out, Static(rest)

    inside = jax.jit(call, static_argnums=1)

    @functools.cache
    def alone() -> jax.stages.Wrapped:
        return jax.jit(call, static_argnums=1, compiler_options=compiler_options(effort) or None)

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        arrays, rest = eqx.partition(args, eqx.is_array)
        traced = tracing() or not all(map(concrete, jax.tree.leaves(arrays)))
        if traced:
            out, rest = inside(arrays, _Setting(rest))
        else:
            with solve_errors():
                out, rest = alone()(arrays, _Setting(rest))
        return eqx.combine(out, rest.value)

    def lower(*args: Any) -> jax.stages.Lowered:
        arrays, rest = eqx.partition(args, eqx.is_array)
        return alone().lower(arrays, _Setting(rest))

    run.lower = lower  # pyright: ignore[reportAttributeAccessIssue]
    return run


def program(function: Callable[..., Any], effort: int = 1) -> Callable[..., Any]:
    """`function(*args)`, compiled once per structure, shapes and settings of `args`.

    `jax.jit` compares functions by identity: a new lambda or a new optax optimiser compiles again.
    Here functions are equal if they have the same code, close over equal settings and arrays of
    equal shapes, and read the same objects as globals of their module.

    - `function`: of pytrees, to a pytree. It must not depend on values of Python objects that it
      mutates.
    - `effort`: of the compiler, 0 or 1, see `compiler_options`; 0 for programs that rarely run
      twice.

    `lower(*args)`, a member of the result, is that of `jit`; what is compiled from it is what a
    call runs.
    """

    @functools.wraps(function)
    def on_closed(*args: Any) -> Any:
        return function(*closed(args))

    run_on = compiled(on_closed, effort)

    def attempted(call: Callable[..., Any], args: tuple) -> Any:
        try:
            return call(*opened(args))
        except NEEDS_VALUES:
            pass
        try:
            return call(*args)
        except NEEDS_VALUES as error:
            raise ReadsValuesError(
                "a function given to bilevel (an objective, a loss, a map) reads the numbers of "
                "its arguments, by NumPy, float() or if; write it with jax.numpy, and choices with "
                f"jnp.where. JAX says: {str(error).splitlines()[0]}"
            ) from error

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        return attempted(run_on, args)

    def lower(*args: Any) -> jax.stages.Lowered:
        return attempted(run_on.lower, args)  # pyright: ignore[reportFunctionMemberAccess]

    run.lower = lower  # pyright: ignore[reportAttributeAccessIssue]
    return run
