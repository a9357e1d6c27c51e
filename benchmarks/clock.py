"""Timing."""

import time
from collections.abc import Callable
from typing import Any

import jax


def timed(program: Callable[[], Any]) -> tuple[Any, float, float]:
    """Run it to the end: its result, seconds on the clock, CPU seconds of all threads."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(program())
    return result, time.perf_counter() - clock, time.process_time() - cpu
