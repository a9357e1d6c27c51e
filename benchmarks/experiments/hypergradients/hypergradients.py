"""One hypergradient, every derivative: error, time and memory on four inner problems.

`logistic`: l2 penalty per feature, breast cancer. `svm`: one poison row, breast cancer. `lasso`:
the penalty and one row, diabetes. `network`: l2 penalty per layer of a small tanh network, digits.
The reference of each is its certified gradient with the least bound. Data are scikit-learn's.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.preprocessing import minmax_scale, scale

import attacks
from benchmarks.options import SOME, at_least, check
from benchmarks.report import Report
from bilevel import AbstractBilevel, Bilevel, Data, Method, argmin, compare, lag
from bilevel.derivatives import BackGradient, Forward, Implicit, Truncated, Unroll
from bilevel.learners import SVM
from bilevel.linear import CG, GMRES, Dense, Neumann, Nystrom
from bilevel.penalties import L1
from bilevel.problems import Composite, Smooth
from bilevel.solvers import (
    FISTA,
    LBFGS,
    Descent,
    Momentum,
    Newton,
    NewtonCG,
    ProjectedGradient,
    ProximalGradient,
)

Name = Literal["logistic", "svm", "lasso", "network"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Which problems, and how long to measure."""

    problems: Annotated[tuple[Name, ...], SOME] = ("logistic", "svm", "lasso", "network")
    """Inner problems to differentiate through."""
    seconds: Annotated[float, at_least(0)] = 0.5
    """CPU seconds to spend on repeats of each measurement."""
    steps: Annotated[int, at_least(10)] = 300
    """Number of unrolled iterations."""

    def __post_init__(self):
        check(self)


class Case(NamedTuple):
    """An objective, where to differentiate it, and how."""

    objective: AbstractBilevel
    z: PyTree
    methods: dict[str, Implicit | Method]


def along(path: Callable[..., PyTree], steps: int) -> dict[str, Method]:
    """What there is to do with a path that any optimiser walks."""
    return {
        f"unrolled {steps}": Method(path(steps), Unroll()),
        f"unrolled {steps}, checkpoints": Method(path(steps), Unroll(2)),
        f"truncated, last {steps // 10}": Method(path(steps), Truncated(steps // 10)),
        "one step": Method(path(steps), Truncated(1)),
    }


def logistic(steps: int) -> Case:
    """Held-out loss, by the logarithms of the penalties."""
    x, target = load_breast_cancer(return_X_y=True)
    x, y = jnp.asarray(scale(x)), jnp.where(jnp.asarray(target) == 1, 1.0, -1.0)

    def loss(w, log_l2):
        fit = jnp.mean(jax.nn.softplus(-y[:300] * (x[:300] @ w)))
        return fit + 0.5 * jnp.sum(jnp.exp(log_l2) * w**2)

    objective = Bilevel(
        inner_problem=lambda z: Smooth(loss, jnp.zeros(30), z),
        outer_objective=lambda z, w: jnp.mean(jax.nn.softplus(-y[300:] * (x[300:] @ w))),
        solver=Newton(),
    )
    rate, decay = 0.5, 230 / 256

    def path(count):
        return Descent(optimizer=optax.sgd(rate, momentum=decay), steps=count)

    return Case(
        objective,
        jnp.full(30, -4.0),
        {
            "implicit, factor": Implicit(),
            "implicit, LU": Implicit(Dense()),
            "implicit, CG": Implicit(CG(precondition=False)),
            "implicit, GMRES": Implicit(GMRES(precondition=False)),
            "Neumann 20": Implicit(Neumann(20)),
            "Neumann 200": Implicit(Neumann(200)),
            "Nystrom 10": Implicit(Nystrom(10, 1e-2)),
            **along(path, steps),
            "forward": Method(path(steps), Forward()),
            "back-gradient": Method(Momentum(steps=steps, rate=rate, decay=decay), BackGradient()),
        },
    )


def svm(steps: int) -> Case:
    """Validation hinge loss, by one poison row."""
    x, target = load_breast_cancer(return_X_y=True)
    x, y = minmax_scale(x), np.where(target == 1, 1.0, -1.0)
    reach = attacks.Insert(labels=jnp.ones(1), domain=attacks.Box(0.0, 1.0))
    goal = attacks.indiscriminate(x[100:300], y[100:300])
    attack = attacks.compose(SVM(C=1.0), reach, goal, Data(x[:100], y[:100]))
    z = jnp.asarray(x[300:][y[300:] < 0][:1])
    return Case(
        attack,
        z,
        {
            "implicit, factor": Implicit(),
            "implicit, LU": Implicit(Dense()),
            "implicit, GMRES": Implicit(GMRES()),
            **along(lambda count: ProjectedGradient(steps=count), 10 * steps),
        },
    )


def lasso(steps: int) -> Case:
    """Held-out squares, by the logarithm of the penalty and the first training row."""
    x, y = load_diabetes(return_X_y=True)
    x, y = jnp.asarray(scale(x)), jnp.asarray(scale(y))

    def loss(w, row):
        return 0.5 * jnp.mean((x[:200].at[0].set(row) @ w - y[:200]) ** 2)

    objective = Bilevel(
        inner_problem=lambda z: Composite(loss, L1(jnp.exp(z["log_l1"])), jnp.zeros(10), z["row"]),
        outer_objective=lambda z, w: 0.5 * jnp.mean((x[200:] @ w - y[200:]) ** 2),
        solver=FISTA(),
    )

    def path(count):
        return ProximalGradient(steps=count, rate=0.2)

    return Case(
        objective,
        {"log_l1": jnp.asarray(-3.0), "row": x[0]},
        {
            "implicit, on the support": Implicit(),
            "implicit, LU": Implicit(Dense()),
            "implicit, prox fixed point": Method(path(steps), Implicit()),
            **along(path, steps),
            "forward": Method(path(steps), Forward()),
        },
    )


def network(steps: int) -> Case:
    """Held-out loss of a tanh network, by the logarithms of the penalties of its layers.

    Training starts near a minimiser, so that all solvers mean the same one.
    """
    x, target = load_digits(return_X_y=True)
    x, y = jnp.asarray(x / 16), jnp.where(jnp.asarray(target) > 4, 1.0, -1.0)
    random = np.random.default_rng(0)
    start = {
        "in": jnp.asarray(random.normal(size=(64, 8)) / 8),
        "out": jnp.asarray(random.normal(size=8)),
    }

    def fit(w, x, y):
        return jnp.mean(jax.nn.softplus(-y * (jnp.tanh(x @ w["in"]) @ w["out"])))

    def loss(w, log_l2):
        squares = jax.tree.map(lambda s, leaf: jnp.exp(s) * jnp.sum(leaf**2), log_l2, w)
        return fit(w, x[:300], y[:300]) + 0.5 * (squares["in"] + squares["out"])

    z = {"in": jnp.asarray(-4.0), "out": jnp.asarray(-4.0)}
    adam = Descent(optimizer=optax.adam(1e-2), steps=2000)
    near = argmin(Smooth(loss, start, z), solver=adam).value
    objective = Bilevel(
        inner_problem=lambda z: Smooth(loss, near, z),
        outer_objective=lambda z, w: fit(w, x[300:900], y[300:900]),
        solver=LBFGS(),
    )
    rate, decay = 0.05, 230 / 256

    def path(count):
        return Descent(optimizer=optax.sgd(rate, momentum=decay), steps=count)

    return Case(
        objective,
        z,
        {
            "implicit, factor": Implicit(),
            "implicit, CG": Method(LBFGS(finish=NewtonCG()), Implicit(CG(precondition=False))),
            "Neumann 20": Implicit(Neumann(20)),
            "Nystrom 50": Implicit(Nystrom(50, 1e-3)),
            **along(path, steps),
            "forward": Method(path(steps), Forward()),
            "back-gradient": Method(Momentum(steps=steps, rate=rate, decay=decay), BackGradient()),
        },
    )


CASES: dict[Name, Callable[[int], Case]] = {
    "logistic": logistic,
    "svm": svm,
    "lasso": lasso,
    "network": network,
}


def make_rows(options: Options, problem: Name) -> dict[str, list]:
    """The rows of all derivatives on a problem."""
    case = CASES[problem](options.steps)
    study = compare(case.objective, case.z, case.methods, seconds=options.seconds)
    rows = [
        {
            "problem": problem,
            "derivative": row.name,
            "reference": row.name == study.reference,
            "error": row.error,
            "angle_degrees": row.angle,
            "certified": row.bound,
            "cpu_ms": 1e3 * row.seconds,
            "compile_seconds": row.compile_seconds,
            "memory_mb": row.memory / 1e6,
            "steps": row.steps,
            "message": row.message,
        }
        for row in study.rows
    ]
    return {"rows": rows}


def run(options: Options, report: Report) -> None:
    """A row per problem and derivative; then the lag of unrolling behind its iterate."""
    units = [{"problem": name} for name in options.problems]
    report.each(make_rows, options, units, "hypergradients")
    if report.out is not None:
        from benchmarks.pictures.hypergradients import draw_errors

        report.figure("hypergradients", draw_errors(report.rows, options.problems))
    if "logistic" in options.problems:
        _lag(report)


def _lag(report: Report) -> None:
    case = logistic(300)

    def gradient_descent(count):
        return Descent(optimizer=optax.sgd(1.0), steps=count)

    lags = lag(
        case.objective,
        case.z,
        {
            "unrolled": lambda steps: Method(gradient_descent(steps), Unroll()),
            "implicit at the same point": lambda steps: Method(gradient_descent(steps), Implicit()),
        },
        (10, 30, 100, 300, 1000),
    )
    for row in lags.rows:
        if row.name == "unrolled":
            report.note(
                f"logistic, {row.steps} steps of gradient descent: w is off by "
                f"{row.inner_error:.1e}, the gradient through the path by {row.gradient_error:.1e}"
            )
    if report.out is not None:
        from benchmarks.pictures.hypergradients import draw_lag

        report.figure("hypergradient-lag", draw_lag(lags))
