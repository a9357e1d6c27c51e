"""Pseudo-random numbers of rows by their content: what is drawn by them depends on no order.

Written against the array API: the same rows have the same numbers in NumPy and in JAX.
"""

from typing import Any

import numpy as np
from jax import Array, lax
from scipy.sparse import issparse

from bilevel.tools import program


def row_hash(x: Any, y: Any = None, seed: Any = 0) -> Any:
    """A pseudo-random uint32 per row (n,), a function of the row's content and the seed alone.

    - `x`: rows (n, ...), in single precision: rows that differ by less have equal numbers. SciPy's
      CSR matrices have the numbers of the dense ones.
    - `y`: labels (n,), numbers that count as a further feature; None for features alone.
    - `seed`: a whole number, or a uint32 in a program.
    """
    if issparse(x):
        return _sparse_hash(x, y, seed)
    return (_one_program if isinstance(x, Array) else _dense_hash)(x, y, seed)


def _dense_hash(x: Any, y: Any, seed: Any) -> Any:
    xp = x.__array_namespace__()
    rows = xp.astype(xp.reshape(x, (x.shape[0], -1)), xp.float32)
    if y is not None:
        rows = xp.concat([rows, xp.astype(y, xp.float32)[:, None]], axis=1)
    bits = _bits(rows + xp.float32(0))  # + 0: one sign of zero
    columns = xp.arange(bits.shape[1], dtype=xp.uint32)[None, :]
    mixed = mix(bits ^ _salt(columns, seed))
    return mix(xp.sum(mixed, axis=1, dtype=xp.uint32))


_one_program = program(_dense_hash)  # op by op, JAX compiles and runs some twenty


def _sparse_hash(x: Any, y: Any, seed: int) -> np.ndarray:
    """The same in the time of the entries that are stored: a row of zeros has a known sum."""
    salt = _salt(np.arange(x.shape[1] + 1, dtype=np.uint32), seed)
    zeros = mix(salt)  # the bits of zero are zero
    bits = _bits(x.data.astype(np.float32) + np.float32(0))
    surplus = np.concatenate([[0], mix(bits ^ salt[x.indices]) - zeros[x.indices]])
    until = np.cumsum(surplus, dtype=np.uint32)[x.indptr]
    total = until[1:] - until[:-1] + np.sum(zeros[:-1], dtype=np.uint32)
    if y is not None:
        total = total + mix(_bits(y.astype(np.float32) + np.float32(0)) ^ salt[-1])
    return mix(total)


def _salt(columns: Any, seed: Any) -> Any:
    """A number per column (uint32)."""
    xp = columns.__array_namespace__()
    return mix(columns + xp.uint32((0x9E3779B9 * (seed + 1)) & 0xFFFFFFFF))


def mix(h: Any) -> Any:
    """The finaliser of MurmurHash3: every bit of the input (uint32) moves every bit of it."""
    xp = h.__array_namespace__()
    h = (h ^ (h >> xp.uint32(16))) * xp.uint32(0x85EBCA6B)
    h = (h ^ (h >> xp.uint32(13))) * xp.uint32(0xC2B2AE35)
    return h ^ (h >> xp.uint32(16))


def _bits(rows: Any) -> Any:
    """The bits of single precision numbers, as uint32."""
    if isinstance(rows, Array):
        return lax.bitcast_convert_type(lax.stop_gradient(rows), np.uint32)
    return np.ascontiguousarray(rows).view(np.uint32)
