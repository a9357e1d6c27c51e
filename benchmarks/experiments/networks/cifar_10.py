"""A residual network on CIFAR-10 without poison: the victim of attacks on images.

Standardised weights and group norms in place of batch norms, whose statistics are no function of
one training's rows; shifted and mirrored images; momentum with a rate that rises and falls once.
All seeds train as one program, their keys spread over all devices. It is made for an accelerator;
on a CPU `--rows` takes fewer images.
"""

import dataclasses

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import PRNGKeyArray

from benchmarks.augment import augmented
from benchmarks.clock import timed
from benchmarks.data import cifar10
from benchmarks.options import Count, Counts, Positive, check
from benchmarks.report import Report, UsageError
from bilevel import Data
from bilevel.derivatives import Unroll
from bilevel.learners import Network, ensemble
from bilevel.networks import ResNet
from bilevel.solvers import Descent
from bilevel.tools import unstacked

PART = 1000
"""Test images that are classified at once."""


@dataclasses.dataclass(frozen=True)
class Options:
    """The network and its training."""

    widths: Counts = (64, 128, 256)
    """Channels of each stage of residual blocks."""
    blocks: Count = 1
    """Blocks per stage; widths 64 128 256 512 with 2 blocks have the shape of ResNet-18."""
    passes: Count = 30
    """Passes over the training images."""
    batch: Count = 128
    """Images of a mini-batch."""
    rate: Positive = 0.2
    """Largest step length; momentum is .9."""
    l2: Positive = 5e-4
    """Strength of the penalty on all weights."""
    seeds: Count = 1
    """Networks that train at once."""
    rows: int | None = None
    """Training images; by default all."""

    def __post_init__(self):
        check(self)
        if self.rows is not None and self.rows < self.batch:
            raise UsageError(f"--rows: got {self.rows}, expected at least --batch, {self.batch}")


def victim(options: Options, rows: int) -> Network:
    """The network and its training on so many images."""
    steps = options.passes * (rows // options.batch)
    rate = optax.cosine_onecycle_schedule(max(steps, 2), options.rate, pct_start=0.2)
    return Network(
        ResNet(options.widths, options.blocks),
        l2=options.l2,
        batch=options.batch,
        augment=augmented,
        solver=Descent(optax.sgd(rate, momentum=0.9, nesterov=True), steps),
        derivative=Unroll(2),
    )


def spread(keys: PRNGKeyArray) -> PRNGKeyArray:
    """The keys over all devices, as far as their numbers allow."""
    devices = max(d for d in range(1, jax.device_count() + 1) if len(keys) % d == 0)
    mesh = jax.make_mesh((devices,), ("members",), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.device_put(keys, NamedSharding(mesh, PartitionSpec("members")))


def make_rows(options: Options) -> dict[str, list]:
    """The rows of all seeds, which train as one program."""
    train, test = cifar10()
    chosen = np.random.default_rng(0).permutation(len(train.y))[: options.rows]
    data = Data((train.x[chosen] / 255.0).astype(np.float32), train.y[chosen])
    learner = victim(options, data.rows)
    keys = spread(jax.random.split(jax.random.key(0), options.seeds))
    fitted, clock, _ = timed(lambda: ensemble(learner, data, keys, options.seeds))
    rows = []
    for seed, model in enumerate(unstacked(fitted.model)):
        wrong = [
            np.asarray(model.predict((test.x[a : a + PART] / 255.0).astype(np.float32)))
            != test.y[a : a + PART]
            for a in range(0, len(test.y), PART)
        ]
        rows.append({
            "seed": seed, "rows": data.rows, "test_err": float(np.mean(np.concatenate(wrong))),
            "seconds": clock / options.seeds, "message": fitted.message,
        })  # fmt: skip
    device = jax.devices()[0]
    note = f"{jax.device_count()} x {device.device_kind}; seconds include compiling"
    return {"rows": rows, "notes": [note]}


def run(options: Options, report: Report) -> None:
    """One row per seed."""
    report.each(make_rows, options, [{}], f"cifar-10, {options.seeds} at once")
