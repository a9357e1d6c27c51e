"""What the regression experiments share: attacks at several rates and seeds, and their judge."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np

import bilevel
from attacks import XY, Box, Columns, b_flip, inv_flip, poison_regression, stat_p
from benchmarks.ascents import REGRESSIONS as ASCENT
from benchmarks.clock import warm
from benchmarks.data import Parts, Table, filed_parts, filed_poison, house, loans, pharm
from benchmarks.options import SOME, Count, Positive, Shares, check
from benchmarks.report import Report, UsageError, band
from benchmarks.twins import REGRESSIONS, Strengths, errors, square_error
from bilevel import Data
from bilevel.learners import AbstractLearner

TABLES = {"house": house, "pharm": pharm, "loans": loans}
TARGETS = Box(0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Options:
    """What to attack, how often, and from which start."""

    learners: Annotated[tuple[Literal["ridge", "lasso"], ...], SOME] = ("ridge", "lasso")
    """Which regressions."""
    rates: Shares = (0.04, 0.08, 0.12, 0.16, 0.2)
    """Poisoning rates: shares of poison among all training rows."""
    seeds: Count = 10
    """Number of random splits; their attacks run in one program."""
    start: Literal["inv-flip", "b-flip", "stat-p"] = "b-flip"
    """Where poison starts from."""
    train: Count = 300
    """Clean training rows."""
    validation: Count = 250
    """Validation rows: the attacker raises the loss on them."""
    test: Count = 500
    """Held-out test rows."""
    ridge_alpha: Positive = 0.1
    """Strength of ridge as scikit-learn counts it, l2 times the number of rows."""
    lasso_alpha: Positive = 3e-4
    """Strength of the LASSO as scikit-learn counts it."""
    steps: Count = 100
    """Steps of the attack."""
    against: Path | None = None
    """Instead: attack the filed splits in this folder from the starts of the poison files there,
    beside the poison itself."""

    def __post_init__(self):
        check(self)

    def strengths(self, kind: str) -> Strengths:
        """As scikit-learn counts them."""
        return Strengths(alpha=self.ridge_alpha if kind == "ridge" else self.lasso_alpha)


def poison_rows(rate: float, clean: int) -> int:
    """How many rows are this share of all: m / (n + m) = rate."""
    return max(1, round(rate * clean / (1 - rate)))


def domain(table: Table) -> Columns:
    """Valid rows: numbers in [0, 1], at most one category in each group."""
    groups = [group.columns for group in table.groups]
    width = table.x.shape[1]
    return Columns(jnp.zeros(width), jnp.ones(width), groups=groups, optional=True)


def learner_of(kind: str, options: Options, rows: int) -> AbstractLearner:
    """For so many rows in all."""
    return REGRESSIONS[kind].ours(options.strengths(kind), rows)


def rows_of(x, y) -> XY:
    return XY(jnp.asarray(x), jnp.asarray(y))


def judge(kind: str, options: Options, parts: Parts, poison: XY) -> tuple[float, float]:
    """Mean square errors on validation and test rows of scikit-learn's model of clean rows and
    poison.
    """
    model = REGRESSIONS[kind].theirs(options.strengths(kind))
    return errors(model, parts, poison, error=square_error)


def attacks_of(
    kind: str, options: Options, parts: list[Parts], starts: list[XY]
) -> Callable[[], XY]:
    """A program that runs the attacks on all splits from all starts, and places their poison."""
    where = domain(parts[0].train)
    count = starts[0].y.shape[0]
    total = parts[0].train.x.shape[0] + count

    def stack(arrays):
        return jnp.asarray(np.stack(list(arrays)))

    train, validation = (
        (stack(getattr(p, name).x for p in parts), stack(getattr(p, name).y for p in parts))
        for name in ("train", "validation")
    )
    start = rows_of(stack(s.x for s in starts), stack(s.y for s in starts))

    @jax.jit
    def attack(train, validation, start):
        result = poison_regression(
            Data(*train), start, Data(*validation), learner_of(kind, options, total),
            domain=where, targets=TARGETS, steps=options.steps, ascent=ASCENT,
        ).climb()  # fmt: skip
        return XY(where.place(result.z.x), TARGETS.place(result.z.y))

    many = jax.jit(bilevel.batch(attack))
    return lambda: many(train, validation, start)


def starts(kind: str, options: Options, parts: Parts, count: int, seed: int) -> dict[str, XY]:
    """Every start, from rows of the training set or, for StatP, from its moments."""
    chosen = np.random.default_rng([1, seed]).choice(options.train, count)
    x, y = parts.train.x[chosen], parts.train.y[chosen]
    where, data = domain(parts.train), Data(parts.train.x, parts.train.y)
    x = where.place(jnp.asarray(x))  # a few real rows break the one-hot rule
    model = learner_of(kind, options, options.train).fit(data).model
    drawn = stat_p(jax.random.key(seed), count, data, model, where)
    return {
        "inv-flip": XY(x, inv_flip(jnp.asarray(y))),
        "b-flip": XY(x, b_flip(jnp.asarray(y))),
        "stat-p": drawn,
    }


def make_rows(options: Options, data: str, learner: str, rate: float) -> dict[str, list]:
    """The rows of all seeds, whose attacks run in one program."""
    table = TABLES[data]()
    parts = [
        table.split(options.train, options.validation, options.test, seed)
        for seed in range(options.seeds)
    ]
    count = poison_rows(rate, options.train)
    begin = [starts(learner, options, p, count, seed) for seed, p in enumerate(parts)]
    program = attacks_of(learner, options, parts, [every[options.start] for every in begin])
    poison, cpu, compiling = warm(program)
    rows = []
    for seed, p in enumerate(parts):

        def judged(rows: XY, split=p):
            return judge(learner, options, split, rows)

        made = XY(poison.x[seed], poison.y[seed])
        none = XY(made.x[:0], made.y[:0])
        (clean_val, clean_test), (val, test) = judged(none), judged(made)
        rows.append({
            "learner": learner, "rate": rate, "seed": seed, "points": count,
            "clean_val_mse": clean_val, "clean_test_mse": clean_test,
            "flip_test_mse": judged(begin[seed]["b-flip"])[1],
            "stat_p_test_mse": judged(begin[seed]["stat-p"])[1],
            "val_mse": val, "test_mse": test,
            "cpu_seconds": cpu / len(parts), "compile_seconds": compiling,
        })  # fmt: skip
    return {"rows": rows}


def run_on(data: str, options: Options, report: Report) -> None:
    """One row per learner, rate and seed; or, with `--against`, per file."""
    if options.against is not None:
        files = poison_files(options.against, data)
        units = [{"path": path} for path in files if path.stem.split("_")[2] in options.learners]
        report.each(make_filed, options, units, f"regression-{data}, beside {options.against.name}")
        return
    units = [
        {"data": data, "learner": kind, "rate": rate}
        for kind in options.learners
        for rate in options.rates
    ]
    report.each(make_rows, options, units, f"regression-{data}")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.regression import draw

        report.figure(f"regression-{data}", draw(data, report.rows))


def _notes(options: Options, report: Report) -> None:
    for kind in options.learners:
        for rate in options.rates:
            rows = [r for r in report.rows if r["learner"] == kind and r["rate"] == rate]
            parts = ", ".join(
                f"{what} {band([r[cell] for r in rows], 4)}"
                for what, cell in (
                    ("clean", "clean_test_mse"), ("flipped targets", "flip_test_mse"),
                    ("StatP", "stat_p_test_mse"), ("optimised", "test_mse"),
                )
            )  # fmt: skip
            times = band([r["test_mse"] / r["clean_test_mse"] for r in rows])
            report.note(
                f"{kind}, {100 * rate:.0f} % poison: test MSE {parts}; optimised, of clean: {times}"
            )
    report.note(f"each: {options.seeds} splits")


def poison_files(folder: Path, data: str) -> list[Path]:
    """Poison of another program, in a folder with the splits that it was made for."""
    files = sorted(folder.glob(f"poison_{data}_*.npz"))
    if not files:
        raise UsageError(f"--against: {folder} holds no poison_{data}_*.npz")
    return files


def make_filed(options: Options, path: Path) -> dict[str, list]:
    """The row of another program's poison: ours from the same start, on the same rows."""
    _, data, kind, split, *_ = path.stem.split("_")
    theirs = filed_poison(path)
    parts = filed_parts(path.with_name(f"{data}_{split}.npz"))
    same = dataclasses.replace(options, **{f"{kind}_alpha": theirs.strength})
    start = rows_of(theirs.start_x, theirs.start_y)
    poison, cpu, compiling = warm(attacks_of(kind, same, [parts], [start]))
    ours = XY(poison.x[0], poison.y[0])
    start_val, start_test = judge(kind, same, parts, start)
    their_val, their_test = judge(kind, same, parts, rows_of(theirs.x, theirs.y))
    val, test = judge(kind, same, parts, ours)
    row = {
        "file": path.stem, "learner": kind, "points": len(ours.y), "start_val_mse": start_val,
        "their_val_mse": their_val, "val_mse": val, "val_ratio": val / their_val,
        "start_test_mse": start_test, "their_test_mse": their_test, "test_mse": test,
        "test_ratio": test / their_test, "cpu_seconds": cpu, "compile_seconds": compiling,
    }  # fmt: skip
    return {"rows": [row]}
