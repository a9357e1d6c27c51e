"""The cache folder of the commands: compiled programs, and data sets in a form that loads fast."""

import contextlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

HELP = (
    "Compiled programs are kept in the user's cache folder of `bilevel`, so that a second run "
    "compiles nothing; the environment variable JAX_COMPILATION_CACHE_DIR names another folder."
)


def folder() -> Path:
    """The user's cache folder of this project, as the operating system has it."""
    import pooch

    return Path(pooch.os_cache("bilevel"))


def keep_programs() -> str:
    """Turn on JAX's persistent compilation cache, for small programs too, and return its folder.

    Call it before anything is compiled. A folder that has been set already stays.
    """
    import jax

    settings = {
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    for name, value in settings.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore
        jax.config.update("jax_compilation_cache_dir", str(folder() / "jax"))
    return jax.config.jax_compilation_cache_dir  # pyright: ignore


def kept_arrays(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays that `make()` returns, from the file `name`.npz in the cache folder if there is
    one, else made and written there. Where that folder cannot be
    written to, they are made each time.
    """
    path = folder() / f"{name}.npz"
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        pass  # absent, or half a file
    arrays = make()
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
    return arrays
