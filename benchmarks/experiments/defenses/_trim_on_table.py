"""What the experiments on TRIM share: unaware and adapted poison, peers, and two strengths."""

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
from sklearn import exceptions, linear_model

import bilevel
from attacks import XY, InsertXY
from benchmarks.data import Parts, filed_parts, filed_poison
from benchmarks.experiments.regression._poisoned_regression import (
    TABLES,
    TARGETS,
    domain,
    poison_files,
    poison_rows,
    rows_of,
    starts,
)
from benchmarks.experiments.regression._poisoned_regression import Options as Attack
from benchmarks.options import SOME, Count, Shares, check
from benchmarks.report import Report, band
from benchmarks.twins import REGRESSIONS, Strengths
from bilevel import Data
from bilevel.learners import Huber, Ridge
from bilevel.tools import program
from defenses import Trim

from ._ridge_behind_trim import PAPER, attack, attacked, cross_validated, outcome

Attacker = Literal["stat-p", "plain", "hard", "soft"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Rates, attackers, splits and sizes."""

    rates: Shares = (0.1, 0.2)
    """Poisoning rates: shares of poison among all training rows; TRIM is told the same, half and
    one and a half times as much."""
    attackers: Annotated[tuple[Attacker, ...], SOME] = (
        "stat-p",
        "plain",
        "hard",
        "soft",
    )
    """stat-p is not optimised; the others are, against ridge alone (plain), behind TRIM (hard), or
    behind its smooth surrogate (soft)."""
    seeds: Count = 10
    """Number of random splits."""
    train: Count = 300
    """Clean training rows."""
    validation: Count = 250
    """Validation rows: the attacker raises the loss on them."""
    test: Count = 500
    """Held-out test rows."""
    restarts: Count = 20
    """Random starts of the second TRIM."""
    steps: Count = 60
    """Steps of the attack."""
    against: Path | None = None
    """Instead: the poison files in this folder, with the filed splits they were made for."""

    def __post_init__(self):
        check(self)


@program
def _for_all(attack_on: Callable[..., XY], *splits) -> XY:
    """The attack on each of the stacked splits; both strengths run one program."""
    return bilevel.batch(attack_on)(*splits)


STRENGTHS = ("paper", "cross-validated")
DELTAS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Of Huber's loss; targets are in [0, 1]."""
WRONG = {"low": 0.5, "high": 1.5}
"""What TRIM is told, of the true rate, by a defender who does not know it."""


def peers(alpha: float, parts: Parts, poison: XY) -> dict[str, float]:
    """Test errors of robust regressions on the poisoned rows: ours by Huber's loss, at the delta of
    `DELTAS` that is best on the test rows, a bound for every way to choose it; and scikit-learn's
    RANSAC and Theil-Sen.
    """
    x = np.concatenate([parts.train.x, poison.x])
    y = np.concatenate([parts.train.y, poison.y])
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    hubers = [Huber(alpha / len(y), delta=delta).fit(Data(x, y)).model for delta in DELTAS]
    ridge = REGRESSIONS["ridge"].theirs(Strengths(alpha=alpha))
    ransac = linear_model.RANSACRegressor(ridge, min_samples=0.5, random_state=0).fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        theil = linear_model.TheilSenRegressor(max_subpopulation=50, random_state=0).fit(x, y)
    predicted = {
        "huber": [np.asarray(huber.decision(jnp.asarray(parts.test.x))) for huber in hubers],
        "ransac": [ransac.predict(parts.test.x)],
        "theil_sen": [theil.predict(parts.test.x)],
    }
    return {
        f"{name}_test_mse": min(float(np.mean((f - parts.test.y) ** 2)) for f in each)
        for name, each in predicted.items()
    }


def verdicts(options: Options, parts: Parts, poison: XY, alpha: float) -> dict[str, float]:
    """Cells of a row: errors on test rows of every defense, and what TRIM dropped."""
    train, held, test = (Data(t.x, t.y) for t in parts)
    data = bilevel.append(train, poison.x, poison.y)
    share = poison.y.shape[0] / data.rows
    learner, bare = Ridge(alpha / data.rows), Ridge(alpha / train.rows)
    told = [Trim(learner, times * share) for times in (1, *WRONG.values())]
    single, *wrong, restarted = (
        outcome(learner, trim, data, train.rows, held, test)
        for trim in (*told, Trim(learner, share, restarts=options.restarts))
    )
    clean = outcome(bare, Trim(bare, share), train, train.rows, held, test)
    return {
        "alpha": alpha, "clean_test_mse": float(clean.plain),
        "trim_clean_test_mse": float(clean.trimmed), "test_mse": float(single.plain),
        "trim_test_mse": float(single.trimmed), "restarts_test_mse": float(restarted.trimmed),
        "poison_removed": float(single.removed), "clean_lost": float(single.lost),
        **{f"trim_{k}_test_mse": float(w.trimmed) for k, w in zip(WRONG, wrong, strict=True)},
        **peers(alpha, parts, poison),
    }  # fmt: skip


def made(
    attacker: str, options: Options, parts: list[Parts], rate: float, alphas: list[float]
) -> list[XY]:
    """Poison of one attacker for all splits."""
    count = poison_rows(rate, options.train)
    setting = Attack(seeds=options.seeds, train=options.train)
    begin = [starts("ridge", setting, p, count, seed) for seed, p in enumerate(parts)]
    if attacker == "stat-p":
        return [s["stat-p"] for s in begin]
    where, total = domain(parts[0].train), options.train + count

    def stack(arrays):
        return jnp.asarray(np.stack(list(arrays)))

    def one(x, y, x_val, y_val, start_x, start_y, alpha):
        learner = Ridge(alpha / total)
        train, held = Data(x, y), Data(x_val, y_val)
        victim = attacked(attacker, learner, rate, train)
        reach = InsertXY(count, where, TARGETS)
        poison = attack(victim, reach, train, held, XY(start_x, start_y), options.steps)
        return XY(where.place(poison.x), TARGETS.place(poison.y))

    result = _for_all(
        one,
        *(stack(getattr(getattr(p, k), a) for p in parts)
          for k in ("train", "validation") for a in "xy"),
        stack(s["b-flip"].x for s in begin), stack(s["b-flip"].y for s in begin),
        jnp.asarray(alphas),
    )  # fmt: skip
    return [XY(result.x[i], result.y[i]) for i in range(len(parts))]


def make_rows(
    options: Options, data: str, attacker: str, strength: str, rate: float
) -> dict[str, list]:
    """The rows of all splits, whose poison is made by one program."""
    table = TABLES[data]()
    parts = [
        table.split(options.train, options.validation, options.test, seed)
        for seed in range(options.seeds)
    ]
    alphas = [cross_validated(p) if strength == "cross-validated" else PAPER for p in parts]
    poison = made(attacker, options, parts, rate, alphas)
    rows = [
        {
            "attacker": attacker, "strength": strength, "rate": rate, "seed": seed,
            **verdicts(options, p, poison[seed], alphas[seed]),
        }
        for seed, p in enumerate(parts)
    ]  # fmt: skip
    return {"rows": rows}


def make_filed(options: Options, path: Path, strength: str) -> dict[str, list]:
    """The row of the poison of another program."""
    theirs = filed_poison(path)
    _, data, _, split, *_ = path.stem.split("_")
    parts = filed_parts(path.with_name(f"{data}_{split}.npz"))
    rate = len(theirs.y) / (len(theirs.y) + len(parts.train.y))
    alpha = cross_validated(parts) if strength == "cross-validated" else PAPER
    cells = verdicts(options, parts, rows_of(theirs.x, theirs.y), alpha)
    key = {"attacker": "filed", "file": path.stem, "strength": strength, "rate": round(rate, 2)}
    return {"rows": [key | cells]}


def run_on(data: str, options: Options, report: Report) -> None:
    """One row per attacker, strength, rate and split; or, with `--against`, per file."""
    if options.against is not None:
        files = poison_files(options.against, data)
        units = [{"path": path, "strength": s} for path in files for s in STRENGTHS]
        report.each(make_filed, options, units, f"trim-{data}, {options.against.name}")
    else:
        units = [
            {"data": data, "attacker": attacker, "strength": strength, "rate": rate}
            for strength in STRENGTHS
            for rate in options.rates
            for attacker in options.attackers
        ]
        report.each(make_rows, options, units, f"trim-{data}")
    _notes(data, report)
    if report.out is not None:
        from benchmarks.pictures.trim import draw

        report.figure(f"trim-{data}", draw(data, report.rows))


def _notes(name: str, report: Report) -> None:
    keys = dict.fromkeys((r["attacker"], r["strength"], r["rate"]) for r in report.rows)
    for attacker, strength, rate in keys:
        key = (attacker, strength, rate)
        rows = [r for r in report.rows if (r["attacker"], r["strength"], r["rate"]) == key]
        errors = ", ".join(
            f"{what} {band([r[cell] / r['clean_test_mse'] for r in rows], 2)}"
            for what, cell in (
                ("no defense", "test_mse"), ("TRIM", "trim_test_mse"),
                ("told half the rate", "trim_low_test_mse"),
                ("told 1.5 times", "trim_high_test_mse"), ("with restarts", "restarts_test_mse"),
                ("TRIM without poison", "trim_clean_test_mse"),
                ("Huber", "huber_test_mse"), ("RANSAC", "ransac_test_mse"),
                ("Theil-Sen", "theil_sen_test_mse"),
            )
        )  # fmt: skip
        removed = 100 * np.mean([r["poison_removed"] for r in rows])
        report.note(
            f"{name}, {attacker}, {strength} strength, {100 * rate:.0f} % poison: test MSE as a "
            f"multiple of that of clean rows: {errors}; TRIM removes {removed:.0f} % of the "
            f"poison; {len(rows)} {'files' if attacker == 'filed' else 'splits'}"
        )
    report.note(
        "TRIM is told the rate, and gets the rows in random order; Huber is at the best of "
        f"{len(DELTAS)} deltas by the test rows"
    )
