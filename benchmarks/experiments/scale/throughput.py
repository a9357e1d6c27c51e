"""Attacks per second against the size of the batch and the number of devices.

The attack of `svm-mnist`: one point, 100 training and 500 validation digits, 70 steps; every start
is another digit, slightly changed. Every figure comes from a process of its own, on as many CPU
cores as it has devices; XLA splits a CPU into devices when the process starts. Compiling is apart.
A few attacks are repeated in a Python loop, and certified.

On an accelerator: --devices 1 --batches 1 64 1024 4096 --dtypes float64 float32
"""

import dataclasses
import json
import os
import sys
import time
from typing import Annotated, Any, Literal

from benchmarks.data import parse_pair
from benchmarks.options import SOME, Count, Counts, at_least, check, require
from benchmarks.processes import alone
from benchmarks.report import Report

Dtype = Literal["float64", "float32"]
MODULE = "benchmarks.experiments.scale.throughput"


@dataclasses.dataclass(frozen=True)
class Options:
    """Sizes, devices, precision."""

    batches: Counts = (1, 8, 64)
    """Numbers of attacks in a batch."""
    devices: Counts = (1, 2)
    """Numbers of devices: of a CPU that is split, or of accelerators."""
    dtypes: Annotated[tuple[Dtype, ...], SOME] = ("float64",)
    """Precision of rows, weights and poison."""
    size: int | None = None
    """Attacks that a device runs at once; by default what `bilevel.batch` chooses."""
    steps: Count = 70
    """Steps of an attack."""
    pair: str = "0v4"
    """The attacker's digit and the attacked one."""
    repeats: Count = 3
    """Repeats of each timing; the best one counts."""
    checked: Count = 2
    """Attacks of each batch that are repeated in a loop, and certified."""

    def __post_init__(self):
        check(self)
        if self.size is not None:
            require(self, "size", at_least(1))
        parse_pair(self.pair)


def problem(options: Options, batch: int, dtype: Dtype):
    """The function start -> recipe, and the starts (batch, 1, 784)."""
    import jax.numpy as jnp
    import numpy as np

    from attacks import Box, poison_svm
    from benchmarks.ascents import CLASSIFIERS
    from benchmarks.data import drawn_splits, mnist
    from bilevel import Data
    from bilevel.learners import SVM

    split = drawn_splits(mnist(), options.pair, (0,), seed=0)[0]
    train, validation = (
        Data(jnp.asarray(rows.x, dtype), jnp.asarray(rows.y, dtype))
        for rows in (split.train, split.validation)
    )
    starts = np.resize(split.start, (batch, split.start.shape[1]))
    noise = np.random.default_rng(0).uniform(-0.05, 0.05, starts.shape)
    starts = np.clip(starts + noise, 0, 1)[:, None]

    def attack(start):
        return poison_svm(
            train, start, jnp.ones(1, dtype), validation,
            learner=SVM(), domain=Box(0.0, 1.0), steps=options.steps, ascent=CLASSIFIERS,
        )  # fmt: skip

    return attack, jnp.asarray(starts, dtype)


def measure(options: Options, batch: int, dtype: Dtype) -> dict[str, Any]:
    """Cells of a row, from this process and its devices."""
    import jax
    import numpy as np

    import bilevel
    from bilevel.tools import norm

    jax.config.update("jax_enable_x64", True)
    cells = {"device": jax.devices()[0].device_kind}
    attack, starts = problem(options, batch, dtype)
    try:
        recipes = [attack(start) for start in starts[: options.checked]]
    except ValueError as error:  # a learner refuses what it cannot certify
        return {**cells, "attacks_per_second": None, "refused": str(error)}
    many = bilevel.batch(lambda start: attack(start).climb(), options.size)
    times, result = [], None
    for _ in range(1 + options.repeats):
        clock, cpu = time.perf_counter(), time.process_time()
        result = jax.block_until_ready(many(starts))
        times.append((time.perf_counter() - clock, time.process_time() - cpu))
    assert result is not None
    seconds, cpu = min(times[1:])
    difference, bound = 0.0, 0.0
    for recipe, z in zip(recipes, result.z, strict=False):
        difference = max(difference, float(np.max(np.abs(recipe.climb().z - z))))
        certificate = bilevel.certify(recipe.attack, z)
        bound = max(bound, float(certificate.error_bound / norm(certificate.gradient)))
    return {
        **cells, "attacks_per_second": batch / seconds, "cpu_ms": 1e3 * cpu / batch,
        "compile_seconds": max(times[0][0] - seconds, 0.0), "difference": difference,
        "certified": bound, "refused": None,
    }  # fmt: skip


def make_rows(options: Options, dtype: Dtype, devices: int, batch: int) -> dict[str, list]:
    """The row of a precision, number of devices and size of the batch."""
    given = json.dumps(dataclasses.asdict(options))
    words = given, str(batch), dtype, str(devices)
    found = alone(MODULE, *words, environment=_environment(devices))
    refused = found.pop("refused")
    return {
        "rows": [{"dtype": dtype, "devices": devices, "batch": batch, **found}],
        "notes": [f"{dtype}, no attack was run: {refused}"] if refused else [],
    }


def run(options: Options, report: Report) -> None:
    """One row per precision, number of devices and size of the batch."""
    units = [
        {"dtype": dtype, "devices": devices, "batch": batch}
        for dtype in options.dtypes
        for devices in options.devices
        for batch in options.batches
    ]
    report.each(make_rows, options, units, "throughput")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.throughput import draw

        report.figure("throughput", draw(report.rows))


def _environment(devices: int) -> dict[str, str]:
    """Variables that give a process so many devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    visible = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(devices)))}
    return {**visible, **os.environ, "XLA_FLAGS": flags}


def _notes(options: Options, report: Report) -> None:
    report.note(
        "difference: of the poison from that of a loop; certified: the largest bound on the error "
        "of a hypergradient, as a share of it"
    )
    rates = {
        (row["dtype"], row["devices"], row["batch"]): row["attacks_per_second"]
        for row in report.rows
    }
    least, batch = min(options.devices), max(options.batches)
    for (dtype, devices, rows), rate in rates.items():
        if devices > least and rows == batch and rate:
            ratio = rate / rates[dtype, least, batch]
            report.note(f"{dtype}, {batch} attacks: {devices} devices {ratio:.2f} x {least}")


if __name__ == "__main__":
    _, given, batch, dtype, devices = sys.argv
    if hasattr(os, "sched_setaffinity"):  # before JAX starts its threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(devices) :])
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(given).items()}
    print(json.dumps(measure(Options(**fields), int(batch), dtype)))  # pyright: ignore
