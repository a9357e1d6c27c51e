"""Tuning a penalty per feature: stochastic bilevel methods beside the exact hypergradient.

Multinomial logistic regression on scikit-learn's 8 x 8 digits or on 5,000 MNIST digits; the outer
variable is one log l2 penalty per feature, the outer objective the cross-entropy of held-out rows.
The experiment of Dagréou, Ablin, Vaiter & Moreau (NeurIPS 2022), with data that need no download.

Every method takes its outer step size from the same short list, exact hypergradients that of Adam:
all are run, the lowest final objective is shown. The objective of a point is that of the solved
inner problem, worked out after the run; times are CPU seconds of the run alone, without compiling,
spread evenly over its steps. Suboptimality is measured from the best objective of all runs.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import bilevel
from benchmarks.options import at_least, between, check
from benchmarks.report import Report, UsageError
from bilevel.solvers import LBFGS
from bilevel.stochastic import F2SA, SABA, SOBA, AbstractMethod, AmIGO, StocBiO, StochasticBilevel
from bilevel.stochastic import minimize as descend

CLASSES, BOX, ROWS = 10, (-9.0, 0.0), 10
OUTER_STEPS = (1.0, 5.0, 25.0, 125.0)
FIRST, NEAR = -4.0, 0.05  # log l2 at the start; the share of its suboptimality to get under
EXACT_STEPS = (0.1, 0.3)  # of Adam, on the exact hypergradient


@dataclasses.dataclass(frozen=True)
class Options:
    """Which digits, and how long to run."""

    data: Literal["digits", "mnist"] = "digits"
    """1,797 digits of 64 pixels, or 5,000 of 784."""
    batch: Annotated[int, between(1, 512)] = 32
    """Rows in a mini-batch, of training and of held-out rows."""
    steps: Annotated[int, at_least(10 * ROWS)] = 20_000
    """Steps of SOBA and SABA; the methods with inner loops take a tenth."""
    exact_steps: Annotated[int, at_least(2)] = 40
    """Exact hypergradients."""
    seed: int = 0
    """Seed of the split and of the mini-batches."""

    def __post_init__(self):
        check(self)


class Curve(NamedTuple):
    """A run: CPU seconds, and the outer objective of the solved inner problem, at some points."""

    seconds: np.ndarray
    value: np.ndarray
    steps: int
    outer_step: float
    ended: str


def loss(z, w, rows):
    """Mean cross-entropy of the rows."""
    del z
    x, labels = rows
    return optax.softmax_cross_entropy_with_integer_labels(x @ w, labels).mean()


def penalised(z, w, rows):
    """The loss, with a penalty exp(z_j) on row j of w."""
    return loss(z, w, rows) + 0.5 * jnp.sum(jnp.exp(z)[:, None] * w * w)


def project(z):
    """Into the box that penalties are looked for in."""
    return jnp.clip(z, *BOX)


def load(options: Options) -> tuple[StochasticBilevel, float]:
    """The problem, and the Lipschitz constant of dG/dw without its penalty."""
    if options.data == "digits":
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        images = images / 16
    else:
        from benchmarks.data import mnist

        digits = mnist()
        images, labels = digits.images / 255, digits.labels
    order = np.random.default_rng(options.seed).permutation(len(labels))
    half = len(order) // 2 // options.batch * options.batch  # SABA needs equal parts
    if half == 0:
        raise UsageError(f"--batch: got {options.batch}, more than half of the {len(order)} rows")
    images = images - images.mean(axis=0)
    train, held = ((images[part], labels[part]) for part in (order[:half], order[half : 2 * half]))
    bound = float(0.5 * np.linalg.eigvalsh(train[0].T @ train[0] / half)[-1])
    problem = StochasticBilevel(penalised, loss, train, held, options.batch, options.batch)
    return problem, bound


def falling(size: float, steps: int) -> Callable[[Any], Any]:
    """Step sizes size / sqrt(1 + t / (steps / 20))."""
    return lambda step: size / jnp.sqrt(1 + step / (steps / 20))


def methods(steps: int) -> dict[str, tuple[AbstractMethod, int, bool]]:
    """Each method, its steps, and whether its step sizes fall."""
    few = steps // 10
    return {
        "SOBA": (SOBA(), steps, True),
        "SABA": (SABA(), steps, False),
        "AmIGO": (AmIGO(), few, True),
        "StocBiO": (StocBiO(), few, True),
        "F2SA": (F2SA(10.0, growth=100 / few), few, True),
    }


def trials(function: Callable, z: jax.Array, sizes: tuple[float, ...]) -> list[tuple]:
    """Per step size: the size, the result, and CPU seconds of the call without compiling."""
    compiled = jax.jit(function).lower(z, jnp.asarray(sizes[0])).compile()

    def trial(size):
        begin = time.process_time()
        result = jax.block_until_ready(compiled(z, jnp.asarray(size)))
        return size, result, time.process_time() - begin

    return [trial(size) for size in sizes]


def start(problem: StochasticBilevel) -> tuple[jax.Array, jax.Array]:
    """The first penalties, all alike, and weights of zero."""
    features = problem.inner_data[0].shape[1]
    return jnp.full(features, FIRST), jnp.zeros((features, CLASSES))


def stochastic(
    name: str, problem: StochasticBilevel, bound: float, judge: Callable, options: Options
) -> Curve:
    """A stochastic method at the best of its outer step sizes, by `judge(z, warm)`."""
    method, steps, falls = methods(options.steps)[name]
    z, w = start(problem)
    rate = 0.5 / (bound + np.exp(BOX[1]))

    def run(z, size):
        sizes = (rate, size)
        inner_step, outer_step = (falling(a, steps) for a in sizes) if falls else sizes
        return descend(
            problem, z, w, method=method, steps=steps, every=-(-steps // ROWS), project=project,
            inner_step=inner_step, adjoint_step=rate, outer_step=outer_step,
            key=jax.random.key(options.seed),
        )  # fmt: skip

    tried = trials(run, z, OUTER_STEPS)
    size, result, seconds = min(tried, key=lambda run: _or_inf(judge(run[1].z, run[1].w)[0]))
    path = [z, *result.history]
    values = []
    for z in path:
        value, (w, _) = judge(z, w)
        values.append(float(value))
    at = np.linspace(0, seconds, len(path))
    return Curve(at, np.asarray(values), int(result.steps), size, result.message)


def exact(problem: StochasticBilevel, options: Options) -> Curve:
    """Exact hypergradients at the best of Adam's step sizes, from the same start."""
    z, w = start(problem)
    objective = problem.exact(LBFGS(), w)
    steps = options.exact_steps

    def run(z, size):
        return bilevel.minimize(
            objective, z, optimizer=optax.adam(size), steps=steps, project=project,
            patience=steps, tol=0.0,
        )  # fmt: skip

    tried = trials(run, z, EXACT_STEPS)
    size, result, seconds = min(tried, key=lambda run: _or_inf(run[1].value))
    count = int(result.steps)
    at = seconds * np.arange(1, count + 1) / count
    return Curve(at, np.asarray(result.history[:count]), count, size, result.message)


def _or_inf(value) -> float:
    return float(np.nan_to_num(value, nan=np.inf))


@functools.cache
def _judged(options: Options) -> tuple[StochasticBilevel, float, Callable]:
    """The problem, the constant, and the objective of the solved inner problem, compiled once."""
    problem, bound = load(options)
    return problem, bound, jax.jit(problem.exact(LBFGS(), start(problem)[1]).evaluate)


def make_curve(options: Options, method: str) -> dict[str, Any]:
    """The run of a method at its best step size; rows compare it with the others."""
    problem, bound, judge = _judged(options)
    if method == "exact":
        curve = exact(problem, options)
    else:
        curve = stochastic(method, problem, bound, judge, options)
    return {"rows": [], "curve": curve._asdict()}


def run(options: Options, report: Report) -> None:
    """One row per method, at its best step size."""
    names = [*methods(options.steps), "exact"]
    made = report.each(make_curve, options, [{"method": name} for name in names], "stochastic")
    curves = {name: Curve(**m["curve"]) for name, m in zip(names, made, strict=True)}
    first = float(curves["exact"].value[0])
    best = min(float(np.nanmin(curve.value)) for curve in curves.values())
    for name, curve in curves.items():
        left = (curve.value - best) / (first - best)
        near = np.flatnonzero(left <= NEAR)
        report.row(
            method=name,
            steps=curve.steps,
            outer_step=curve.outer_step,
            cpu_s=curve.seconds[-1],
            cpu_s_to_5_percent=curve.seconds[near[0]] if near.size else None,
            objective=curve.value[-1],
            suboptimality=curve.value[-1] - best,
            share_of_start=left[-1],
        )
        if curve.ended.startswith("stopped"):
            report.note(f"{name}: {curve.ended}")
    if report.out is not None:
        from benchmarks.pictures.stochastic import draw

        drawn = {name: (curve.seconds, curve.value) for name, curve in curves.items()}
        report.figure("stochastic", draw(drawn, best))
