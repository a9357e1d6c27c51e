"""Batches on two processes of two devices each: the bits of one; what is said when one dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import batched
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def pair(*arguments: str) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of two processes of `batched.py` on loopback."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            [sys.executable, batched.__file__, *arguments, "--process", rank, port],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *words) for process, words in zip(started, said, strict=True)]


def test_processes_change_no_bit():
    names = ["many_roots", "shared_slopes", "attacked"]
    for status, output, errors in pair(*names):
        assert status == 0, errors
        assert json.loads(output.splitlines()[-1]) == {"devices": 4, **batched.run(names)}


def test_processes_that_pass_other_batches_are_told():
    for status, _, errors in pair("other"):
        assert status != 0
        assert "process 1 passed other arrays than process 0, expected the same" in errors


def test_a_process_that_dies_leaves_a_sentence_and_no_waiting_in_the_other():
    begin = time.monotonic()
    survivor, killed = pair("many_roots", "attacked", "--killed", "attacked")
    assert killed[0] == -signal.SIGKILL
    assert survivor[0] != 0
    assert "batch: process 0 of 2 cannot reach another one, which has ended" in survivor[2]
    assert time.monotonic() - begin < 60 + batched.HEARTBEAT


def test_a_run_of_two_processes_goes_on_after_one_died(tmp_path):
    file = str(tmp_path / "rounds.npz")
    whole = batched.bits(batched.in_rounds(str(tmp_path / "alone.npz")))
    survivor, _ = pair("--rounds", file, "--killed", "round 2")
    assert survivor[0] != 0
    for status, output, errors in pair("--rounds", file):
        assert status == 0, errors
        found = json.loads(output.splitlines()[-1])
        assert (found["kept"], found["bits"]) == (8, whole)
