"""The bracket of an audit: what is counted, and the ratio that is printed."""

import numpy as np
import pytest

from benchmarks.experiments.audit import certified_found
from benchmarks.report import Report
from defenses.data_audit.damage import Found
from defenses.data_audit.report import Budget

OPTIONS = certified_found.Options(tables=("wine",), splits=1, learners=("logistic",))


def test_attacks_and_bound_are_of_one_number_of_rows_and_of_the_test_rows(monkeypatch) -> None:
    given = {}

    def found(judge, parts, attacker, moved, counts, shares, middle, reach, seed, advance):
        advance("nothing")
        given.update(parts=parts, judge=judge, seed=seed, reach=reach)
        budgets = [
            Budget(share, count, 0.2, "added", 0.1, 0.0, 0.4, ())
            for share, count in zip(shares, counts, strict=True)
        ]
        return Found(tuple(budgets), (), None, None, None)

    monkeypatch.setattr(certified_found, "found", found)
    rows = certified_found.make_rows(OPTIONS, "diabetes", "logistic", 3)["rows"]
    parts, judge = given["parts"], given["judge"]
    assert (given["seed"], given["reach"]) == (3, "observed")
    assert [row["rows"] for row in rows] == [round(s * parts.train.y.size) for s in (0.01, 0.03)]
    clean = judge.error(judge.fit(parts.train), parts.test)
    assert judge.error(judge.fit(parts.train), parts.choose) != clean
    for row in rows:
        assert (row["clean_err"], row["found_err"], row["certified_err"]) == (clean, 0.2, 0.4)


def test_ratios_are_of_errors_and_of_what_they_are_above_the_clean_one() -> None:
    report = Report("certified-found", OPTIONS)
    cells = [(0.1, 0.2, 0.4), (0.0, 0.1, 0.6), (0.05, 0.3, 0.3), (0.2, 0.2, 0.5), (0.1, 0.2, None)]
    made = [
        {"clean_err": clean, "found_err": found, "certified_err": bound, "table": "wine",
         "learner": "logistic", "split": 0, "share": 0.01, "rows": 1, "attack": "added"}
        for clean, found, bound in cells
    ]  # fmt: skip
    bounded = made[:4]
    np.testing.assert_allclose(certified_found._quartiles(bounded, "error"), (2, 2.5, 2.5))
    np.testing.assert_allclose(certified_found._quartiles(bounded, "damage"), (3, 6, 6))
    report.rows.extend(made)
    certified_found._notes(OPTIONS, report)
    assert report.notes[0].startswith("logistic, 1% poison: a bound below 100 % in 4 of 5 splits")
    assert "quartiles: error 2.0, 2.5, 2.5; damage 3.0, 6.0, 6.0" in report.notes[0]


@pytest.mark.slow
def test_the_bound_is_above_what_was_found() -> None:
    report = Report("certified-found", OPTIONS)
    options = certified_found.Options(tables=("diabetes",), splits=1, learners=("ridge",))
    certified_found.run(options, report)
    assert len(report.rows) == 2
    for row in report.rows:
        assert row["clean_err"] <= row["found_err"] < row["certified_err"] < 1
