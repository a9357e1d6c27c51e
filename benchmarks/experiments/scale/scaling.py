"""What training and its hypergradient cost against the number of rows, with fitted exponents.

Made-up rows; the hypergradient of a validation loss in all rows, labels, weights and the strength
of regularisation at once. Beside the SVM liblinear's time, and by how much its objective exceeds
ours: it penalises the bias a little and ends before it has converged.

Memory is that of training and hypergradient beyond the rows and the compiled program, as a multiple
of the bytes of the training rows: the rise of the resident memory of a fresh process at its peak,
and what the compiler plans for temporary arrays and results. The gradient in all rows is 1.
"""

import dataclasses
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from benchmarks.options import SOME, Count, at_least, check
from benchmarks.processes import alone, pin, risen
from benchmarks.report import Report
from benchmarks.rows import Row, where
from bilevel import Data
from bilevel.learners import SVM, AbstractLearner, Huber, Lasso, Logistic, Ridge
from bilevel.losses import Logistic as LogisticLoss

MODULE = "benchmarks.experiments.scale.scaling"
VALIDATION = 1000
SWEEPS = 300  # of liblinear over the rows, at most


class Kind(NamedTuple):
    """A learner as a function of its strength, and its strength."""

    make: Callable[[jax.Array], AbstractLearner]
    strength: float


Name = Literal["ridge", "huber", "logistic", "lasso", "svm"]
LEARNERS: dict[Name, Kind] = {
    "ridge": Kind(Ridge, 1e-3),
    "huber": Kind(lambda s: Huber(s, 0.5), 1e-3),
    "logistic": Kind(Logistic, 1e-3),
    "lasso": Kind(Lasso, 1e-2),
    "svm": Kind(SVM, 1.0),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Learners, sizes and repeats."""

    learners: Annotated[tuple[Name, ...], SOME] = tuple(LEARNERS)
    """Who is trained."""
    rows: Annotated[tuple[int, ...], at_least(2)] = (1_000, 10_000, 100_000)
    """Numbers of training rows."""
    features: Count = 100
    """Number of features."""
    repeats: Count = 3
    """Repeats of each timing; the best one counts."""

    def __post_init__(self):
        check(self)


def made(rows: int, features: int) -> tuple[Data, Data]:
    """Training and validation rows, with labels that are partly noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows + VALIDATION, features))
    y = np.sign(x @ rng.normal(size=features) / features**0.5 + rng.normal(size=len(x)))
    return Data(x[:rows], y[:rows]), Data(x[rows:], y[rows:])


def value(parts, make, validation: Data) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Validation loss as a function of data and strength, and decisions on the training rows."""
    data, strength = parts
    fitted = make(strength).fit(data, throw=False)
    loss = LogisticLoss()(validation.y, fitted.model.decision(validation.x))
    return jnp.mean(loss), (fitted.result, fitted.model.decision(data.x))


def seconds(call: Callable[[], object], repeats: int) -> float:
    """CPU seconds of a call, the least of some."""
    taken = []
    for _ in range(repeats):
        begin = time.process_time()
        jax.block_until_ready(call())
        taken.append(time.process_time() - begin)
    return min(taken)


def measure(learner: Name, rows: int, features: int) -> dict[str, float | None]:
    """Memory, from this process: it should have done nothing else before."""
    make, strength = LEARNERS[learner]
    train, validation = made(rows, features)
    data = sum(leaf.nbytes for leaf in jax.tree.leaves(train))
    arguments = (train, jnp.asarray(strength)), make, validation
    program: Any = eqx.filter_jit(eqx.filter_grad(value, has_aux=True))
    gradient = program.lower(*arguments).compile()
    plan = gradient.compiled.memory_analysis()
    rise = risen(lambda: jax.block_until_ready(gradient(*arguments)))
    return {
        "planned_of_data": (plan.temp_size_in_bytes + plan.output_size_in_bytes) / data,
        "peak_of_data": None if rise is None else rise / data,
    }


def hinges(C: float, w: np.ndarray, decisions: np.ndarray, y: np.ndarray) -> float:
    """The objective of an SVM."""
    return float(w @ w / 2 + C * np.sum(np.maximum(0, 1 - y * decisions)))


def beside_liblinear(data: Data, C: float, decisions: np.ndarray) -> dict[str, float]:
    """Its CPU time, and its objective above ours, relative to ours."""
    x, y = np.asarray(data.x), np.asarray(data.y)
    peer = LinearSVC(
        C=C, loss="hinge", tol=1e-8, max_iter=SWEEPS, intercept_scaling=10, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        taken = seconds(lambda: peer.fit(x, y) and None, 1)
    sides = np.column_stack([x, np.ones(len(x))])
    w = np.linalg.lstsq(sides, decisions, rcond=None)[0][:-1]
    ours = hinges(C, w, decisions, y)
    theirs = hinges(C, peer.coef_[0], peer.decision_function(x), y)
    return {"liblinear_ms": 1e3 * taken, "liblinear_excess": (theirs - ours) / ours}


def exponent(rows: Sequence[Row], cell: str) -> float:
    """Of the power of the number of rows that a time grows by, fitted to logarithms."""
    count, taken = np.log([[row["rows"], row[cell]] for row in rows]).T
    return float(np.polyfit(count, taken, 1)[0])


def make_rows(options: Options, learner: Name, rows: int) -> dict[str, list]:
    """The row of a learner and number of rows."""
    solve, gradient = eqx.filter_jit(value), eqx.filter_jit(eqx.filter_grad(value, has_aux=True))
    make, strength = LEARNERS[learner]
    train, validation = made(rows, options.features)
    arguments = (train, jnp.asarray(strength)), make, validation
    _, (result, decisions) = solve(*arguments)
    gradient(*arguments)
    training = seconds(lambda: solve(*arguments), options.repeats)
    both = seconds(lambda: gradient(*arguments), options.repeats)
    more = beside_liblinear(train, strength, np.asarray(decisions)) if learner == "svm" else {}
    row = {
        "learner": learner, "rows": rows, "solved": int(result) == 0,
        "training_ms": 1e3 * training, "hypergradient_ms": 1e3 * (both - training),
        "ratio": (both - training) / training,
        **alone(MODULE, learner, str(rows), str(options.features)), **more,
    }  # fmt: skip
    return {"rows": [row]}


def run(options: Options, report: Report) -> None:
    """One row per learner and number of rows."""
    units = [{"learner": name, "rows": rows} for name in options.learners for rows in options.rows]
    report.each(make_rows, options, units, "scaling")
    report.note("CPU ms, compiling apart; the hypergradient is what it takes beyond training")
    for name in options.learners:
        found = where(report.rows, learner=name)
        if len(found) > 1:
            report.note(
                f"{name}: training grows as n^{exponent(found, 'training_ms'):.2f}, training and "
                f"hypergradient as n^{exponent([_both(r) for r in found], 'both_ms'):.2f}"
            )
    if report.out is not None:
        from benchmarks.pictures.scaling import draw

        report.figure("scaling", draw(report.rows, options.features))


def _both(row: Row) -> Row:
    return {**row, "both_ms": row["training_ms"] + row["hypergradient_ms"]}


if __name__ == "__main__":
    pin()
    jax.config.update("jax_enable_x64", True)
    _, learner, rows, features = sys.argv
    print(json.dumps(measure(learner, int(rows), int(features))))  # pyright: ignore
