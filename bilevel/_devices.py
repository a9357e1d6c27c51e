"""A function over problems on the devices of this process: chunks, and one loop per device."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from ._program import closed, opened, program
from ._tree import fetched, like, stop_gradient

PROBLEMS = "problems"  # axis of the mesh
DEALT = PartitionSpec(None, PROBLEMS)


def local_devices() -> list[Any]:
    """The devices of this process, or the one that `jax.default_device` sets."""
    chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    if chosen is None or isinstance(chosen, str):
        return jax.local_devices(backend=chosen)
    return [chosen]


def device_default() -> int | None:
    """Problems that a device runs at once: one on a CPU, elsewhere all (None)."""
    return 1 if local_devices()[0].platform == "cpu" else None


def chunked(function: Callable[..., PyTree], args: PyTree, size: int | None) -> PyTree:
    """Map over the leading axes of the arrays of `args`, by `vmap` over each of the fewest equal
    chunks of at most `size` problems, in a loop over chunks; a last chunk that is short is filled
    up with copies of the last problem. A size of None is one chunk.
    """
    arrays, rest = eqx.partition(args, eqx.is_array)
    settings = []

    def one(arrays):
        result, others = eqx.partition(function(*eqx.combine(arrays, rest)), eqx.is_array)
        settings.append(others)
        return result

    length = len(jax.tree.leaves(arrays)[0])
    if size is None or 1 < length <= size:
        results = jax.vmap(one)(arrays)
    elif size == 1 or length <= 1:
        results = jax.lax.map(one, arrays)
    else:
        chunks = math.ceil(length / size)
        width = math.ceil(length / chunks)
        parts = jax.tree.map(lambda a: filled(a, chunks * width, (chunks, width)), arrays)
        parts = jax.lax.map(jax.vmap(one), parts)
        results = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:length], parts)
    return eqx.combine(results, settings[0])


def alone(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """`function` without derivatives, of which a `vmap` on a CPU is a loop, as a `batch` is.

    It is for whatever factorises matrices. Batched kernels of jaxlib 0.10.2 leave the matrices to
    the threads that run the program, and wait on one of these: if several do so at once, all wait
    for ever.
    """

    def run(*args: PyTree) -> PyTree:
        # What functions close over becomes arguments: a batch of other values is refused. Equinox
        # does not look into a plain function, but its arguments may close over values, too.
        converted = eqx.filter_closure_convert(partial(function), *args)
        arrays, rest = eqx.partition((converted, args), eqx.is_array)
        leaves, structure = jax.tree.flatten(arrays)
        settings = []

        def one(*leaves):
            converted, args = eqx.combine(structure.unflatten(leaves), rest)
            result, others = eqx.partition(converted(*args), eqx.is_array)
            settings.append(others)
            return result

        one = jax.custom_batching.sequential_vmap(one) if device_default() == 1 else one
        return eqx.combine(one(*stop_gradient(leaves)), settings[0])

    return run


def filled(array, total: int, shape: tuple[int, int]):
    """The rows (n, ...) and copies of the last to make `total`, as (*shape, ...)."""
    length = len(array)
    if total > length:
        array = array[np.minimum(np.arange(total), length - 1)]
    return array.reshape(*shape, *array.shape[1:])


def dealt(args: PyTree, hands: int) -> PyTree:
    """The problems like cards: problem i to hand i modulo `hands`, in arrays (turns, hands, ...)
    in the memory of the host. Neighbours are alike, in a grid that is sorted: so all hands get some
    of the slow ones.
    """
    length = len(jax.tree.leaves(eqx.filter(args, eqx.is_array))[0])
    turns = math.ceil(length / hands)

    def deal(leaf):
        if not eqx.is_array(leaf):
            return leaf
        return like(leaf, filled(fetched(leaf), turns * hands, (turns, hands)))

    return jax.tree.map(deal, args)


def on_devices(function: Callable[..., PyTree], args: PyTree, size: int | None) -> PyTree:
    """Map over the leading axes of the arrays of `args`, none of them traced, see `batch`."""
    length = len(jax.tree.leaves(eqx.filter(args, eqx.is_array))[0])
    devices = local_devices()[: max(length, 1)]
    mesh, lanes = None, length
    if len(devices) > 1:
        mesh = Mesh(np.array(devices), (PROBLEMS,), axis_types=(AxisType.Auto,))
        lanes = math.ceil(length / len(devices))
        args = _placed(dealt(args, len(devices)), mesh, DEALT)
        function = _placed(function, mesh, PartitionSpec())
    if size is None:
        size = device_default() or _fitting(function, args, mesh, lanes, devices[0])
    results = _spread(function, args, mesh, size)
    if mesh is None:
        return results

    # Through the memory of the host: no device waits for another, and the result is an ordinary
    # array of the default device.
    def collected(leaf):
        if not eqx.is_array(leaf):
            return leaf
        rows = fetched(leaf)
        return like(leaf, rows.reshape(-1, *rows.shape[2:])[:length])

    return jax.tree.map(collected, results)


def _placed(tree: PyTree, mesh: Mesh, spec: PartitionSpec) -> PyTree:
    arrays, rest = eqx.partition(opened(tree), eqx.is_array)
    return closed(eqx.combine(jax.device_put(arrays, NamedSharding(mesh, spec)), rest))


@program
def _spread(function: Callable[..., PyTree], args: PyTree, mesh: Mesh | None, size: int) -> PyTree:
    if mesh is None:
        return chunked(function, args, size)
    arrays, rest = eqx.partition(args, eqx.is_array)
    settings = []

    def of_device(arrays):
        mine = jax.tree.map(lambda a: a[:, 0], arrays)
        results = chunked(function, eqx.combine(mine, rest), size)
        results, others = eqx.partition(results, eqx.is_array)
        settings.append(others)
        return jax.tree.map(lambda a: a[:, None], results)

    # Partitioned by `jit`, a loop over sharded problems runs all of them on every device (measured:
    # twice the work on two), and a batched `while_loop` waits for all devices at every step. With
    # `check_vma`, gradients in arrays that all devices share would be sums over devices.
    spread = jax.shard_map(of_device, mesh=mesh, in_specs=DEALT, out_specs=DEALT, check_vma=False)
    return eqx.combine(spread(arrays), settings[0])


def _fitting(function, args, mesh, lanes: int, device: Any) -> int:
    """How many of its `lanes` problems an accelerator runs at once."""
    free = free_bytes(device)
    if free is None:
        return lanes
    whole = _spread.lower(function, args, mesh, lanes)  # pyright: ignore[reportFunctionMemberAccess]
    needed = whole.compile().memory_analysis()  # what runs, if all fit: nothing is compiled twice
    each = needed.temp_size_in_bytes / lanes
    return fitting(lanes, each, free - needed.output_size_in_bytes)


def free_bytes(device: Any) -> int | None:
    """Of the memory of an accelerator; None if it does not say."""
    stats = device.memory_stats()
    return stats and stats["bytes_limit"] - stats["bytes_in_use"]


def fitting(lanes: int, each: float, free: float) -> int:
    """How many problems run at once: all `lanes` if they fit, else a power of two, so that a little
    more or less free memory compiles nothing anew.

    - `each`: bytes of temporary arrays that a problem needs.
    - `free`: bytes that are free; a tenth stays so, for what the allocator cannot use.
    """
    if lanes * each <= 0.9 * free:
        return lanes
    return 2 ** int(math.log2(max(0.9 * free / each, 1)))
