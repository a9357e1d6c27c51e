"""What differentiating a training path costs: peak memory and time against the number of steps.

A tanh network, dense or convolutional, is trained by momentum on mini-batches of MNIST digits; the
gradient of its validation loss is taken in one l2 penalty per layer. Each figure comes from a
process of its own, pinned to one core, so that its peak memory is that of this gradient and of
nothing before it.
"""

import dataclasses
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from benchmarks.options import FRACTION, SOME, Count, Counts, Positive, check
from benchmarks.processes import alone, pin
from benchmarks.report import Report

Mode = Literal["forward", "full", "sqrt", "recursive", "reversible"]
MODES: dict[Mode, str] = {
    "forward": "training alone",
    "full": "full unrolling",
    "sqrt": "square-root checkpoints",
    "recursive": "recursive checkpoints",
    "reversible": "reversible, exact",
}
LEVELS: dict[str, int] = {"full": 1, "sqrt": 2, "recursive": 4}
MEGABYTE = 2.0**20


@dataclasses.dataclass(frozen=True)
class Options:
    """What to train, and how long."""

    steps: Counts = (10, 100, 1000)
    """Numbers of training steps."""
    modes: Annotated[tuple[Mode, ...], SOME] = tuple(MODES)
    """Ways to the gradient: forward (no gradient), full, sqrt, recursive, reversible."""
    network: Literal["dense", "convolutional"] = "dense"
    """dense, or the convolutional network `small` of 8 and 16 filters."""
    hidden: Counts = (110, 64)
    """Widths of the hidden layers of the dense network; the default one has 94,104 weights."""
    batch: Count = 50
    """Rows of a mini-batch."""
    rate: Positive = 0.05
    """Learning rate."""
    decay: Annotated[float, FRACTION] = 0.9
    """Decay of the velocity."""
    most: Count = 2000
    """Limit of memory in MB: of a gradient that needs more, the compiler's plan is reported."""
    seed: int = 0
    """Seed of the initial weights and the mini-batches."""

    def __post_init__(self):
        check(self)


def rows(options: Options, path: Path) -> None:
    """Draw the digits and write them to a file: reading the whole set takes more memory than
    many a gradient.
    """
    import numpy as np

    from benchmarks.data import mnist

    digits, rng = mnist(), np.random.default_rng(options.seed)
    drawn = rng.permutation(len(digits.labels))[:1500]
    np.savez(path, x=digits.images[drawn], y=digits.labels[drawn])


def gradient_of(mode: str, steps: int, options: Options, path: Path):
    """(function of the penalties, the penalties): the validation loss, or its gradient."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from bilevel import Data
    from bilevel.derivatives import BackGradient, Unroll
    from bilevel.learners import Network
    from bilevel.networks import MLP, small
    from bilevel.solvers import Momentum

    with np.load(path) as held:
        x, y = (held["x"] / 255.0).reshape(-1, 28, 28, 1), held["y"]
    train, held_out = Data(x[:1000], y[:1000]), Data(x[1000:], y[1000:])
    net = Network(
        MLP(options.hidden, 10) if options.network == "dense" else small(10),
        batch=options.batch,
        solver=Momentum(steps=steps, rate=options.rate, decay=options.decay),
        derivative=Unroll(LEVELS[mode]) if mode in LEVELS else BackGradient(),
    )
    key = jax.random.key(options.seed)
    layers = list(net.architecture.init(key, jax.ShapeDtypeStruct(x.shape[1:], x.dtype)))

    def outer(log_l2):
        strengths = dict(zip(layers, jnp.exp(log_l2), strict=True))
        l2 = {name: {"weight": l2, "bias": 0.0} for name, l2 in strengths.items()}
        trained = dataclasses.replace(net, l2=l2).fit(train, key=key, throw=False)
        return jnp.mean(net.loss(held_out.y, trained.model.decision(held_out.x)))

    return outer if mode == "forward" else jax.grad(outer), jnp.full(len(layers), -7.0)


def measure(mode: str, steps: int, options: Options, path: Path) -> dict[str, Any]:
    """Cells of a row, from this process: it should have done nothing else before."""
    import resource

    import jax

    function, at = gradient_of(mode, steps, options, path)
    compiled = jax.jit(function).lower(at).compile()
    plan = compiled.memory_analysis()
    planned = plan.temp_size_in_bytes / MEGABYTE if plan is not None else 0.0
    cells = {"planned_mb": planned, "peak_mb": None, "cpu_s": None, "answer": None}
    if planned <= options.most:
        started = time.process_time()
        answer = jax.block_until_ready(compiled(at))
        cells["cpu_s"] = time.process_time() - started
        # in KiB on Linux, in bytes on macOS
        unit = 1.0 if sys.platform == "darwin" else 1024.0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        cells |= {"peak_mb": peak / MEGABYTE, "answer": answer.ravel().tolist()}
    return cells


def in_a_process_of_its_own(mode: str, steps: int, options: Options, path: Path) -> dict[str, Any]:
    """`measure`, there."""
    given = json.dumps(dataclasses.asdict(options))
    module = "benchmarks.experiments.hypergradients.memory"
    return alone(module, mode, str(steps), given, str(path))


def make_rows(options: Options, steps: int) -> dict[str, list]:
    """The rows of all ways to a gradient through so many steps."""
    found, unrolled = [], None  # the first unrolled gradient: what the others are held against
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.npz"
        rows(options, path)
        for mode in (mode for mode in MODES if mode in options.modes):
            cells = in_a_process_of_its_own(mode, steps, options, path)
            answer, error = cells.pop("answer"), None
            if answer is not None and unrolled is not None:
                error = _difference(answer, unrolled)
            elif answer is not None and mode in LEVELS:
                unrolled = answer
            found.append({"mode": mode, "steps": steps, **cells, "difference": error})
    return {"rows": found}


def run(options: Options, report: Report) -> None:
    """One row per way and number of steps."""
    report.each(make_rows, options, [{"steps": steps} for steps in options.steps], "memory")
    _summary(report)
    if report.out is not None:
        from benchmarks.pictures.memory import draw

        report.figure("memory", draw(report.rows))


def _summary(report: Report) -> None:
    ran = {(r["mode"], r["steps"]): r for r in report.rows if r["cpu_s"] is not None}
    for mode, name in MODES.items():
        lengths = sorted(steps for m, steps in ran if m == mode)
        if mode == "forward" or not lengths:
            continue
        first, last = ran[mode, lengths[0]], ran[mode, lengths[-1]]
        text = (
            f"{name}: peak memory at {lengths[-1]} steps {last['peak_mb'] / first['peak_mb']:.2f}"
        )
        text += f" x that at {lengths[0]}"
        forward = ran.get(("forward", lengths[-1]))
        if forward is not None:
            text += f"; {last['cpu_s'] / forward['cpu_s']:.2f} x the forward pass"
        errors = [row["difference"] for (m, _), row in ran.items() if m == mode]
        worst = max((error for error in errors if error is not None), default=None)
        if worst is not None:
            text += f"; within {worst:.1e} of the first unrolled gradient at every length"
        report.note(text)


def _difference(answer: list[float], reference: list[float]) -> float:
    """Relative, in the Euclidean norm."""
    return math.dist(answer, reference) / math.hypot(*reference)


if __name__ == "__main__":
    pin()
    import jax

    jax.config.update("jax_enable_x64", True)
    _, mode, steps, given, path = sys.argv
    print(json.dumps(measure(mode, int(steps), Options(**json.loads(given)), Path(path))))
