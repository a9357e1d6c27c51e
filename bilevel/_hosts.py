"""A function over problems on all processes of a run with `jax.distributed`."""

import zlib
from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree

from ._devices import dealt
from ._tree import fetched, like


def on_hosts(run: Callable[[PyTree], PyTree], args: PyTree) -> PyTree:
    """`run(args)`, a map over the leading axes of the arrays of `args`, of which each process runs
    a share. All processes call it with the same arguments and get the whole result.

    They meet before, to compare the arguments, and after, to exchange results.
    """
    count, mine = jax.process_count(), jax.process_index()
    if count == 1:
        return run(args)
    _require_same(args)
    share = jax.tree.map(lambda a: a[:, mine] if eqx.is_array(a) else a, dealt(args, count))
    results, rest = eqx.partition(run(share), eqx.is_array)
    leaves, structure = jax.tree.flatten(results)
    arrays = [fetched(leaf) for leaf in leaves]
    # As bytes: one exchange whatever the dtypes, of which gloo does not know all.
    rows = [np.ascontiguousarray(a).reshape(len(a), -1).view(np.uint8) for a in arrays]
    everyone = _exchanged(np.concatenate(rows, axis=1))  # (processes, turns, bytes)
    everyone = everyone.swapaxes(0, 1).reshape(-1, everyone.shape[2])
    parts = np.split(everyone, np.cumsum([row.shape[1] for row in rows])[:-1], axis=1)
    length = len(jax.tree.leaves(eqx.filter(args, eqx.is_array))[0])
    whole = [
        like(leaf, np.ascontiguousarray(part).view(a.dtype).reshape(-1, *a.shape[1:])[:length])
        for leaf, a, part in zip(leaves, arrays, parts, strict=True)
    ]
    return eqx.combine(structure.unflatten(whole), rest)


def _require_same(args: PyTree) -> None:
    """Compare what the processes pass. This also connects them while all are at the same place:
    they find one another within half a minute, or not at all.
    """
    digest = 0
    for leaf in jax.tree.leaves(eqx.filter(args, eqx.is_array)):
        array = fetched(leaf)
        digest = zlib.crc32(repr((array.shape, array.dtype)).encode(), digest)
        digest = zlib.crc32(array.tobytes(), digest)
    digests = _exchanged(np.asarray([digest], np.uint32))[:, 0]
    others = np.flatnonzero(digests != digests[0])
    if len(others):
        raise ValueError(
            f"batch: process {others[0]} passed other arrays than process 0, expected the same "
            "whole batch in every process; each takes its share by itself"
        )


def _exchanged(array: np.ndarray) -> np.ndarray:
    """The arrays of all processes, along a new leading axis."""
    try:
        return multihost_utils.process_allgather(array)
    except jax.errors.JaxRuntimeError as error:
        raise RuntimeError(
            f"batch: process {jax.process_index()} of {jax.process_count()} cannot reach another "
            "one, which has ended or has not come within half a minute. Look at what that one "
            "said, then start all again; what a bilevel.Checkpoint holds is kept. JAX says: "
            f"{str(error).splitlines()[0]}"
        ) from error
