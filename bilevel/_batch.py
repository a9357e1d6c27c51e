"""One function over a batch of problems: in chunks, on all devices, on all hosts."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import PyTree

from ._devices import chunked, device_default, on_devices
from ._hosts import on_hosts
from ._program import opened, tracing
from ._tree import concrete, require_count


def batch(function: Callable[..., PyTree], size: int | None = None) -> Callable[..., PyTree]:
    """Map `function` over the leading axis of every array in its arguments.

    - `function`: of any pytrees, to a pytree whose arrays get the leading axis. Its other leaves
      must not depend on the problem. Its randomness must come from keys in its arguments.
    - `size`: number of problems that a device runs at once, by `vmap`; the others wait their turn,
      which bounds memory. By default one on a CPU; on an accelerator as many as fit into its free
      memory, all if they do.

    A call spreads the problems over the devices of this process, `jax.local_devices()`, or stays on
    one inside `with jax.default_device(device)`: problem i goes to device i modulo their number.
    Each device has its own loop, so that slow problems on one keep no other waiting. The result
    lies on the default device. With a `size` of one it has the same bits however many devices and
    hosts there are, and is that of a Python loop up to rounding. With a larger one it is the same
    up to rounding, which may choose another element where a hypergradient is not unique. A call
    compiles once per structure, shapes and settings; arrays that `function` closes over count as
    arguments, and are copied to every device.

    After `jax.distributed.initialize`, every process makes the same calls with the same whole
    batch. Each runs its share, and all get the whole result. `docs/scale.md` has the commands, and
    says what happens when a process dies.

    Inside `jit`, `grad`, `vmap` or another `batch` it is a plain map on the devices of that
    program: a loop on a CPU, a `vmap` of all problems on an accelerator, or chunks of `size`.

    Why a loop on a CPU: there, batched small factorisations gain nothing, a batched `cond` runs all
    branches, and a batched `while_loop` runs all problems until the slowest ends. 31 attacks that
    stop at once and one of 70 steps (`svm-mnist`, one core) take .06 s in a loop, .11 s in chunks
    of 4, .15 s of 8, .43 s as one `vmap`. Small dense networks gain from a `size` of 4 to 16.

    Inner solves, their adjoint systems and certificates are a loop on a CPU under `vmap`, too:
    batched factorisations of jaxlib 0.10.2 may hang on several threads. Those in
    functions of the user's own still may, by `size` or by `vmap`.

    A call raises `ValueError` unless all arrays have leading axes of one length, and if processes
    pass different arrays; `RuntimeError` if another process cannot be reached.
    """
    size = None if size is None else require_count("size", size)

    def mapped(*args: PyTree) -> PyTree:
        arrays = eqx.filter(args, eqx.is_array)
        lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(arrays)}
        if len(lengths) != 1 or lengths == {()}:
            raise ValueError(
                f"batch: got arrays with leading axes {sorted(lengths)}, expected one common length"
            )
        if tracing() or not all(map(concrete, jax.tree.leaves(opened((function, args))))):
            return chunked(function, args, size or device_default())
        return on_hosts(lambda args: on_devices(function, args, size), args)

    return mapped


def unstacked(tree: PyTree) -> list[PyTree]:
    """The problems of a batch one by one: every array of `tree` has a leading axis of them."""
    arrays, rest = eqx.partition(tree, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    rows = zip(*leaves, strict=True)
    return [eqx.combine(structure.unflatten(row), rest) for row in rows]
