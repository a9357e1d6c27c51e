"""Checkpoints of long runs: a pytree of arrays in one file."""

import os
import zipfile
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ._tree import fetched, is_key


class Checkpoint:
    """A file that holds the latest state of a run.

    One npz file, because a state is a few arrays and NumPy can read it without this library. A
    write replaces the file as a whole: an interrupted one (`kill -9`) leaves the state before.

    - `path`: of the file; its folder must exist.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    def save(self, tree: PyTree) -> None:
        """Write the arrays of `tree`; typed keys are written as their data."""
        part = self.path.with_name(self.path.name + ".part")
        with part.open("wb") as file:
            arrays: Any = {name: fetched(leaf) for name, leaf in _arrays(tree).items()}
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)

    def load(self, like: PyTree) -> PyTree | None:
        """The tree that was saved, or None if there is no file.

        - `like`: a tree of the same structure, dtypes and shapes but for the leading axes: arrays,
          or what `jax.eval_shape` returns. Its leaves that are no arrays are those of the result.

        Raises `ValueError` for a file that is damaged or of another structure.
        """
        if not self.path.exists():
            return None
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                saved = dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"path: {self.path} cannot be read as a checkpoint ({error}); remove it to start "
                "the run again"
            ) from error
        wanted = _arrays(like)
        if saved.keys() != wanted.keys():
            different = sorted(saved.keys() ^ wanted.keys())
            raise ValueError(
                f"like: {self.path} was written by a run of another structure (leaves that only "
                f"one of the two has: {', '.join(different[:3])}); use its settings, or remove it"
            )
        loaded = iter([_restored(name, saved[name], leaf) for name, leaf in wanted.items()])
        return jax.tree.map(lambda leaf: next(loaded) if _is_array(leaf) else leaf, like)

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)


def _is_array(leaf) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _arrays(tree: PyTree) -> dict:
    """The arrays of a tree by the path to each."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {f"tree{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves if _is_array(leaf)}


def _restored(name: str, saved: np.ndarray, like):
    key = is_key(like)
    wanted = jax.eval_shape(jax.random.key_data, like) if key else like
    dtype = np.dtype(wanted.dtype)
    if saved.dtype.kind == "V" and saved.dtype.itemsize == dtype.itemsize:
        saved = saved.view(dtype)  # NumPy does not know the names of bfloat16 and its kin
    if saved.dtype != dtype or saved.shape[1:] != wanted.shape[1:] or saved.ndim != wanted.ndim:
        raise ValueError(
            f"like: the checkpoint has {saved.dtype} {saved.shape} at {name}, expected {dtype} "
            f"{wanted.shape}; use the settings of the run that wrote it"
        )
    array = jnp.asarray(saved)
    return jax.random.wrap_key_data(array, impl=_implementation(like)) if key else array


def _implementation(like) -> Any:
    """That of typed keys, of which there may be only shape and dtype."""
    found = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), like)
    return found[0]
