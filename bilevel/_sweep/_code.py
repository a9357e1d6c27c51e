"""Which code a result is of: the name of a task, and the version of its source."""

import hashlib
import inspect
import pickle
import types
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("bilevel", "jax", "jaxlib", "numpy")


def identity(task: Callable, version: str | None) -> dict[str, Any]:
    """What a result depends on beside its settings: the task, its version and JAX's precision.

    Raises `TypeError` for a task that is no function of a module.
    """
    if not isinstance(task, types.FunctionType):
        raise TypeError(f"task: got {task!r}, expected a function defined at the top of a module")
    try:
        pickle.dumps(task)
    except (pickle.PicklingError, AttributeError) as error:
        raise TypeError(
            f"task: {task.__qualname__} cannot be sent to another process ({error}); expected a "
            "function defined at the top of a module, with what it needs among its settings"
        ) from error
    return {
        "task": f"{task.__module__}.{task.__qualname__}",
        "version": source_version(task) if version is None else version,
        "x64": bool(jax.config.jax_enable_x64),  # pyright: ignore
    }


def source_version(task: Callable) -> str:
    """A hash of the file that defines the task, and the versions of what computes.

    It does not see the other modules that the task imports.
    """
    try:
        source = Path(inspect.getsourcefile(task) or "").read_bytes()
    except (OSError, TypeError) as error:
        raise ValueError(
            f"version: the source of {task.__qualname__} cannot be read ({error}); give one, such "
            "as the commit of your code"
        ) from error
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return f"{hashlib.sha256(source).hexdigest()[:12]} ({versions})"
