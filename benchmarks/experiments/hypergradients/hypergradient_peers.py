"""Error and time of solve + hypergradient on five problems, beside jaxopt, optimistix and qpax.

Every tool at its default and at the best settings found for it, in float64, in one process on one
core. Times are CPU milliseconds of the fastest repeat; compiling is counted apart. The error is
relative, the largest over the arguments (for a batch also over its problems), against a NumPy
reference that is exact to rounding. A batch is run by `lax.map` and by `vmap`; the faster counts.
"""

import contextlib
import dataclasses
import importlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import threadpoolctl
from jax import lax

from benchmarks import problems
from benchmarks.options import SOME, at_least, between, check
from benchmarks.peers import Dual, Method, MissingPeer, Sparse, Training
from benchmarks.report import Report, UsageError

Problem = Literal[
    "svm-dual-100", "svm-dual-400", "svm-duals-64x100", "logistic-2000x200", "lasso-200x1000"
]
Tool = Literal["ours", "qpax", "jaxopt", "optimistix"]

PROBLEMS: tuple[Problem, ...] = (
    "svm-dual-100",
    "svm-dual-400",
    "svm-duals-64x100",
    "logistic-2000x200",
    "lasso-200x1000",
)
TOOLS: dict[Tool, str] = {
    "ours": "ours",
    "qpax": "qpax_peer",
    "jaxopt": "jaxopt_peer",
    "optimistix": "optimistix_peer",
}
USABLE = 1e-6  # gradients with a larger error do not count as tuned


@dataclasses.dataclass(frozen=True)
class Options:
    """What to compare, and how long to measure."""

    problems: Annotated[tuple[Problem, ...], SOME] = PROBLEMS
    """Inner problems to differentiate through."""
    tools: Annotated[tuple[Tool, ...], SOME] = tuple(TOOLS)
    """Libraries to compare."""
    seconds: Annotated[float, at_least(0)] = 3.0
    """CPU seconds to spend on repeats of each measurement."""
    seed: Annotated[int, between(0, 2**32 - 65)] = 0
    """Seed of the problems; a batch takes this seed and the following 63."""
    core: int | None = None
    """The core to run on; by default the last one this process may use."""

    def __post_init__(self):
        check(self)


class Task(NamedTuple):
    """An outer function of hyper-parameters and data, and its exact derivative per problem.

    `value(solve, hyper, data) -> (value, converged or None)`; in a batch, the leaves of `hyper`
    and `data` have a leading axis.
    """

    value: Callable[[Callable, Any, Any], tuple[jax.Array, Any]]
    hyper: dict[str, jax.Array]
    data: Any
    exact: list[problems.Gradients]
    family: Literal["duals", "logistics", "lassos"]
    batched: bool = False


class Measurement(NamedTuple):
    """Result of a compiled function, CPU seconds to compile it and CPU milliseconds to run it."""

    result: Any
    compile_s: float
    ms: float


def dual_value(solve: Callable, hyper: dict[str, jax.Array], data: problems.DualSVM):
    """Outer value of `DualSVM`: the goal of the dual solution, by its first row and C."""
    rows = jnp.asarray(data.rows).at[0].set(hyper["row"])
    squares = jnp.sum(rows * rows, axis=1)
    distances = jnp.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0)
    kernel = jnp.exp(-data.gamma * distances)
    y = jnp.asarray(data.labels)
    Q = y[:, None] * y * kernel + data.ridge * jnp.eye(y.size)
    a, converged = solve(Dual(Q, y, hyper["C"]))
    return data.goal @ a, converged


def logistic_value(solve: Callable, hyper: dict[str, jax.Array], data: tuple[jax.Array, ...]):
    """Held-out loss of a logistic regression: of log lam, row weights and the first rows."""
    columns, labels, held_rows, held_labels = data
    columns = columns.at[:, : hyper["rows"].shape[0]].set(hyper["rows"].T)
    w, converged = solve(Training(columns, labels, hyper["weights"], hyper["log_lam"]))
    return jnp.mean(jax.nn.softplus(-held_labels * (held_rows @ w))), converged


def lasso_value(solve: Callable, hyper: dict[str, jax.Array], data: problems.Lasso):
    """Held-out error of a LASSO: of lam and the first row."""
    rows = jnp.asarray(data.rows).at[0].set(hyper["row"])
    w, converged = solve(Sparse(rows, jnp.asarray(data.targets), hyper["lam"]))
    return jnp.mean((data.held_rows @ w - data.held_targets) ** 2) / 2, converged


def make_task(name: Problem, seed: int) -> Task:
    """Draw a problem, or a batch of them, and solve it by the reference."""
    if name == "logistic-2000x200":
        p = problems.logistic(seed=seed)
        hyper = {"log_lam": np.log(p.lam), "weights": p.weights, "rows": p.rows[: p.moving]}
        data = p.rows.T.copy(), p.labels, p.held_rows, p.held_labels
        exact = [problems.logistic_reference(p).gradients]
        hyper, data = jax.tree.map(jnp.asarray, (hyper, data))
        return Task(logistic_value, hyper, data, exact, "logistics")
    if name == "lasso-200x1000":
        p = problems.lasso(seed=seed)
        data = jax.tree.map(jnp.asarray, p)
        exact = [problems.lasso_reference(p).gradients]
        return Task(lasso_value, {"row": data.rows[0], "lam": data.lam}, data, exact, "lassos")
    batched = name == "svm-duals-64x100"
    n, lanes = (400, 1) if name == "svm-dual-400" else (100, 64 if batched else 1)
    drawn = [problems.dual_svm(n, seed=seed + lane) for lane in range(lanes)]
    exact = [problems.dual_reference(p).gradients for p in drawn]
    data = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *drawn)
    if not batched:
        data = jax.tree.map(lambda leaf: leaf[0], data)
    hyper = {"row": data.rows[..., 0, :], "C": data.C}
    return Task(dual_value, hyper, data, exact, "duals", batched)


def measure(function: Callable, arguments: tuple, seconds: float) -> Measurement:
    """Compile, then repeat for `seconds`, at least twice."""

    def timed():
        start = time.process_time()
        result = jax.block_until_ready(compiled(*arguments))
        return time.process_time() - start, result

    compiled = jax.jit(function)
    first, result = timed()
    times = []
    while len(times) < 2 or (sum(times) < seconds and len(times) < 1000):
        times.append(timed()[0])
    return Measurement(result, max(first - min(times), 0), 1000 * min(times))


def row(task: Task, method: Method, seconds: float) -> dict[str, Any]:
    """Cells of one method on one task."""

    def one(hyper, data):
        outer = jax.value_and_grad(
            lambda hyper: task.value(method.solve, hyper, data), has_aux=True
        )
        return outer(hyper)

    arguments = task.hyper, task.data
    ways = {"": one}
    if task.batched:
        ways = {"lax.map": lambda *a: lax.map(lambda lane: one(*lane), a), "vmap": jax.vmap(one)}
    way, best = min(
        ((name, measure(function, arguments, seconds)) for name, function in ways.items()),
        key=lambda named: named[1].ms,
    )
    (_, converged), gradients = best.result
    gradients = jax.tree.map(np.asarray, gradients)
    if not task.batched:
        gradients = jax.tree.map(lambda leaf: leaf[None], gradients)
    errors = [
        problems.relative_error({name: g[lane] for name, g in gradients.items()}, exact)
        for lane, exact in enumerate(task.exact)
    ]
    return {
        "error": float(np.max(errors)),
        "median_error": float(np.median(errors)) if task.batched else None,
        "ms": best.ms / len(errors),
        "compile_s": best.compile_s,
        "remark": "; ".join(filter(None, [way, _said(converged)])),
    }


def _said(converged: Any) -> str:
    """What the library says about its own result."""
    if converged is None:
        return "does not say whether it converged"
    wrong = int(np.sum(~np.atleast_1d(np.asarray(converged))))
    return f"says it did not converge ({wrong})" if wrong else "converged"


@contextlib.contextmanager
def one_core(core: int | None) -> Iterator[None]:
    """Keep this process on one core, and every library in it at one thread.

    JAX is started anew on that core, so that its pool has one thread. Its LAPACK is SciPy's, whose
    threads would take turns on the core, spinning: they are limited too.
    """
    with threadpoolctl.threadpool_limits(1):
        if not hasattr(os, "sched_setaffinity"):  # then only CPU time is comparable
            yield
            return
        allowed = os.sched_getaffinity(0)
        if core is not None and core not in allowed:
            raise UsageError(f"--core: got {core}, expected one of {sorted(allowed)}")
        os.sched_setaffinity(0, {max(allowed) if core is None else core})
        jax.extend.backend.clear_backends()
        try:
            yield
        finally:
            os.sched_setaffinity(0, allowed)


def summary(rows: list[dict[str, Any]], problem: str) -> str | None:
    """Our fastest usable row beside the fastest usable and the most accurate one of the peers."""
    measured = [r for r in rows if r["problem"] == problem and r.get("error") is not None]
    usable = [r for r in measured if r["error"] <= USABLE]
    ours = min((r for r in usable if r["tool"] == "ours"), key=lambda r: r["ms"], default=None)
    peers = [r for r in usable if r["tool"] != "ours"]
    if ours is None or not peers:
        return None
    text = f"{problem}: ours {ours['ms']:.3g} ms, error {ours['error']:.0e} ({ours['setting']})"
    fast, exact = min(peers, key=lambda r: r["ms"]), min(peers, key=lambda r: r["error"])
    for title, peer in (("fastest", fast), ("most accurate", exact)):
        if title == "fastest" or exact is not fast:
            text += (
                f"; {title} peer with an error below {USABLE:.0e}: {peer['tool']} "
                f"{peer['ms']:.3g} ms ({peer['ms'] / ours['ms']:.2g} x), error "
                f"{peer['error']:.0e} ({peer['setting']})"
            )
    return text + "."


def make_rows(options: Options, name: Problem) -> dict[str, list]:
    """The rows of all methods of all tools on a problem."""
    rows, notes = [], []
    with one_core(options.core):
        task = make_task(name, options.seed)
        for tool in options.tools:
            try:
                module = importlib.import_module(f"benchmarks.peers.{TOOLS[tool]}")
                for method in getattr(module, task.family)():
                    cells = row(task, method, options.seconds)
                    rows.append({"problem": name, "tool": tool, "setting": method.setting, **cells})
            except MissingPeer as error:
                notes.append(str(error))
    return {"rows": rows, "notes": notes}


def run(options: Options, report: Report) -> None:
    """Measure every method of every tool on every problem."""
    units = [{"name": name} for name in options.problems]
    report.each(make_rows, options, units, "hypergradient-peers")
    for name in options.problems:
        text = summary(report.rows, name)
        if text is not None:
            report.note(text)
    report.note("ms: CPU time of solve + gradient, per problem, one core, warm; compiling apart.")
    if report.out is not None:
        from benchmarks.pictures.hypergradient_peers import draw

        report.figure("hypergradient-peers", draw(report.rows, options.problems))
