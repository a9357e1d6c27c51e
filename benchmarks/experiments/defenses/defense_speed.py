"""What TRIM costs: beside loops of scikit-learn and of NumPy, with a gradient, with restarts.

CPU milliseconds of one thread, compiling apart, the best of several turns. The loops start from all
rows and end where the set stays, as TRIM does; both are checked to end with the same rows.
"""

import dataclasses
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from sklearn import linear_model
from threadpoolctl import threadpool_limits

from attacks import b_flip
from benchmarks.data import house, pharm
from benchmarks.experiments.regression._poisoned_regression import poison_rows
from benchmarks.options import Count, Positives, Share, check
from benchmarks.report import Report
from bilevel import Data
from bilevel.learners import Ridge
from defenses import Trim

TABLES = {"house": house, "pharm": pharm}


@dataclasses.dataclass(frozen=True)
class Options:
    """Strengths, sizes and repeats."""

    alphas: Positives = (0.1, 10.0)
    """Strengths of ridge, as scikit-learn counts them."""
    rate: Share = 0.2
    """Share of poison among all rows: real ones with targets flipped."""
    train: Count = 300
    """Clean rows."""
    restarts: Count = 20
    """Random starts."""
    repeats: Count = 10
    """Repeats of each timing; the best one counts."""

    def __post_init__(self):
        check(self)


def loop(train: Callable, x: np.ndarray, y: np.ndarray, count: int) -> np.ndarray:
    """TRIM by hand; `train(x, y)` gives a prediction."""
    keep = np.ones(len(y), bool)
    while True:
        predict = train(x[keep], y[keep])
        new = np.zeros(len(y), bool)
        new[np.argsort((predict(x) - y) ** 2)[:count]] = True
        if np.array_equal(new, keep):
            return keep
        keep = new


def by_numpy(alpha: float) -> Callable:
    """Ridge by its normal equations."""

    def train(x, y):
        centre, level = x.mean(0), y.mean()
        rows = x - centre
        gram = rows.T @ rows
        gram.flat[:: len(gram) + 1] += alpha
        w = np.linalg.solve(gram, rows.T @ (y - level))
        return lambda at: (at - centre) @ w + level

    return train


def best(functions: dict[str, Callable], repeats: int) -> dict[str, float]:
    """CPU milliseconds of each, taken in turns."""
    taken = {name: np.inf for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            begin = time.process_time()
            jax.block_until_ready(function())
            if turn:  # the first compiles
                taken[name] = min(taken[name], 1e3 * (time.process_time() - begin))
    return taken


def run(options: Options, report: Report) -> None:
    """One row per set and strength."""
    units = [{"data": data, "alpha": alpha} for data in TABLES for alpha in options.alphas]
    report.each(make_rows, options, units, "defense-speed")
    report.note("CPU ms; the gradient is in all rows, of a mean square, on top of training")


def make_rows(options: Options, data: str, alpha: float) -> dict[str, list]:
    """The row of a set and strength."""
    table = TABLES[data]()
    train = table.split(options.train, 0, 0).train
    rng = np.random.default_rng(0)
    chosen = rng.choice(options.train, poison_rows(options.rate, options.train))
    x = np.concatenate([train.x, train.x[chosen]])
    y = np.concatenate([train.y, b_flip(jnp.asarray(train.y[chosen]))])
    order = rng.permutation(len(y))
    x, y = x[order], y[order]
    learner = Ridge(alpha / options.train)
    once = Trim(learner, options.rate)
    often = Trim(learner, options.rate, restarts=options.restarts)
    rows, target = Data(x, y), jnp.asarray(y)

    def error(x, defense):
        model = defense.fit(Data(x, y), throw=False).model
        return jnp.mean((model.decision(rows.x) - target) ** 2)

    fit = jax.jit(lambda x: once.fit(Data(x, y), throw=False).model)
    slope = jax.jit(jax.value_and_grad(lambda x: error(x, once)))
    many = jax.jit(lambda x: often.fit(Data(x, y), throw=False).model)

    def sklearn(x, y):
        return linear_model.Ridge(alpha, solver="cholesky").fit(x, y).predict

    kept, notes = np.asarray(once.inspect(rows).kept), []
    for train_by in (sklearn, by_numpy(alpha)):
        if not np.array_equal(loop(train_by, x, y, options.train), kept):
            notes.append(f"{data}, alpha {alpha:g}: a loop ended with other rows")
    functions = {
        "fit": lambda: fit(rows.x),
        "sklearn": lambda: loop(sklearn, x, y, options.train),
        "numpy": lambda: loop(by_numpy(alpha), x, y, options.train),
        "gradient": lambda: slope(rows.x),
        "restarts": lambda: many(rows.x),
    }
    with threadpool_limits(1):
        ms = best(functions, options.repeats)
    row = {
        "set": data, "alpha": alpha, "features": x.shape[1],
        "trainings": int(once.inspect(rows).trainings) + 1, "fit_ms": ms["fit"],
        "sklearn_ms": ms["sklearn"], "numpy_ms": ms["numpy"],
        "of_sklearn": ms["fit"] / ms["sklearn"], "of_numpy": ms["fit"] / ms["numpy"],
        "gradient_of_fit": (ms["gradient"] - ms["fit"]) / ms["fit"], "restarts_ms": ms["restarts"],
        "restarts_of_looped": ms["restarts"] / (ms["fit"] * (options.restarts + 1)),
    }  # fmt: skip
    return {"rows": [row], "notes": notes}
