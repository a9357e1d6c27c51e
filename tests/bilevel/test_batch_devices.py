"""Batches on several devices: the bits of one device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import batched
import pytest

ROOT = Path(__file__).resolve().parents[2]


def on_devices(count: int, *names: str) -> dict:
    """What `batched.py` prints on so many devices of the CPU."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, batched.__file__, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("count", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_devices_change_no_bit(count):
    names = ["many_roots", "shared_slopes"]
    assert on_devices(count, *names) == {"devices": count, **batched.run(names)}


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 8])
def test_devices_change_no_bit_of_attacks(count):
    assert on_devices(count, "attacked") == {"devices": count, **batched.run(["attacked"])}
