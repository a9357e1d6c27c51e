"""Operations outside of `jit` that move or convert numbers, or compute each by one operation, by
NumPy: JAX compiles a program of 10 to 20 ms for each of them and each shape, and the tests meet
thousands. `jax.numpy`'s functions are such programs too: they are jitted.

What may round in another way (sums, powers, random numbers, two operations in one program) stays
with XLA, and so does all that is traced: a primitive's `impl` is for concrete arrays alone.
"""

import inspect
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal, primitives

PLAIN = ("b", "i", "u", "f")
"""Kinds of dtypes that NumPy knows."""


def of_host(x, weak: bool = False) -> np.ndarray | None:
    """Plain numbers on one device of nobody's choice as NumPy's; None for any other operand."""
    plain = hasattr(x, "shape") and getattr(x.dtype, "kind", None) in PLAIN
    refused = getattr(x, "committed", False) or (not weak and getattr(x, "weak_type", False))
    return np.asarray(x) if plain and not refused else None


def broadcast_in_dim(x, *, shape, broadcast_dimensions):
    at = dict(zip(broadcast_dimensions, x.shape, strict=True))
    return np.broadcast_to(x.reshape([at.get(axis, 1) for axis in range(len(shape))]), shape)


def convert_element_type(x, *, new_dtype, weak_type):
    new = np.dtype(new_dtype)
    # What NaN, and a number that exceeds an integer, become is the compiler's choice.
    kept = x.dtype.kind != "f" or new.kind == "f"
    known = new.kind in PLAIN[1:] or x.dtype == new
    return x.astype(new) if kept and known and not weak_type else None


def slice_(x, *, start_indices, limit_indices, strides=None):
    strides = strides or (1,) * x.ndim
    return x[tuple(map(slice, start_indices, limit_indices, strides))]


def squeeze(x, *, dimensions):
    return np.squeeze(x, tuple(dimensions))


def reshape(x, *, new_sizes):
    return x.reshape(new_sizes)


def transpose(x, *, permutation):
    return np.transpose(x, permutation)


def iota(*, dtype, shape, dimension):
    if np.dtype(dtype).kind not in PLAIN[1:]:
        return None
    line = np.arange(shape[dimension], dtype=dtype)
    return np.broadcast_to(np.expand_dims(line, [a for a in range(len(shape)) if a != dimension]),
                           shape)  # fmt: skip


def concatenate(*parts, dimension):
    return np.concatenate(parts, dimension)


def stack(*parts, axis):
    return np.stack(parts, axis)


def unstack(x, *, axis):
    return tuple(np.moveaxis(x, axis, 0))


def select_n(which, *cases):
    return np.where(which, *cases[::-1]) if which.dtype == bool and len(cases) == 2 else None


def div(x, y):
    """Integers are divided towards zero."""
    return np.divide(x, y) if x.dtype.kind == "f" else None


def integer_pow(x, *, y):
    """Higher powers are several products."""
    return np.square(x) if y == 2 else None


def reduce(by: Callable, x, *, axes):
    """Exact, in whichever order."""
    return by(x, axis=tuple(axes))


def reduce_sum(x, *, axes):
    """Of whole numbers."""
    return None if x.dtype.kind == "f" else np.sum(x, axis=tuple(axes), dtype=x.dtype)


MOVES: dict[str, Callable] = {
    by.__name__.removesuffix("_"): by
    for by in (
        broadcast_in_dim, convert_element_type, slice_, squeeze, reshape, transpose, iota,
        concatenate, stack, unstack, select_n,
    )
} | {"stage": lambda x: x}  # fmt: skip
NUMPYS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "neg": "negative", "abs": "absolute",
    "max": "maximum", "min": "minimum", "eq": "equal", "ne": "not_equal", "lt": "less",
    "le": "less_equal", "gt": "greater", "ge": "greater_equal", "and": "bitwise_and",
    "or": "bitwise_or", "not": "bitwise_not", "square": "square", "sqrt": "sqrt",
    "is_finite": "isfinite",
}  # fmt: skip
REDUCTIONS = {"max": np.max, "min": np.min, "or": np.any, "and": np.all}
COMPUTES: dict[str, Callable] = (
    {name: getattr(np, of) for name, of in NUMPYS.items()}
    | {f"reduce_{name}": partial(reduce, by) for name, by in REDUCTIONS.items()}
    | {by.__name__: by for by in (div, integer_pow, reduce_sum)}
)
KNOWN = {
    name: (by, set() if isinstance(by, np.ufunc) else set(inspect.getfullargspec(by).kwonlyargs))
    for name, by in (MOVES | COMPUTES).items()
}
"""By the name of the primitive: NumPy's operation, and the settings that it knows."""


def by_numpy(name: str, operands: list, settings: dict) -> tuple[np.ndarray, ...] | None:
    """None where NumPy has no such operation. A setting that is None is not set."""
    by, known = KNOWN[name]
    given = {key: value for key, value in settings.items() if value is not None}
    if not given.keys() <= known:
        return None
    with np.errstate(all="ignore"):
        found = by(*operands, **given)
    return found if found is None or isinstance(found, tuple) else (found,)


def to_device(found: tuple[np.ndarray, ...] | None) -> list[jax.Array] | None:
    """Copies, because `device_put` shares memory. None if JAX has no such dtype."""
    outs = [jax.device_put(np.array(one, order="C")) for one in found or ()]
    same = all(out.dtype == one.dtype for out, one in zip(outs, found or (), strict=True))
    return outs if found is not None and same else None


def replace(primitive) -> None:
    """NumPy's answer in the place of the primitive's implementation, where it knows one and all
    operands are plain numbers.
    """
    compiled = primitive.impl

    def implementation(*operands, **settings):
        hosts = [of_host(x) for x in operands]
        outs = None
        if all(host is not None for host in hosts):
            outs = to_device(by_numpy(primitive.name, hosts, settings))
        if outs is None:
            return compiled(*operands, **settings)
        return outs if primitive.multiple_results else outs[0]

    primitive.def_impl(implementation)


def steps(jaxpr) -> int | None:
    """Operations that compute in a program that NumPy can run, programs inside included."""
    count = 0
    for equation in jaxpr.eqns:
        name, of = equation.primitive.name, equation.params
        inner = steps(of["jaxpr"].jaxpr) if name == "jit" else int(name in COMPUTES)
        if inner is None or (name != "jit" and name not in KNOWN):
            return None
        count += inner
    weak = any(getattr(out.aval, "weak_type", False) for out in jaxpr.outvars)
    return None if weak else count


def run(jaxpr, consts: list, operands: list) -> tuple[np.ndarray, ...] | None:
    """What a program gives, by NumPy."""
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *operands), strict=True))

    def read(variable):
        if isinstance(variable, Literal):
            aval: Any = variable.aval
            return np.asarray(variable.val, aval.dtype)
        return values[variable]

    for equation in jaxpr.eqns:
        inputs, of = [read(x) for x in equation.invars], equation.params
        if equation.primitive.name == "jit":
            found = run(of["jaxpr"].jaxpr, of["jaxpr"].consts, inputs)
        else:  # within a program it does not matter what is weak
            weak = {"weak_type": False} if "weak_type" in of else {}
            found = by_numpy(equation.primitive.name, inputs, of | weak)
        if found is None:
            return None
        values |= zip(equation.outvars, found, strict=True)
    return tuple(read(x) for x in jaxpr.outvars)


def plain(x, dtype) -> np.ndarray | None:
    """An operand of a program: also Python's own numbers."""
    return np.asarray(x, dtype) if isinstance(x, bool | int | float) else of_host(x, weak=True)


def replace_programs(pjit, most: int = 50) -> None:
    """Programs of one operation, by NumPy, the first times: then to compile one is cheaper."""
    compiled, left = pjit._pjit_call_impl_python, weakref.WeakKeyDictionary()

    def implementation(*operands, jaxpr, **settings):
        if jaxpr not in left:
            left[jaxpr] = most if steps(jaxpr.jaxpr) in (0, 1) else 0
        if left[jaxpr] and not settings["compiler_options_kvs"] and not jax.debug_nans.value:
            left[jaxpr] -= 1
            hosts = [plain(x, aval.dtype) for x, aval in zip(operands, jaxpr.in_avals, strict=True)]
            consts = [of_host(x) for x in jaxpr.consts]
            if all(host is not None for host in (*hosts, *consts)):
                outs = to_device(run(jaxpr.jaxpr, consts, hosts))
                if outs is not None:
                    return outs, None, None, []
        return compiled(*operands, jaxpr=jaxpr, **settings)

    pjit._pjit_call_impl_python = implementation


def install() -> None:
    """Once per process. Where JAX's private parts have other names, nothing changes."""
    from jax._src import core, pjit
    from jax._src.lax import lax

    for name in KNOWN:
        for module in (primitives, lax, core):
            if hasattr(module, f"{name}_p"):
                replace(getattr(module, f"{name}_p"))
                break
    if hasattr(pjit, "_pjit_call_impl_python"):
        replace_programs(pjit)
