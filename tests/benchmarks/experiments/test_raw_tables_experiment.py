"""`raw-tables`: what it counts, and that it sees wrong slopes and lost objectives."""

import numpy as np
import pytest

from benchmarks.data.raw import FILED, RAW
from benchmarks.experiments.hypergradients import raw_tables
from benchmarks.experiments.hypergradients.raw_tables import Options, attack, drawn, run, solved
from benchmarks.fuzz.exact.arithmetic import EXTENDED
from benchmarks.report import Report, UsageError

extended = pytest.mark.skipif(not EXTENDED, reason="long double is no wider than double here")


def counts(draw: int = 0) -> dict[str, int]:
    train, validation, rng = drawn("offset", 40, draw)
    return solved("ridge", train, validation, rng)


@extended
def test_a_slope_beyond_its_bound_and_an_objective_above_theirs_are_counted(monkeypatch) -> None:
    good = {"theirs": 1, "ours": 1, "lost": 0, "right": 1, "degenerate": 0, "wrong": 0}
    assert counts() == good
    exact = raw_tables.exact_slope

    def off(*args):
        slope, slack = exact(*args)
        return slope * (1 + 1e-6), slack

    monkeypatch.setattr(raw_tables, "exact_slope", off)
    assert counts() == good | {"right": 0, "wrong": 1}
    theirs = raw_tables.theirs_at
    monkeypatch.setattr(raw_tables, "theirs_at", lambda *args: (theirs(*args)[0], -1e-3))
    assert counts() == good | {"ours": 0, "lost": 1, "right": 0}


def test_drawn_tables_have_two_classes_and_are_not_scaled() -> None:
    for name in RAW:
        if name not in FILED:
            train, validation, _ = drawn(name, 150, 0)
            assert (len(train.y), len(validation.y)) == (150, 100)
            assert np.unique(train.y).tolist() == [-1, 1]
            assert train.x.shape[1] % 64 == 0
    assert np.abs(drawn("credit", 150, 0)[0].x).max() > 1e3
    with pytest.raises(UsageError, match="--draws"):
        Options(draws=0)


@pytest.mark.slow
@extended
def test_every_learner_and_attack_ends_on_one_hot_rows() -> None:
    report = Report("raw-tables", options := Options(tables=("categories",), rows=200, draws=2))
    run(options, report)
    assert all(row.get("lost", 0) == row.get("wrong", 0) == 0 for row in report.rows)
    assert all(row["ended"] == 2 for row in report.rows if "ended" in row)
    train, validation, rng = drawn("categories", 60, 0)
    assert attack("ridge", train, validation, rng, steps=3)
