"""Local processes that may be killed: the default executor."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from enum import Enum
from multiprocessing.connection import Connection
from typing import Any

import jax

# Spawned, because a fork of a process with JAX's threads can hang.
SPAWN = multiprocessing.get_context("spawn")
UNSTARTED = (
    "a process could not start, what it printed says why: the script that sweeps must be a file, "
    "and call `sweep` under `if __name__ == '__main__':`, because each process imports it"
)


class Processes(Executor):
    """An executor of `jobs` processes, each with a pipe and its share of the cores.

    The standard pool and loky break as a whole when one worker is killed, and nobody knows then
    whose call did it. Here a killed process is the `BrokenExecutor` of its own call alone, and the
    next call gets a new one.

    - `jobs`: number of processes; as many as there are usable cores by default.

    Processes start when needed, with the JAX configuration of this one, and end with it.
    `shutdown` waits for no call: it ends them.
    """

    def __init__(self, jobs: int | None = None):
        cores = _cores()
        jobs = len(cores) if jobs is None else jobs
        if jobs < 1:
            raise ValueError(f"jobs: got {jobs}, expected 1 or more")
        shares = iter([cores[slot::jobs] or [cores[slot % len(cores)]] for slot in range(jobs)])
        self._lock, self._refusal = threading.Lock(), ""
        self._workers: dict[int, _Worker] = {}  # by thread
        self._threads = ThreadPoolExecutor(jobs, initializer=lambda: _keep_to(next(shares)))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        if self._refusal:
            raise BrokenExecutor(self._refusal)
        return self._threads.submit(self._call, pickle.dumps((fn, args, kwargs)))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        with self._lock:
            self._refusal = "shut down"
        self._threads.shutdown(wait=False, cancel_futures=cancel_futures)
        for worker in list(self._workers.values()):
            worker.process.kill()
            worker.process.join()
        self._threads.shutdown(wait=wait)

    def _call(self, call: bytes) -> Any:
        thread = threading.get_ident()
        with self._lock:
            if self._refusal:
                raise BrokenExecutor(self._refusal)
            if thread not in self._workers:
                self._workers[thread] = _Worker()
        worker = self._workers[thread]
        try:
            done, value = worker.answer(call)
        except (EOFError, OSError) as error:  # the other end of the pipe is closed
            worker.process.join()
            del self._workers[thread]
            if not worker.ready and (worker.process.exitcode or 0) > 0:
                self._refusal = UNSTARTED
            raise BrokenExecutor(self._refusal or _ended(worker.process.exitcode)) from error
        if not done:
            raise RuntimeError(value)
        return value


class _Worker:
    """A process, and our end of the pipe to it."""

    def __init__(self):
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(theirs, _configuration()))
        self.process.start()
        theirs.close()  # so that nobody but the process holds it, and its death closes the pipe
        self.ready = False

    def answer(self, call: bytes) -> tuple[bool, Any]:
        """Whether the call returned, and what; or what was raised, as text."""
        self.ready = self.ready or self.pipe.recv()
        self.pipe.send_bytes(call)
        return self.pipe.recv()


def _serve(pipe: Connection, configuration: dict[str, Any]) -> None:
    """What a process does until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the process that asked
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for name, value in configuration.items():
        if jax.config.values[name] != value:
            jax.config.update(name, value)
    pipe.send(True)
    while True:
        try:
            call = pipe.recv_bytes()
        except EOFError:
            return
        try:
            function, args, kwargs = pickle.loads(call)
            answer = True, function(*args, **kwargs)
        except Exception as error:
            answer = False, f"{type(error).__name__}: {error}"
        pipe.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _configuration() -> dict[str, Any]:
    """The settings of JAX that can be sent: all but devices."""
    kinds = str | int | float | Enum | None
    return {name: v for name, v in jax.config.values.items() if isinstance(v, kinds)}


def _cores() -> list[int]:
    """The cores that this process may use; macOS and Windows do not say which."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _keep_to(cores: list[int]) -> None:
    """Keep this thread, and the processes that it starts, to these cores: what computes there makes
    as many threads as it finds cores.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _ended(code: int | None) -> str:
    if code is None or code >= 0:
        return f"its process ended with exit status {code}"
    with contextlib.suppress(ValueError):
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process was ended by signal {-code}"
