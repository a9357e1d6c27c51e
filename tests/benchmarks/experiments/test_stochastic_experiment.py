import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.experiments.tuning.stochastic import Options, load, run
from benchmarks.report import Report, UsageError


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"steps": 5}, {"exact_steps": 1}])
def test_options_that_make_no_sense_are_sentences(wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong)).replace('_', '-')}: got"):
        Options(**wrong)


def test_the_parts_of_the_digits_are_equal_and_apart() -> None:
    problem, bound = load(Options(batch=50))
    (train, labels), (held, _) = problem.inner_data, problem.outer_data
    assert train.shape == held.shape == (850, 64)
    assert set(np.asarray(labels).tolist()) == set(range(10))
    together = np.unique(np.concatenate([train, held]), axis=0)
    assert len(together) == 1700  # no image is in both
    assert 0.1 < bound < 10


@pytest.mark.slow
def test_every_method_tunes_the_penalties(tmp_path: Path, standard_promotion) -> None:
    options = Options(steps=2000, exact_steps=12)
    report = Report("stochastic", options, json_path=tmp_path / "a.json", out=tmp_path)
    run(options, report)
    report.finish()
    rows = {row["method"]: row for row in json.loads((tmp_path / "a.json").read_text())["rows"]}
    assert list(rows) == ["SOBA", "SABA", "AmIGO", "StocBiO", "F2SA", "exact"]
    for row in rows.values():
        assert row["share_of_start"] < 0.3
        assert row["cpu_s"] > 0
    assert min(row["suboptimality"] for row in rows.values()) >= 0
    assert (tmp_path / "stochastic.png").stat().st_size > 20_000
