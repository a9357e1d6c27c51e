"""A small part of `certificate-fuzz`; and it sees a wrong certificate."""

import equinox as eqx
import numpy as np
import pytest

from benchmarks.experiments.hypergradients import certificate_fuzz
from benchmarks.experiments.hypergradients.certificate_fuzz import Options, judge, run
from benchmarks.fuzz.exact import sanitised
from benchmarks.fuzz.exact.arithmetic import EXTENDED
from benchmarks.fuzz.kinds import KINDS
from benchmarks.report import Report

pytestmark = pytest.mark.skipif(not EXTENDED, reason="long double is no wider than double here")
HARD = ("plain", "weighted", "duplicated", "one-hot", "offset", "mixed-scales", "weak", "small")


def ran(*args) -> Report:
    report = Report("certificate-fuzz", options := Options(*args))
    run(options, report)
    return report


def test_no_bound_is_missed_on_hard_tables():
    report = ran(("svm-linear", "ridge"), HARD, 10)
    assert len(report.rows) == 16
    assert all(row["missed"] == row["unsolved"] == row["regular"] == 0 for row in report.rows)
    by_family = {row["family"]: row for row in report.rows if row["kind"] == "svm-linear"}
    assert by_family["one-hot"]["degenerate"] > 5  # more rows on the margin than features
    assert by_family["plain"]["right"] >= 8  # of the others no row is on the margin
    assert by_family["offset"]["right"] == 10
    assert "0 missed" in report.notes[0]


CORE = ("qp", "network-fixed-point", "group-lasso-fista", "soft-filter-logistic")


def test_nor_on_programs_fixed_points_penalties_and_defenses():
    report = ran(CORE, ("plain", "offset"), 5)
    for row in report.rows:
        assert (row["right"], row["missed"]) == (5, 0), row
        assert row["family"] != "plain" or row["ratio_90"] < 1000


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_nor_for_any_kind(kind):
    report = ran((kind,), ("plain", "duplicated", "one-hot", "mixed-scales"), 5)
    assert all(row["missed"] == 0 for row in report.rows)
    assert next(row["right"] for row in report.rows if row["family"] == "plain") >= 4


def test_a_gradient_beyond_its_bound_is_missed(monkeypatch):
    def planted(kind, objective, z, certificate, face):
        wrong = 1e-6 * certificate.gradient[0]
        certificate = eqx.tree_at(lambda c: c.gradient[0], certificate, replace_fn=wrong.__add__)
        return judge(kind, objective, z, certificate, face)

    monkeypatch.setattr(certificate_fuzz, "judge", planted)
    found = certificate_fuzz.verdicts("ridge", "plain", 0, 10)
    assert [verdict.kind for verdict in found] == ["missed"] * 10


def test_a_wrong_active_set_is_missed(monkeypatch):
    def planted(kind, objective, z, certificate, face):
        free = ~face.warm.lower & ~face.warm.upper
        face = eqx.tree_at(lambda face: face.warm.lower, face, free)
        return judge(kind, objective, z, certificate, face)

    monkeypatch.setattr(certificate_fuzz, "judge", planted)
    found = certificate_fuzz.verdicts("svm-linear", "plain", 0, 10)
    kinds = [verdict.kind for verdict in found]
    assert "right" not in kinds
    assert kinds.count("missed") >= 8


def test_wrong_choices_of_a_defense_are_seen():
    """The references choose the rows and labels of hard defenses again."""
    rng = np.random.default_rng(0)
    y, weight, score = np.resize([1.0, -1.0], 10), np.ones(10), np.arange(10.0)
    kept = score < 8
    assert sanitised.trimmed(score, y, weight, kept, 0.2)
    assert not sanitised.trimmed(score, y, weight, np.roll(kept, 1), 0.2)
    x = rng.normal(size=(10, 2)) + y[:, None]
    x[:2] = 9.0 * y[:2, None]
    assert sanitised.filtered(x, y, weight, np.arange(10) > 1, 0.2)
    assert not sanitised.filtered(x, y, weight, kept, 0.2)
    y = np.where(x[:, 0] > 0, 1.0, -1.0)
    assert sanitised.relabelled(x, y, weight, y) != sanitised.relabelled(x, y, weight, -y)
