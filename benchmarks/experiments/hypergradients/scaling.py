"""What a hypergradient costs on top of training, against the number of rows.

Ridge and logistic regression of made-up rows; the hypergradient of a validation loss in all rows,
labels, weights and the penalty at once.
"""

import dataclasses
import time
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.options import Count, at_least, check
from benchmarks.report import Report
from bilevel import Data
from bilevel.learners import AbstractLearner, Logistic, Ridge
from bilevel.losses import Logistic as LogisticLoss

VALIDATION = 1000
LEARNERS: dict[str, AbstractLearner] = {"ridge": Ridge(1e-3), "logistic": Logistic(1e-3)}


@dataclasses.dataclass(frozen=True)
class Options:
    """Sizes and repeats."""

    rows: Annotated[tuple[int, ...], at_least(2)] = (12_500, 25_000, 50_000, 100_000)
    """Numbers of training rows."""
    features: Count = 100
    """Number of features."""
    repeats: Count = 7
    """Repeats of each timing; the best one counts."""

    def __post_init__(self):
        check(self)


def made(rows: int, features: int) -> tuple[Data, Data]:
    """Training and validation rows, with labels that are partly noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows + VALIDATION, features))
    y = np.sign(x @ rng.normal(size=features) / features**0.5 + rng.normal(size=len(x)))
    return Data(x[:rows], y[:rows]), Data(x[rows:], y[rows:])


def value(parts, learner: AbstractLearner, validation: Data) -> tuple[jax.Array, jax.Array]:
    """Validation loss as a function of data and penalty, and the result of training."""
    data, l2 = parts
    fitted = eqx.tree_at(lambda s: s.l2, learner, l2).fit(data, throw=False)
    loss = LogisticLoss()(validation.y, fitted.model.decision(validation.x))
    return jnp.mean(loss), fitted.result


def _best(functions, repeats: int, *arguments) -> list[float]:
    """CPU seconds of each, taken in turns, so that load on the machine affects all of them."""
    times: list[list[float]] = [[] for _ in functions]
    for function in functions:
        jax.block_until_ready(function(*arguments))
    for _ in range(repeats):
        for function, taken in zip(functions, times, strict=True):
            begin = time.process_time()
            jax.block_until_ready(function(*arguments))
            taken.append(time.process_time() - begin)
    return [min(taken) for taken in times]


def run(options: Options, report: Report) -> None:
    """One row per learner and number of rows."""
    solve, gradient = eqx.filter_jit(value), eqx.filter_jit(eqx.filter_grad(value, has_aux=True))
    todo = [(name, rows) for name in LEARNERS for rows in options.rows]
    for name, rows in report.track(todo, "scaling"):
        if report.done(learner=name, rows=rows):
            continue
        train, validation = made(rows, options.features)
        arguments = (train, jnp.asarray(1e-3)), LEARNERS[name], validation
        training, both = _best((solve, gradient), options.repeats, *arguments)
        report.row(
            learner=name, rows=rows, training_ms=1e3 * training,
            hypergradient_ms=1e3 * (both - training), ratio=(both - training) / training,
        )  # fmt: skip
    report.note("CPU ms, compiling apart; the hypergradient is what it takes beyond training")
    if report.out is not None:
        from benchmarks.pictures.scaling import draw

        report.figure("scaling", draw(report.rows, options.features))
