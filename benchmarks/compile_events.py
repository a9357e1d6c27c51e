"""Counting compilations by the events that JAX itself reports, for experiments and for tests.

with counted() as compilations:
function(x)
assert compilations.compiled == 0
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import jax.monitoring

PROGRAM = "/jax/core/compile/backend_compile_duration"
LOADED = "/jax/compilation_cache/cache_hits"


@dataclass
class Compilations:
    """Programs that were handed to the compiler so far.

    - `programs`: all of them.
    - `loaded`: those that the persistent cache held.
    - `seconds`: on the clock, spent on compiling and loading, without tracing and lowering.
    """

    programs: int = 0
    loaded: int = 0
    seconds: float = 0.0

    @property
    def compiled(self) -> int:
        """Those that XLA compiled."""
        return self.programs - self.loaded


@contextlib.contextmanager
def counted() -> Iterator[Compilations]:
    """Count what is compiled inside, in all threads of this process."""
    count = Compilations()

    def timed(event: str, duration_secs: float, **_) -> None:
        if event == PROGRAM:
            count.programs += 1
            count.seconds += duration_secs

    def happened(event: str, **_) -> None:
        if event == LOADED:
            count.loaded += 1

    jax.monitoring.register_event_duration_secs_listener(timed)
    jax.monitoring.register_event_listener(happened)
    try:
        yield count
    finally:
        jax.monitoring.unregister_event_duration_listener(timed)
        jax.monitoring.unregister_event_listener(happened)
