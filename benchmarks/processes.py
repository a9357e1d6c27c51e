"""Measurements in a process of their own, which has done nothing else before."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def pin() -> None:
    """Keep this process, and so the pools that JAX starts in it, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def alone(module: str, *arguments: str, environment: dict[str, str] | None = None) -> Any:
    """Run `python -m module arguments` and return what its last line says in JSON.

    - `environment`: its variables; those of this process unless given.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        call = " ".join((module, *arguments))
        raise RuntimeError(f"{call}: exit status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def risen(run: Callable[[], Any]) -> int | None:
    """By how many bytes the memory of this process rises above what it is now while `run` runs, at
    its peak. None on systems other than Linux, which keep the highest peak of all.
    """
    if not Path("/proc/self/clear_refs").exists():
        return None
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that from now on
    before = _status("VmRSS")
    run()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
