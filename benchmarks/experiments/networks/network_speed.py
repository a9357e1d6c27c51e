"""Training networks and differentiating their training: time beside loops of flax and optax.

4,000 digits of MNIST in mini-batches, as one program (ours) and as people write it: a jitted step
of a flax module and an optax optimiser in a Python loop, or in `lax.scan`; and 16 members at once.
Then the hypergradient of a validation loss in poison digits. Every figure comes from a process of
its own on one core; compiling is apart.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from benchmarks.options import SOME, Count, Counts, check
from benchmarks.processes import alone, pin
from benchmarks.report import Report

Architecture = Literal["dense", "small", "lenet"]
Way = Literal["ours", "flax loop", "flax scan"]
RATE, DECAY, TRAIN, UNITS = 0.1, 0.9, 4000, 32
"""Step length and momentum of the training, its digits, units of the dense network."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Networks, sizes, repeats."""

    networks: Annotated[tuple[Architecture, ...], SOME] = ("dense", "small", "lenet")
    """dense (32 units), small (8 and 16 filters, stride 2), lenet (16 and 32 filters, pools)."""
    members: Counts = (1, 16)
    """Numbers of networks trained at once, on the same digits from other initial weights."""
    batch: Count = 100
    """Digits of a mini-batch."""
    passes: Count = 1
    """Passes over the digits."""
    length: Count = 100
    """Steps of the training that is differentiated, of 100 digits at once."""
    repeats: Count = 3
    """Repeats of each timing; the best one counts."""

    def __post_init__(self):
        check(self)


def digits():
    """Training images, labels, and those of validation, in float32."""
    import numpy as np

    from benchmarks.data import mnist

    held = mnist()
    order = np.random.default_rng(0).permutation(len(held.labels))
    x = (held.images / 255.0).astype(np.float32).reshape(-1, 28, 28, 1)[order]
    y = held.labels.astype(np.int32)[order]
    return (x[:TRAIN], y[:TRAIN]), (x[TRAIN:], y[TRAIN:])


def ours(name: Architecture, options: Options, derivative=None):
    """The learner."""
    import optax

    from bilevel.derivatives import Unroll
    from bilevel.learners import Network
    from bilevel.networks import MLP, lenet, small
    from bilevel.solvers import Descent

    architectures = {"dense": MLP((UNITS,), 10), "small": small(10), "lenet": lenet(10)}
    if derivative is not None:  # of a training of 100 digits at once
        batch, steps = None, options.length
    else:
        batch, steps = options.batch, options.passes * (TRAIN // options.batch)
    solver = Descent(optax.sgd(RATE, momentum=DECAY), steps)
    return Network(
        architectures[name], batch=batch, solver=solver, derivative=derivative or Unroll(2)
    )


def training(name: Architecture, options: Options, members: int) -> Callable[[], Any]:
    """Our training of all members: () -> the decisions of the first on the validation digits."""
    import jax

    from bilevel import Data
    from bilevel.learners import ensemble
    from bilevel.tools import unstacked

    (x, y), held = digits()
    learner, data = ours(name, options), Data(x, y)
    keys = jax.random.split(jax.random.key(0), members)
    size = 8 if name == "dense" and members > 1 else None

    def run():
        if members == 1:
            return learner.fit(data, key=keys[0]).model.decision(held[0])
        return unstacked(ensemble(learner, data, keys, size).model)[0].decision(held[0])

    return run


def _module(name: Architecture) -> Any:
    """The same network as a flax module."""
    import flax.linen as nn
    import jax

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            if name == "dense":
                x = jax.nn.tanh(nn.Dense(UNITS)(x.reshape(len(x), -1)))
            elif name == "small":
                for filters in (8, 16):
                    x = jax.nn.tanh(nn.Conv(filters, (5, 5), (2, 2), "VALID")(x))
                x = jax.nn.tanh(nn.Dense(32)(x.reshape(len(x), -1)))
            else:
                for filters in (16, 32):
                    x = jax.nn.relu(nn.Conv(filters, (5, 5), padding="VALID")(x))
                    x = nn.avg_pool(x, (2, 2), (2, 2))
                x = jax.nn.relu(nn.Dense(512)(x.reshape(len(x), -1)))
            return nn.Dense(10)(x)

    return Net()


def flax_training(name: Architecture, way: Way, options: Options, members: int):
    """The same training by flax and optax."""
    import jax
    import jax.numpy as jnp
    import optax

    (x, y), held = digits()
    x, y = jnp.asarray(x), jnp.asarray(y)
    module, optimizer = _module(name), optax.sgd(RATE, momentum=DECAY)

    def loss(w, rows):
        logits = module.apply(w, x[rows])
        return optax.softmax_cross_entropy_with_integer_labels(logits, y[rows]).mean()

    def step(state, rows):
        w, memory = state
        updates, memory = optimizer.update(jax.grad(loss)(w, rows), memory, w)
        return (optax.apply_updates(w, updates), memory), None

    def begin(key):
        w = module.init(key, x[:1])
        return w, optimizer.init(w)

    def order(key):
        size = len(x) // options.batch
        passes = [
            jax.random.permutation(k, len(x)).reshape(size, options.batch)
            for k in jax.random.split(key, options.passes)
        ]
        return jnp.concatenate(passes)

    def each(function):  # one member needs no vmap
        return jax.jit(function if members == 1 else jax.vmap(function))

    keys = jax.random.split(jax.random.key(0), members)
    keys = keys[0] if members == 1 else keys
    prepare, one = each(lambda key: (begin(key), order(key))), each(step)
    whole = each(lambda state, rows: jax.lax.scan(step, state, rows)[0])

    def run():
        state, rows = prepare(keys)
        if way == "flax scan":
            state = whole(state, rows)
        else:
            for t in range(rows.shape[-2]):
                state, _ = one(state, rows[..., t, :])
        w = state[0] if members == 1 else jax.tree.map(lambda leaf: leaf[0], state[0])
        return module.apply(w, held[0])

    return run


def hypergradient(name: Architecture, options: Options, levels: int) -> Callable[[], Any]:
    """The gradient of the loss on 400 validation digits in ten of 100 training digits."""
    import jax

    import attacks
    from bilevel import Data
    from bilevel.derivatives import Unroll

    (x, y), held = digits()
    learner = ours(name, options, Unroll(levels))
    reach = attacks.Insert(y[90:100], attacks.Box(0.0, 1.0))
    goal = attacks.indiscriminate(held[0][:400], held[1][:400], learner.loss)
    attack = attacks.compose(learner, reach, goal, Data(x[:90], y[:90]), key=jax.random.key(0))
    gradient = jax.jit(jax.value_and_grad(attack))
    return partial(gradient, jax.numpy.asarray(x[90:100]))


def measure(what: str, name: Architecture, options: Options, count: int) -> dict[str, Any]:
    """Cells of a row, from this process: it should have done nothing else before."""
    import jax
    import numpy as np

    if what == "hypergradient":
        run = hypergradient(name, options, count)
    elif what == "ours":
        run = training(name, options, count)
    else:
        run = flax_training(name, what, options, count)  # pyright: ignore[reportArgumentType]
    times, result = [], None
    for _ in range(1 + options.repeats):
        begin = time.process_time()
        result = jax.block_until_ready(run())
        times.append(time.process_time() - begin)
    seconds = min(times[1:])
    cells = {"cpu_seconds": seconds, "compile_seconds": max(times[0] - seconds, 0.0)}
    if what != "hypergradient":
        _, (_, labels) = digits()
        cells["test_err"] = float(np.mean(np.argmax(np.asarray(result), 1) != labels))
    return cells


def make_rows(options: Options, what: str, name: Architecture, count: int) -> dict[str, list]:
    """The row of a network, way and number of members."""
    given = json.dumps(dataclasses.asdict(options))
    cells = alone("benchmarks.experiments.networks.network_speed", what, name, given, str(count))
    steps = options.length
    if what != "hypergradient":
        steps = count * options.passes * (TRAIN // options.batch)
    row = {
        "network": name, "way": what, "count": count,
        "steps_per_second": steps / cells["cpu_seconds"], "test_err": None, **cells,
    }  # fmt: skip
    return {"rows": [row]}


def run(options: Options, report: Report) -> None:
    """One row per network, way and number of members (of a hypergradient: levels of `Unroll`)."""
    units = [
        {"what": what, "name": name, "count": count}
        for name in options.networks
        for what, counts in (
            ("ours", options.members), ("flax loop", options.members),
            ("flax scan", options.members), ("hypergradient", (1, 2)),
        )
        for count in counts
    ]  # fmt: skip
    report.each(make_rows, options, units, "network-speed")
    _notes(options, report)


def _notes(options: Options, report: Report) -> None:
    seconds = {(r["network"], r["way"], r["count"]): r["cpu_seconds"] for r in report.rows}
    for name in options.networks:
        for count in options.members:
            mine = seconds[name, "ours", count]
            others = ", ".join(
                f"{way} {seconds[name, way, count] / mine:.2f}"
                for way in ("flax loop", "flax scan")
            )
            report.note(f"{name}, {count} at once: CPU time as multiples of ours: {others}")
        if 1 in options.members:
            for count in set(options.members) - {1}:
                ratio = seconds[name, "ours", count] / seconds[name, "ours", 1]
                report.note(f"{name}: {count} members take {ratio:.1f} x the time of one")


if __name__ == "__main__":
    pin()
    _, what, name, given, count = sys.argv
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(given).items()}
    print(json.dumps(measure(what, name, Options(**fields), int(count))))  # pyright: ignore
