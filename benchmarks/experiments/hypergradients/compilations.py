"""What compiling costs, and what is compiled twice: the first call of every verb and later ones.

`gradient`, `maximize` and `certify` are called on a composed attack, `attack` is a published attack
by its one function. Each is called for the first time, again, and on other data of the same shapes;
then for the first time in a fresh process, with all programs in JAX's persistent cache, which is
off otherwise. CPU seconds of one core, beyond importing; programs are counted by the events of JAX:
a call that finds all it needs in memory compiles 0.
"""

import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

from benchmarks.options import SOME, Count, check
from benchmarks.processes import alone, pin
from benchmarks.report import Report

Case = Literal[
    "svm", "logistic", "ridge", "lasso", "trim-svm", "trim-ridge", "poison_svm",
    "poison_classifier", "poison_regression",
]  # fmt: skip
CASES: tuple[Case, ...] = (
    "svm", "logistic", "ridge", "lasso", "trim-svm", "trim-ridge", "poison_svm",
    "poison_classifier", "poison_regression",
)  # fmt: skip
VERBS = ("gradient", "maximize", "certify")
VALIDATION = 100


@dataclasses.dataclass(frozen=True)
class Options:
    """Which attacks, of what size."""

    cases: Annotated[tuple[Case, ...], SOME] = CASES
    """Learners whose attack is composed, and published attacks."""
    rows: Count = 200
    """Clean training rows."""
    features: Count = 20
    """Number of features."""
    points: Count = 5
    """Poison rows."""
    steps: Count = 50
    """Steps of `maximize` and of the published attacks."""

    def __post_init__(self):
        check(self)


def calls(case: Case, options: Options) -> dict[str, Callable[[int], Any]]:
    """The verbs by name, each on made-up data of a seed."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import attacks
    import bilevel
    import defenses
    from bilevel import Data, losses
    from bilevel.learners import SVM, Lasso, Logistic, Ridge

    learners = {
        "svm": SVM(1.0),
        "logistic": Logistic(1e-2),
        "ridge": Ridge(1e-2),
        "lasso": Lasso(1e-3),
    }
    loss = {"svm": losses.Hinge(), "logistic": losses.Logistic()}
    kind = case.removeprefix("trim-")
    regression = case == "poison_regression"

    def drawn(seed: int) -> tuple[Data, Data, Any]:
        rng = np.random.default_rng(seed)
        x = rng.uniform(size=(options.rows + VALIDATION, options.features))
        y = x @ rng.normal(size=options.features) + 0.1 * rng.normal(size=len(x))
        y = (y - y.min()) / np.ptp(y) if regression else np.where(y > np.median(y), 1.0, -1.0)
        clean = options.rows
        return (
            Data(x[:clean], y[:clean]),
            Data(x[clean:], y[clean:]),
            jnp.asarray(x[: options.points]),
        )

    labels = np.resize([1.0, -1.0], options.points)
    domain = attacks.Box(0.0, 1.0)

    def composed(seed: int) -> tuple[attacks.Attack, Any]:
        train, held, start = drawn(seed)
        goal = attacks.indiscriminate(held.x, held.y, loss.get(kind, losses.Squares()))
        share = options.points / (options.rows + options.points)
        learner = learners[kind] if kind == case else defenses.Trim(learners[kind], share)
        return attacks.compose(learner, attacks.Insert(labels, domain), goal, train), start

    def gradient(seed: int) -> Any:
        attack, start = composed(seed)
        return jax.grad(attack)(start)

    def maximize(seed: int) -> Any:
        attack, start = composed(seed)
        return bilevel.maximize(attack, start, steps=options.steps).z

    def certify(seed: int) -> Any:
        return bilevel.certify(*composed(seed))

    def published(seed: int) -> Any:
        train, held, start = drawn(seed)
        y, steps = jnp.asarray(labels), options.steps
        if case == "poison_svm":
            recipe = attacks.poison_svm(train, start, y, held, steps=steps)
        elif case == "poison_classifier":
            learner = learners["logistic"]
            recipe = attacks.poison_classifier(train, start, y, held, learner, steps=steps)
        else:
            begin = attacks.XY(start, attacks.b_flip(train.y[: options.points]))
            recipe = attacks.poison_regression(
                train, begin, held, learners["ridge"], domain=domain, steps=steps
            )
        return recipe.climb().z

    if case in ("poison_svm", "poison_classifier", "poison_regression"):
        return {"attack": published}
    return {"gradient": gradient, "maximize": maximize, "certify": certify}


def measured(function: Callable[[], Any]) -> dict[str, float]:
    """CPU seconds of a call, and the programs that it compiles and loads."""
    import jax

    from benchmarks.compile_events import counted

    begun = time.process_time()
    with counted() as compilations:
        jax.block_until_ready(function())
    seconds = time.process_time() - begun
    return {
        "seconds": seconds, "compiled": compilations.compiled, "loaded": compilations.loaded
    }  # fmt: skip


def measure(case: Case, options: Options, times: int) -> dict[str, list[dict[str, float]]]:
    """The first calls of every verb, from this process: it should have done nothing else before."""
    seeds = (0, 0, 1)[:times]
    return {
        verb: [measured(lambda call=call, seed=seed: call(seed)) for seed in seeds]
        for verb, call in calls(case, options).items()
    }


def in_a_process_of_its_own(
    case: Case, options: Options, times: int, cache: str | None = None
) -> dict[str, list[dict[str, float]]]:
    """`measure`, there, with the persistent cache in this folder or without one."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    if cache is not None:
        variables |= {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
        }
    given = json.dumps(dataclasses.asdict(options))
    module = "benchmarks.experiments.hypergradients.compilations"
    return alone(module, case, given, str(times), environment=variables)


def make_rows(options: Options, case: Case) -> dict[str, list]:
    """The rows of all verbs in a case."""
    without = in_a_process_of_its_own(case, options, times=3)
    with tempfile.TemporaryDirectory() as folder:
        in_a_process_of_its_own(case, options, times=1, cache=folder)
        cached = in_a_process_of_its_own(case, options, times=1, cache=folder)
    rows = []
    for verb, (first, second, other) in without.items():
        (fresh,) = cached[verb]
        rows.append({
            "case": case, "verb": verb, "first_s": first["seconds"],
            "second_s": second["seconds"], "other_data_s": other["seconds"],
            "cached_process_s": fresh["seconds"], "first_compiled": int(first["compiled"]),
            "second_compiled": int(second["compiled"]), "other_compiled": int(other["compiled"]),
            "cached_compiled": int(fresh["compiled"]), "cached_loaded": int(fresh["loaded"]),
        })  # fmt: skip
    return {"rows": rows}


def run(options: Options, report: Report) -> None:
    """One row per case and verb."""
    report.each(make_rows, options, [{"case": case} for case in options.cases], "compilations")
    again = [r for r in report.rows if r["second_compiled"] or r["other_compiled"]]
    report.note(
        "Rule: a second call, and a call on other data of the same shapes, compile nothing; "
        + (
            "broken by " + ", ".join(f"{r['case']} {r['verb']}" for r in again)
            if again
            else f"it holds in all {len(report.rows)} rows"
        )
    )
    report.note(
        "CPU seconds of one core, beyond importing; the persistent cache is off, but for the "
        "columns called cached: a fresh process that finds all programs in it"
    )


if __name__ == "__main__":
    pin()
    import jax

    jax.config.update("jax_enable_x64", True)
    _, case, given, times = sys.argv
    options = Options(**json.loads(given))
    jax.devices()  # starting the backend is no compilation
    print(json.dumps(measure(case, options, int(times))))  # pyright: ignore
