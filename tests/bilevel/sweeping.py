"""Tasks of the tests of sweeps, in a module that every process can import without JAX."""

import os
import signal
import time
from pathlib import Path


def log(folder: str, line: str) -> None:
    """Adds a line, whole, whoever else writes."""
    file = os.open(Path(folder) / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{line}\n".encode())
    os.close(file)


def logged(folder) -> list[list[str]]:
    path = Path(folder) / "log"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def square(x):
    return {"square": x * x}


def noted(folder, x, seconds=0.0):
    """Leaves a line before and after the work."""
    log(folder, f"begin {x} {os.getpid()}")
    time.sleep(seconds)
    log(folder, f"end {x} {os.getpid()}")
    return {"third": x / 3}


def moody(folder, x):
    """Fails for odd numbers while there is a file `mood`."""
    log(folder, f"begin {x}")
    if x % 2 and (Path(folder) / "mood").exists():
        raise ZeroDivisionError(f"no {x} today")
    return {"half": x / 2}


def deadly(folder, x):
    """Kills its process when it first sees 1."""
    flag = Path(folder) / "killed"
    if x == 1 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"pid": os.getpid(), "parent": os.getppid()}


def poison(x):
    if x == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"square": x * x}


def leaving(x):
    raise SystemExit("leave")


def surroundings():
    """What a process of a sweep finds."""
    import jax

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    promotion = str(jax.config.values["jax_numpy_dtype_promotion"])
    return {"cores": cores, "promotion": promotion, "ignores": interrupts_ignored()}


def interrupts_ignored() -> bool:
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def many(folder, count, seconds):
    return [{"folder": str(folder), "x": x, "seconds": seconds} for x in range(count)]


def drive(store, folder, count, seconds, executor):
    """What a driver does that tests kill."""
    import bilevel

    bilevel.sweep(noted, many(folder, count, seconds), store=store, executor=executor, version="1")
