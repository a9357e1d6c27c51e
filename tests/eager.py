"""Operations outside of `jit` that only move or convert numbers, by NumPy: JAX compiles a program
of 10 to 20 ms for each of them and each shape, and the tests meet thousands.

What computes something (sums, products, random numbers) stays with XLA, and so does all that is
traced: a primitive's `impl` is for concrete arrays alone.
"""

import inspect

import jax
import numpy as np
from jax.extend.core import primitives

PLAIN = ("b", "i", "u", "f")
"""Kinds of dtypes that NumPy knows."""


def of_host(x) -> np.ndarray | None:
    """Plain numbers on one device of nobody's choice as NumPy's; None for any other operand."""
    plain = hasattr(x, "shape") and getattr(x.dtype, "kind", None) in PLAIN
    if not plain or getattr(x, "weak_type", False) or getattr(x, "committed", False):
        return None
    return np.asarray(x)


def stage(x):
    return x


def broadcast_in_dim(x, *, shape, broadcast_dimensions, sharding):
    del sharding
    at = dict(zip(broadcast_dimensions, x.shape, strict=True))
    return np.broadcast_to(x.reshape([at.get(axis, 1) for axis in range(len(shape))]), shape)


def convert_element_type(x, *, new_dtype, weak_type, sharding):
    del sharding
    new = np.dtype(new_dtype)
    # What NaN, and a number that exceeds an integer, become is the compiler's choice.
    kept = x.dtype.kind != "f" or new.kind == "f"
    known = new.kind in PLAIN[1:] or x.dtype == new
    return x.astype(new) if kept and known and not weak_type else None


def slice_(x, *, start_indices, limit_indices, strides):
    strides = strides or (1,) * x.ndim
    return x[tuple(map(slice, start_indices, limit_indices, strides))]


def squeeze(x, *, dimensions):
    return np.squeeze(x, tuple(dimensions))


def reshape(x, *, new_sizes, dimensions, sharding):
    del sharding
    return x.reshape(new_sizes) if dimensions is None else None


def transpose(x, *, permutation):
    return np.transpose(x, permutation)


def iota(*, dtype, shape, dimension, sharding):
    del sharding
    if np.dtype(dtype).kind not in PLAIN[1:]:
        return None
    line = np.arange(shape[dimension], dtype=dtype)
    return np.broadcast_to(np.expand_dims(line, [a for a in range(len(shape)) if a != dimension]),
                           shape)  # fmt: skip


def concatenate(*parts, dimension):
    return np.concatenate(parts, dimension)


def select_n(which, *cases):
    return np.where(which, *cases[::-1]) if which.dtype == bool and len(cases) == 2 else None


def replace(primitive, by) -> None:
    """`by`, of NumPy's arrays, in the place of the primitive's implementation, where `by` knows an
    answer and all operands are plain numbers.
    """
    compiled, known = primitive.impl, set(inspect.getfullargspec(by).kwonlyargs)

    def implementation(*operands, **settings):
        hosts = [of_host(x) for x in operands]
        plain = all(host is not None for host in hosts) and settings.get("sharding") is None
        if plain and settings.keys() == known:
            found = by(*hosts, **settings)
            if found is not None:
                # A copy, because `device_put` shares memory.
                out = jax.device_put(np.array(found, order="C"))
                if out.dtype == found.dtype:
                    return out
        return compiled(*operands, **settings)

    primitive.def_impl(implementation)


def install() -> None:
    """Once per process."""
    for by in (
        broadcast_in_dim, convert_element_type, slice_, squeeze, reshape, transpose, iota,
        concatenate, select_n,
    ):  # fmt: skip
        replace(getattr(primitives, by.__name__.removesuffix("_") + "_p"), by)
    from jax._src import core

    if hasattr(core, "stage_p"):
        replace(core.stage_p, stage)
