"""The audit of a table: how much could poisoned rows do, and which defense pays?"""

import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from numbers import Integral
from typing import Any, Literal

import jax
import numpy as np
import pandas as pd
import sklearn

from .attacker import ADAPTIVE_CELLS, ADAPTIVE_STEPS, CELLS, Attacker, sample_of
from .columns import free_name
from .damage import by_group, defended, found
from .defending import offered
from .indicators import indicators
from .influence import influence, other_labels
from .ingest import FEW_VALUES, Table, ingest
from .judge import Judge, Parts, parts_of, standard_error
from .match import match
from .ranking import ranked
from .reading import Series, TableError, read, require_column
from .report import Report
from .shown import all_rows, influential_rows, suspicious_rows, worst_rows

Progress = Callable[[int, int, str], None]


def audit(
    table: Any,
    target: str,
    learner: Any = "auto",
    budget: Sequence[float] = (0.01, 0.03, 0.10),
    group: str | None = None,
    reach: Literal["observed", "labels"] = "observed",
    *,
    weight: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """How much poisoned rows could do to a model of this table, and what each defense leaves of it.

    Three fifths of the rows are trained on; the attacker chooses by three twentieths and is judged
    on the rest, by scikit-learn's model trained anew on the poisoned rows. Figures of defenses and
    groups are at the middle budget.

    - `table`: a DataFrame, or the path of a CSV or Parquet file.
    - `target`: column to predict; text and numbers of at most 20 values are classes.
    - `learner`: "auto" (logistic regression or ridge), "logistic", "ridge", "svm", "lasso", or a
      scikit-learn estimator, which judges; a Pipeline trains on the columns as they came, another
      estimator on encoded ones in [0, 1].
    - `budget`: shares of the training rows that may be poison, ascending.
    - `group`: column whose values are compared, for example a protected attribute.
    - `reach`: "observed": rows of any valid values within the columns' ranges and categories may be
      added, and labels changed; "labels": labels alone.
    - `weight`: column of weights of rows.
    - `seed`: of every draw; the same table and seed have the same report, bit by bit.
    - `progress`: called with (steps done, steps in all, what was done last).

    Raises `TableError`, a `ValueError` of one sentence, for a table or question that cannot be
    audited.
    """
    began = time.perf_counter()
    shares = _budgets(budget)
    if reach not in ("observed", "labels"):
        raise TableError(f"reach: got {reach!r}, expected 'observed' or 'labels'")
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise TableError(f"seed: got {seed!r}, expected a whole number >= 0")
    seed = int(seed)
    frame = read(table)
    if group is not None:
        require_column(frame, "group", group)
    # Active sets and certificates need double precision, whatever the caller's setting.
    with jax.enable_x64(True):
        ready = ingest(frame, target, weight, seed)
        names = None if group is None else _groups(frame[group].iloc[ready.number])
        return _audited(ready, learner, shares, names, reach, seed, progress, began)


def _budgets(budget: Sequence[float]) -> tuple[float, ...]:
    try:
        shares = tuple(sorted({float(share) for share in budget}))
    except TypeError:
        shares = (float(budget),)  # pyright: ignore[reportArgumentType]
    if not shares or not all(0 < share <= 0.5 for share in shares):
        raise TableError(
            f"budget: got {budget!r}, expected shares of the training rows, above 0 and at most .5"
        )
    return shares


def _groups(series: Series) -> np.ndarray:
    """The name of each row's group; numbers of many values in four parts."""
    number = pd.api.types.is_numeric_dtype(series.dtype)
    if number and series.nunique() > FEW_VALUES:
        quarters: Any = pd.qcut(series, 4, duplicates="drop")
        return np.asarray(quarters.astype(str))
    if series.nunique() > FEW_VALUES:
        raise TableError(
            f"group: {series.name!r} has {series.nunique()} values, expected at most {FEW_VALUES}"
        )
    text = series.astype(object).map(str)
    return np.asarray(text.where(series.notna(), free_name("(missing)", set(text))))


def _audited(
    table: Table,
    learner: Any,
    shares: tuple[float, ...],
    names: np.ndarray | None,
    reach: str,
    seed: int,
    progress: Progress | None,
    began: float,
) -> Report:
    classes, parts = len(table.classes), parts_of(table, seed)
    shape = parts.train.x.shape
    kind: Any = table.encoding.target_kind
    spread = float(kind.high - kind.low) if table.task == "numbers" else 1.0
    matched = match(learner, table.task, classes, shape, spread)
    judge = Judge(table, matched)
    counts = [max(1, round(share * shape[0])) for share in shares]
    middle = (len(counts) - 1) // 2
    samples = [sample_of(table, parts, seed, cells) for cells in (CELLS, ADAPTIVE_CELLS)]
    total, done = 6 + len(counts) + len(offered(classes, samples[0].places.size)), 0

    def advance(what: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total, what)

    notes = list(table.notes)
    if not judge.takes_weights and np.ptp(table.weight) > 0:
        notes.append("The judging model's fit takes no weights of rows; it counts all alike.")
    clean_model = judge.fit(parts.train)
    misses = judge.misses(clean_model, parts.test)
    clean = float(np.average(misses, weights=parts.test.weight))
    advance("the model of the table as it is")

    ranking = ranked(table, matched, seed)
    advance("rows that look wrong")

    smooth = matched
    if matched.name == "svm":
        smooth = match("logistic", table.task, classes, shape)
    other = other_labels(smooth, parts.train, classes)
    moved = influence(smooth, parts.train, parts.choose, other)
    influential, of_rows = influential_rows(table, moved)
    advance("influence of rows")

    if samples[0].places.size < shape[0]:
        notes.append(
            f"Added rows were sought on a stratified sample of {samples[0].places.size:,} of "
            f"{shape[0]:,} training rows, and judged on all. Defenses were tried on that sample, "
            "with as much poison for each row."
        )
    attacker, adapting = (
        Attacker(table, matched, sample, max(counts), seed, moved) for sample in samples
    )
    at = found(judge, parts, attacker, moved, counts, shares, middle, reach, seed, advance)
    behind = defended(
        judge, parts, adapting, samples[0], at.poisons[middle], at.ended, counts[middle], reach,
        advance,
    )  # fmt: skip
    groups, said = (), []
    if names is not None:
        groups, said = by_group(judge, parts, at.poisons[middle][0], names)
    notes += said
    certificates = [of_rows] if at.certificate is None else [of_rows, at.certificate]
    signs = indicators(judge, parts)
    advance("done")
    return Report(
        table={
            "rows": table.rows_given, "used": int(table.number.size),
            "columns": list(map(str, table.raw.columns)), "features": shape[1],
            "target": table.target, "task": table.task, "classes": list(table.classes),
            "training_rows": shape[0], "tried_rows": int(samples[0].places.size),
            "test_rows": int(parts.test.y.size),
        },
        learner={
            "judge": type(matched.judge).__name__, "attacked": matched.name,
            "trains_on": "columns" if matched.takes_frames else "encoded features",
            "remark": matched.remark, "reach": reach, "adaptive_steps": ADAPTIVE_STEPS,
        },
        clean=clean,
        uncertain=standard_error(misses, parts.test.weight),
        baseline=_baseline(judge, parts),
        budgets=at.budgets,
        middle=middle,
        defenses=behind,
        groups=groups,
        worst=worst_rows(table, at.added),
        influential=influential,
        suspicious=suspicious_rows(table, ranking),
        indicators=signs,
        certificates=tuple(certificates),
        notes=tuple(notes),
        foot={
            "seed": seed, "dtype": "float64", "python": platform.python_version(),
            "numpy": np.__version__, "pandas": pd.__version__, "scikit-learn": sklearn.__version__,
            "jax": jax.__version__, "bilevel": version("bilevel"),
        },
        rows=all_rows(table, parts, moved, ranking),
        seconds=time.perf_counter() - began,
    )  # fmt: skip


def _baseline(judge: Judge, parts: Parts) -> float:
    """The error of a model that always says the same."""
    if not judge.table.classes:
        return 1.0
    labels, places = np.unique(parts.train.y, return_inverse=True)
    usual = labels[np.argmax(np.bincount(places, parts.train.weight))]
    return float(np.average(parts.test.y != usual, weights=parts.test.weight))
