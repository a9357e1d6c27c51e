"""One function over a batch of problems: by `vmap` or by a loop."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import PyTree


def batch(function: Callable[..., PyTree], size: int | None = None) -> Callable[..., PyTree]:
    """Map `function` over the leading axis of every array in its arguments.

    On accelerators this is a `vmap`. On a CPU it is a loop: there, batched small factorisations
    gain nothing, a batched `while_loop` runs until its slowest lane ends, and a batched `cond` runs
    all branches.

    - `function`: of any pytrees, to a pytree whose arrays get the leading axis. Its other leaves
      must not depend on the problem.
    - `size`: number of problems that run at once, to bound memory: a `vmap` over each chunk of this
      size, in a loop over chunks. By default all on accelerators, one on a CPU.

    A call raises `ValueError` unless all arrays have leading axes of one length.
    """

    def mapped(*args: PyTree) -> PyTree:
        arrays, rest = eqx.partition(args, eqx.is_array)
        lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(arrays)}
        if len(lengths) != 1 or lengths == {()}:
            raise ValueError(
                f"batch: got arrays with leading axes {sorted(lengths)}, expected one common length"
            )

        settings = []

        def one(arrays):
            result, others = eqx.partition(function(*eqx.combine(arrays, rest)), eqx.is_array)
            settings.append(others)
            return result

        if size is None and jax.default_backend() != "cpu":
            results = jax.vmap(one)(arrays)
        else:
            results = jax.lax.map(one, arrays, batch_size=size)
        return eqx.combine(results, settings[0])

    return mapped


def unstacked(tree: PyTree) -> list[PyTree]:
    """The problems of a batch one by one: every array of `tree` has a leading axis of them."""
    arrays, rest = eqx.partition(tree, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    rows = zip(*leaves, strict=True)
    return [eqx.combine(structure.unflatten(row), rest) for row in rows]
