"""Hypergradients beside one another: at which points, of which losses, along which paths."""

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from saying import put, said, tells
from sklearn.preprocessing import minmax_scale, scale

from benchmarks.experiments.hypergradients import hypergradients

pytestmark = pytest.mark.stand_ins
SOLVERS = (
    "Implicit", "Dense", "CG", "GMRES", "Neumann", "Nystrom", "Method", "Unroll", "Truncated",
    "Forward", "BackGradient", "Momentum", "Descent", "ProjectedGradient", "ProximalGradient",
    "Newton", "LBFGS", "NewtonCG", "FISTA", "L1",
)  # fmt: skip


@pytest.fixture
def cases(monkeypatch) -> None:
    """Solvers, derivatives and problems that say what they were given."""
    put(
        monkeypatch, hypergradients, **{name: tells(name) for name in SOLVERS},
        Smooth=tells("smooth"), Composite=tells("composite"),
        Bilevel=lambda **parts: SimpleNamespace(**parts),
        optax=SimpleNamespace(sgd=tells("sgd"), adam=tells("adam")),
    )  # fmt: skip


def along(path: Any, steps: int) -> dict[str, Any]:
    """Every way through a path."""
    return {
        f"unrolled {steps}": ("Method", path, ("Unroll",)),
        f"unrolled {steps}, checkpoints": ("Method", path, ("Unroll", 2)),
        f"truncated, last {steps // 10}": ("Method", path, ("Truncated", steps // 10)),
        "one step": ("Method", path, ("Truncated", 1)),
    }


def descents(rate: float, steps: int) -> tuple[Any, Any]:
    """Momentum as a path of any optimiser, and as one that is reversed."""
    decay = 230 / 256
    momentum = ("Momentum", ("decay", decay), ("rate", rate), ("steps", steps))
    return (
        "Descent",
        ("optimizer", ("sgd", rate, ("momentum", decay))),
        ("steps", steps),
    ), momentum


@pytest.mark.usefixtures("cases")
def test_penalties_are_differentiated_through_held_out_rows(monkeypatch) -> None:
    x = np.random.default_rng(1).normal(size=(310, 30))
    target = (np.arange(310) % 3 == 0).astype(int)
    put(monkeypatch, hypergradients, load_breast_cancer=lambda return_X_y: (x, target))
    case = hypergradients.logistic(40)
    x, y, w = scale(x), np.where(target == 1, 1.0, -1.0), np.linspace(-1, 1, 30)
    problem: Any = case.objective
    name, loss, start, z = problem.inner_problem("z")
    assert (name, start.tolist(), z, problem.solver) == ("smooth", [0.0] * 30, "z", ("Newton",))
    log_l2 = np.linspace(-3, 1, 30)
    fit, held = (np.mean(np.log1p(np.exp(-y[part] * (x[part] @ w))))
                 for part in (slice(300), slice(300, None)))  # fmt: skip
    penalty = np.sum(np.exp(log_l2) * w**2) / 2
    np.testing.assert_allclose(loss(jnp.asarray(w), jnp.asarray(log_l2)), fit + penalty)
    np.testing.assert_allclose(problem.outer_objective(None, jnp.asarray(w)), held)
    assert case.z.tolist() == [-4.0] * 30
    path, momentum = descents(0.5, 40)
    plain = ("precondition", False)
    assert case.methods == {
        "implicit, factor": ("Implicit",), "implicit, LU": ("Implicit", ("Dense",)),
        "implicit, CG": ("Implicit", ("CG", plain)),
        "implicit, GMRES": ("Implicit", ("GMRES", plain)),
        "Neumann 20": ("Implicit", ("Neumann", 20)), "Neumann 200": ("Implicit", ("Neumann", 200)),
        "Nystrom 10": ("Implicit", ("Nystrom", 10, 1e-2)), **along(path, 40),
        "forward": ("Method", path, ("Forward",)),
        "back-gradient": ("Method", momentum, ("BackGradient",)),
    }  # fmt: skip


@pytest.mark.usefixtures("cases")
def test_a_poison_row_is_one_that_no_other_part_has(monkeypatch) -> None:
    x = np.random.default_rng(1).normal(size=(320, 4))
    target = (np.arange(320) % 3 == 0).astype(int)
    put(
        monkeypatch, hypergradients, load_breast_cancer=lambda return_X_y: (x, target),
        attacks=SimpleNamespace(Insert=tells("insert"), Box=tells("box"), compose=tells("attack"),
                                indiscriminate=tells("goal")),
        SVM=tells("svm"), Data=tells("data"),
    )  # fmt: skip
    case = hypergradients.svm(40)
    x, y = minmax_scale(x), np.where(target == 1, 1.0, -1.0)
    reach = ("insert", ("domain", ("box", 0.0, 1.0)), ("labels", jnp.ones(1)))
    assert said(case.objective) == said((
        "attack", ("svm", ("C", 1.0)), reach, ("goal", x[100:300], y[100:300]),
        ("data", x[:100], y[:100]),
    ))  # fmt: skip
    assert said(case.z) == said(x[300:][y[300:] < 0][:1])
    assert case.methods == {
        "implicit, factor": ("Implicit",), "implicit, LU": ("Implicit", ("Dense",)),
        "implicit, GMRES": ("Implicit", ("GMRES",)),
        **along(("ProjectedGradient", ("steps", 400)), 400),
    }  # fmt: skip


@pytest.mark.usefixtures("cases")
def test_a_lasso_is_differentiated_in_its_penalty_and_its_first_row(monkeypatch) -> None:
    x, target = np.random.default_rng(1).normal(size=(220, 10)), np.arange(220.0) ** 1.5
    put(monkeypatch, hypergradients, load_diabetes=lambda return_X_y: (x, target))
    case = hypergradients.lasso(40)
    x, y, w = scale(x), scale(target), np.linspace(-1, 1, 10)
    problem: Any = case.objective
    z = {"log_l1": jnp.asarray(-2.0), "row": "row"}
    name, loss, penalty, start, row = problem.inner_problem(z)
    assert (name, start.tolist(), row, problem.solver) == (
        "composite",
        [0.0] * 10,
        "row",
        ("FISTA",),
    )
    np.testing.assert_allclose(penalty[1], np.exp(-2.0))
    moved = np.concatenate([np.ones((1, 10)), x[1:200]])
    fit = np.mean((moved @ w - y[:200]) ** 2) / 2
    np.testing.assert_allclose(loss(jnp.asarray(w), jnp.ones(10)), fit)
    held = np.mean((x[200:] @ w - y[200:]) ** 2) / 2
    np.testing.assert_allclose(problem.outer_objective(None, jnp.asarray(w)), held)
    assert (float(case.z["log_l1"]), said(case.z["row"])) == (-3.0, said(x[0]))
    path = ("ProximalGradient", ("rate", 0.2), ("steps", 40))
    assert case.methods == {
        "implicit, on the support": ("Implicit",), "implicit, LU": ("Implicit", ("Dense",)),
        "implicit, prox fixed point": ("Method", path, ("Implicit",)), **along(path, 40),
        "forward": ("Method", path, ("Forward",)),
    }  # fmt: skip


@pytest.mark.usefixtures("cases")
def test_a_network_is_trained_from_near_its_minimiser(monkeypatch) -> None:
    x, target = np.random.default_rng(1).normal(size=(920, 64)), np.arange(920) % 10
    near: list[Any] = []

    def argmin(problem: Any, solver: Any) -> Any:
        near.append((problem, solver))
        return SimpleNamespace(value="near")

    put(monkeypatch, hypergradients, load_digits=lambda return_X_y: (x, target), argmin=argmin)
    case = hypergradients.network(40)
    x, y = x / 16, np.where(target > 4, 1.0, -1.0)
    problem: Any = case.objective
    ((name, loss, start, z), solver) = near[0]
    random = np.random.default_rng(0)
    weights = random.normal(size=(64, 8)) / 8, random.normal(size=8)
    assert (name, said(start["in"], start["out"])) == ("smooth", said(*weights))
    assert solver == ("Descent", ("optimizer", ("adam", 1e-2)), ("steps", 2000))
    assert {k: float(v) for k, v in z.items()} == {"in": -4.0, "out": -4.0}
    assert case.z is z
    assert problem.inner_problem("z")[1:] == (loss, "near", "z")
    assert problem.solver == ("LBFGS",)

    def mean(part: slice) -> float:
        return float(
            np.mean(np.log1p(np.exp(-y[part] * (np.tanh(x[part] @ weights[0]) @ weights[1]))))
        )

    log_l2 = {"in": jnp.asarray(-1.0), "out": jnp.asarray(0.5)}
    penalty = np.exp(-1.0) * np.sum(weights[0] ** 2) + np.exp(0.5) * np.sum(weights[1] ** 2)
    np.testing.assert_allclose(loss(start, log_l2), mean(slice(300)) + penalty / 2)
    np.testing.assert_allclose(problem.outer_objective(None, start), mean(slice(300, 900)))
    path, momentum = descents(0.05, 40)
    finished = ("LBFGS", ("finish", ("NewtonCG",)))
    assert case.methods == {
        "implicit, factor": ("Implicit",), "Neumann 20": ("Implicit", ("Neumann", 20)),
        "implicit, CG": ("Method", finished, ("Implicit", ("CG", ("precondition", False)))),
        "Nystrom 50": ("Implicit", ("Nystrom", 50, 1e-3)), **along(path, 40),
        "forward": ("Method", path, ("Forward",)),
        "back-gradient": ("Method", momentum, ("BackGradient",)),
    }  # fmt: skip


@pytest.mark.usefixtures("cases")
def test_unrolling_lags_behind_its_iterate_on_the_logistic_problem(monkeypatch) -> None:
    from benchmarks.pictures import hypergradients as picture

    case = SimpleNamespace(objective="objective", z="z")
    row = SimpleNamespace(name="unrolled", steps=30, inner_error=0.5, gradient_error=0.25)
    notes, shown = [], []

    def lag(objective: str, z: str, methods: Any, steps: Any) -> Any:
        assert (objective, z, steps) == ("objective", "z", (10, 30, 100, 300, 1000))
        path = ("Descent", ("optimizer", ("sgd", 1.0)), ("steps", 7))
        assert {name: make(7) for name, make in methods.items()} == {
            "unrolled": ("Method", path, ("Unroll",)),
            "implicit at the same point": ("Method", path, ("Implicit",)),
        }
        other = SimpleNamespace(**{**vars(row), "name": "implicit at the same point"})
        return SimpleNamespace(rows=[row, other])

    put(monkeypatch, hypergradients, logistic=lambda steps: {300: case}[steps], lag=lag)
    put(monkeypatch, picture, draw_lag=lambda lags: len(lags.rows))
    report: Any = SimpleNamespace(
        out="folder", note=notes.append, figure=lambda *given: shown.append(given)
    )
    hypergradients._lag(report)
    assert notes == [
        "logistic, 30 steps of gradient descent: w is off by 5.0e-01, the gradient through the "
        "path by 2.5e-01"
    ]
    assert shown == [("hypergradient-lag", 2)]


@pytest.mark.parametrize("out", [None, "folder"])
@pytest.mark.parametrize("problems", [("logistic", "svm"), ("svm",)])
def test_the_lag_is_told_of_the_logistic_problem_whether_pictures_are_drawn_or_not(
    problems, out, monkeypatch
) -> None:
    from benchmarks.pictures import hypergradients as picture

    told: list[Any] = []

    def each(make: Any, options: Any, units: Any, name: str) -> None:
        told.append((make, units, name))

    report: Any = SimpleNamespace(
        out=out, rows="rows", each=each, figure=lambda *given: told.append(given)
    )
    put(monkeypatch, hypergradients, _lag=lambda report: told.append(report))
    put(monkeypatch, picture, draw_errors=lambda rows, problems: (rows, problems))
    hypergradients.run(hypergradients.Options(problems=problems), report)
    units = [{"problem": name} for name in problems]
    drawn = [("hypergradients", ("rows", problems))] if out else []
    lag = [report] if "logistic" in problems else []
    assert told == [(hypergradients.make_rows, units, "hypergradients"), *drawn, *lag]
