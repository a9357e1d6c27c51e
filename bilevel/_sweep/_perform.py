"""What a worker does with an item. It returns text, so that only text travels and is stored."""

import traceback
from collections.abc import Callable, Mapping
from typing import Any

import jax

from . import _cells
from ._settings import Settings


def perform(task: Callable[..., Any], settings: Settings, x64: bool) -> str:
    """Run the task, in the precision of the process that asked, whatever goes wrong in it."""
    try:
        with jax.enable_x64(x64):
            result = task(**settings)
        return _cells.dumps({"cells": _checked(result, settings)})
    except (Exception, SystemExit) as error:
        return failure(error)


def failure(error: BaseException, sentence: str | None = None) -> str:
    """The outcome of an item that failed: a sentence, the error's if not given, and the trace."""
    sentence = sentence or f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    return _cells.dumps({"failure": sentence, "traceback": trace})


def _checked(result: Any, settings: Settings) -> Any:
    if not isinstance(result, Mapping):
        raise TypeError(f"the task returned a {type(result).__name__}, expected a mapping of cells")
    both = sorted(result.keys() & settings.keys())
    if both:
        raise ValueError(f"the task returned {both}, which are names of settings; rename them")
    return result
