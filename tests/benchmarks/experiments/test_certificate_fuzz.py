"""A small part of `certificate-fuzz`; and it sees a wrong certificate."""

import equinox as eqx
import pytest

from benchmarks.experiments.hypergradients import certificate_fuzz
from benchmarks.experiments.hypergradients.certificate_fuzz import Options, judge, run
from benchmarks.fuzz.exact.arithmetic import EXTENDED
from benchmarks.report import Report

pytestmark = pytest.mark.skipif(not EXTENDED, reason="long double is no wider than double here")
HARD = ("plain", "weighted", "duplicated", "one-hot", "offset", "mixed-scales", "weak", "small")


def test_no_bound_is_missed_on_hard_tables():
    report = Report("certificate-fuzz", options := Options(("svm-linear", "ridge"), HARD, 10))
    run(options, report)
    assert len(report.rows) == 16
    assert all(row["missed"] == row["unsolved"] == row["regular"] == 0 for row in report.rows)
    by_family = {row["family"]: row for row in report.rows if row["learner"] == "svm-linear"}
    assert by_family["one-hot"]["degenerate"] > 5  # more rows on the margin than features
    assert by_family["plain"]["right"] >= 8  # of the others no row is on the margin
    assert by_family["offset"]["right"] == 10
    assert "0 missed" in report.notes[0]


def test_a_gradient_beyond_its_bound_is_missed(monkeypatch):
    def planted(kind, objective, z, certificate, model, warm):
        wrong = 1e-6 * certificate.gradient[0]
        certificate = eqx.tree_at(lambda c: c.gradient[0], certificate, replace_fn=wrong.__add__)
        return judge(kind, objective, z, certificate, model, warm)

    monkeypatch.setattr(certificate_fuzz, "judge", planted)
    found = certificate_fuzz.verdicts("ridge", "plain", 0, 10)
    assert [verdict.kind for verdict in found] == ["missed"] * 10


def test_a_wrong_active_set_is_missed(monkeypatch):
    def planted(kind, objective, z, certificate, model, warm):
        warm = eqx.tree_at(lambda w: w.lower, warm, ~warm.lower & ~warm.upper)
        return judge(kind, objective, z, certificate, model, warm)

    monkeypatch.setattr(certificate_fuzz, "judge", planted)
    found = certificate_fuzz.verdicts("svm-linear", "plain", 0, 10)
    kinds = [verdict.kind for verdict in found]
    assert "right" not in kinds
    assert kinds.count("missed") >= 8
