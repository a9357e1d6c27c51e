"""Timing."""

import time
from collections.abc import Callable
from typing import Any

import jax

from .compile_events import counted


def timed(program: Callable[[], Any]) -> tuple[Any, float, float]:
    """Run it to the end: its result, seconds on the clock, CPU seconds of all threads."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(program())
    return result, time.perf_counter() - clock, time.process_time() - cpu


def warm(program: Callable[[], Any]) -> tuple[Any, float, float]:
    """Run it to the end, and again if that compiled anything: its result, CPU seconds of all
    threads without compiling, and the seconds on the clock that compiling took.
    """
    with counted() as compilations:
        result, first, cpu = timed(program)
    if compilations.programs == 0:
        return result, cpu, 0.0
    result, clock, cpu = timed(program)
    return result, cpu, max(first - clock, 0.0)
