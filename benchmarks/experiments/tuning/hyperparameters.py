"""The core without any attack: one l2 penalty per feature, tuned by hypergradient on real data.

Logistic regression; the loss on held-out folds is descended in the logarithms of the penalties, all
folds in one inner problem. Beside it: a grid of single penalties, cross-validated by scikit-learn,
and a single penalty tuned by hypergradient. Each is trained again on all rows and judged on test
rows that took no part: many penalties can overfit the folds. CPU seconds are warm, scikit-learn's
on one thread.
"""

import dataclasses
import time
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import threadpoolctl
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.preprocessing import StandardScaler

import bilevel
from benchmarks.options import Count, at_least, check
from benchmarks.report import Report, band
from bilevel import Bilevel, Optimized
from bilevel.problems import Smooth
from bilevel.solvers import Newton

Name = Literal["breast-cancer", "digits"]
METHODS = ("grid", "one penalty", "one per feature")
BOUNDS = -12.0, 4.0
"""Of the logarithm of a penalty."""
START = np.log(1e-2)


@dataclasses.dataclass(frozen=True)
class Options:
    """Data, splits, folds and steps."""

    data: Name = "breast-cancer"
    """Benign or malignant (30 features); digits: five and above, or below (64 pixels)."""
    splits: Count = 10
    """Random halves of the data: one to train on, one to test."""
    folds: Annotated[int, at_least(2)] = 5
    """Parts of the training half, each held out once."""
    grid: Annotated[int, at_least(2)] = 25
    """Single penalties that the grid search tries."""
    steps: Count = 60
    """Largest number of hypergradient steps."""
    seed: int = 0
    """Seed of the first split; the others take the following ones."""

    def __post_init__(self):
        check(self)


class Split(NamedTuple):
    """Rows with a leading column of ones, labels -1 and 1, and which fold holds a row out."""

    rows: Any
    labels: Any
    fold: Any
    test_rows: Any
    test_labels: Any


def split(name: Name, seed: int, folds: int) -> Split:
    """Half to train on and half to test, scaled by the training rows."""
    x, target = (load_breast_cancer if name == "breast-cancer" else load_digits)(return_X_y=True)
    y = np.where(target > (0 if name == "breast-cancer" else 4), 1.0, -1.0)
    x, test, labels, test_labels = train_test_split(
        x, y, test_size=0.5, random_state=seed, stratify=y
    )
    fold = np.zeros(len(x), dtype=int)
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, labels)
    for number, (_, held) in enumerate(parts):
        fold[held] = number
    scaler = StandardScaler().fit(x)

    def ready(x):
        return np.column_stack([np.ones(len(x)), scaler.transform(x)])

    return Split(ready(x), labels, fold, ready(test), test_labels)


def losses(w: jax.Array, rows: jax.Array, labels: jax.Array) -> jax.Array:
    """Logistic losses of each row (last axis) under each of some weights (leading axes)."""
    return jax.nn.softplus(-(w @ (labels[:, None] * rows).T))


def training(w: jax.Array, args: Any) -> jax.Array:
    """Sum over folds of the mean loss of their rows and a penalty on all weights but the bias."""
    rows, labels, share, l2 = args
    fit = jnp.sum(share * losses(w, rows, labels))
    return fit + 0.5 * jnp.sum(l2 * w[..., 1:] ** 2)


def curvature(w: jax.Array, args: Any) -> jax.Array:
    """Hessian of `training`: a block X'DX for each fold."""
    rows, labels, share, l2 = args
    k, d = w.shape
    slope = jax.nn.sigmoid(w @ (labels[:, None] * rows).T)
    blocks = jnp.einsum("ki,ip,iq->kpq", share * slope * (1 - slope), rows, rows)
    places = jnp.arange(1, d)
    blocks = blocks.at[:, places, places].add(l2)
    return jnp.einsum("kl,kpq->kplq", jnp.eye(k), blocks).reshape(k * d, k * d)


def tuning(data: Split, held: jax.Array) -> Bilevel:
    """Loss on held-out folds as a function of the logarithms of the penalties, one or d of them."""
    k, d = held.shape[0], data.rows.shape[1] - 1
    share = (1 - held) / jnp.sum(1 - held, axis=1, keepdims=True)

    def inner(z):
        l2 = jnp.broadcast_to(jnp.exp(z), (k, d))
        return Smooth(
            training, jnp.zeros((k, d + 1)), (data.rows, data.labels, share, l2), curvature
        )

    def outer(z, value):
        del z
        return jnp.sum(held * losses(value, data.rows, data.labels)) / jnp.sum(held)

    return Bilevel(inner, outer, Newton())


def project(z: jax.Array) -> jax.Array:
    """Into the interval that penalties are looked for in."""
    return jnp.clip(z, *BOUNDS)


def tuned(objective: Bilevel, z: jax.Array, steps: int) -> Optimized:
    """Descend from z."""
    adam = optax.adam(0.3)
    return bilevel.minimize(objective, z, optimizer=adam, project=project, steps=steps)


def trained(data: Split, l2: NDArray) -> NDArray:
    """Weights from all training rows."""
    n, d = data.rows.shape
    args = data.rows, data.labels, jnp.full(n, 1 / n), jnp.broadcast_to(l2, d - 1)
    problem = Smooth(training, jnp.zeros(d), jax.tree.map(jnp.asarray, args))
    return np.asarray(bilevel.argmin(problem, solver=Newton()).value)


def outcome(data: Split, log_l2: NDArray) -> dict[str, float]:
    """Test loss and error, and the range of the penalties."""
    margin = data.test_labels * (data.test_rows @ trained(data, np.exp(log_l2)))
    return {
        "test_loss": float(np.mean(np.logaddexp(0, -margin))),
        "test_err": float(np.mean(margin <= 0)),
        "least_l2": float(np.exp(np.min(log_l2))),
        "most_l2": float(np.exp(np.max(log_l2))),
    }


def by_grid(data: Split, count: int) -> dict[str, Any]:
    """Cells of a row: scikit-learn on every fold, for every penalty of a grid."""
    folds = int(data.fold.max()) + 1
    grid = np.linspace(*BOUNDS, count)
    scores = []
    begun = time.process_time()
    with threadpoolctl.threadpool_limits(1):
        for log_l2 in grid:
            total = 0.0
            for number in range(folds):
                held = data.fold == number
                rows, labels = data.rows[~held], data.labels[~held]
                C = np.exp(-log_l2) / len(rows)
                model = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-8)
                model.fit(rows[:, 1:], labels)
                margin = data.labels[held] * model.decision_function(data.rows[held, 1:])
                total += float(np.sum(np.logaddexp(0, -margin)))
            scores.append(total / len(data.labels))
    seconds = time.process_time() - begun
    best = int(np.argmin(scores))
    return {
        "held_out_loss": scores[best],
        **outcome(data, grid[best : best + 1]),
        "trainings": folds * count,
        "cpu_seconds": seconds,
        "compile_seconds": 0.0,
    }


def by_hypergradient(data: Split, shape: tuple[int, ...], steps: int) -> dict[str, Any]:
    """Cells of a row: tune, and time it again when it is compiled."""
    folds = int(data.fold.max()) + 1
    held = jnp.asarray(np.arange(folds)[:, None] == data.fold, dtype=float)
    objective = tuning(jax.tree.map(jnp.asarray, data), held)
    start = jnp.full(shape, START)

    def timed():
        begun = time.process_time()
        result = jax.block_until_ready(tuned(objective, start, steps))
        return result, time.process_time() - begun

    (_, first), (result, seconds) = timed(), timed()
    return {
        "held_out_loss": float(result.value),
        **outcome(data, np.atleast_1d(np.asarray(result.z))),
        "trainings": folds * int(result.steps),
        "cpu_seconds": seconds,
        "compile_seconds": max(first - seconds, 0.0),
    }


def make_rows(options: Options, number: int) -> dict[str, list]:
    """The rows of all methods on a split."""
    data = split(options.data, options.seed + number, options.folds)
    d = data.rows.shape[1] - 1
    found = (
        by_grid(data, options.grid),
        by_hypergradient(data, (), options.steps),
        by_hypergradient(data, (d,), options.steps),
    )
    return {
        "rows": [
            {"split": number, "method": method, **cells}
            for method, cells in zip(METHODS, found, strict=True)
        ]
    }


def run(options: Options, report: Report) -> None:
    """A row per split and method."""
    units = [{"number": number} for number in range(options.splits)]
    report.each(make_rows, options, units, "hyperparameters")
    for method in METHODS:
        rows = [row for row in report.rows if row["method"] == method]
        held, test, seconds = (
            band([row[cell] for row in rows], digits)
            for cell, digits in (("held_out_loss", 4), ("test_loss", 4), ("cpu_seconds", 3))
        )
        report.note(
            f"{method}: held-out loss {held}, test loss {test}, test error "
            f"{band([100 * row['test_err'] for row in rows])} %, {seconds} CPU s; "
            f"{len(rows)} splits"
        )
    if report.out is not None:
        from benchmarks.pictures.hyperparameters import draw

        report.figure("hyperparameters", draw(report.rows, METHODS))
