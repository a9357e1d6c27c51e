"""A small part of `certificate-fuzz`; and it sees a wrong certificate."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import numpy as np
import pytest

from benchmarks.experiments.hypergradients import certificate_fuzz
from benchmarks.experiments.hypergradients.certificate_fuzz import Options, judge, run
from benchmarks.fuzz import tables
from benchmarks.fuzz.exact import programs, ridge, sanitised
from benchmarks.fuzz.exact.arithmetic import EXTENDED
from benchmarks.fuzz.kinds import KINDS
from benchmarks.fuzz.programs import PROGRAMS
from benchmarks.report import Report
from bilevel.results import CONVERGED, MAX_STEPS

pytestmark = pytest.mark.skipif(not EXTENDED, reason="long double is no wider than double here")
HARD = ("plain", "weighted", "duplicated", "one-hot", "offset", "mixed-scales", "weak", "small")


def ran(*args) -> Report:
    report = Report("certificate-fuzz", options := Options(*args))
    run(options, report)
    return report


def test_no_bound_is_missed_on_hard_tables():
    report = ran(("svm-linear", "ridge"), HARD, 6)
    assert len(report.rows) == 16
    assert all(row["missed"] == row["unsolved"] == row["regular"] == 0 for row in report.rows)
    by_family = {row["family"]: row for row in report.rows if row["kind"] == "svm-linear"}
    assert by_family["one-hot"]["degenerate"] > 3  # more rows on the margin than features
    assert by_family["plain"]["right"] >= 5  # of the others no row is on the margin
    assert by_family["offset"]["right"] == 6
    assert "0 missed" in report.notes[0]


CORE = ("qp", "network-fixed-point", "group-lasso-fista", "soft-filter-logistic")


@pytest.mark.slow
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


JUDGED = {
    "right": ({}, {}, ("right", 2.5)),
    "as good as exact": ({"gradient": np.array([3.0, 4.0])}, {}, ("right", 0.5 / (5 * 2.0**-52))),
    "zero": ({"zero": True}, {}, ("right", np.nan)),
    "beyond": ({"error_bound": 0.19}, {}, ("missed", np.nan)),
    "without a bound": ({"error_bound": np.inf}, {}, ("missed", np.nan)),
    "another set": ({}, {"slack": -1e-3}, ("missed", np.nan)),
    "unknown": ({}, {"true": np.array([np.nan, 4])}, ("missed", np.nan)),
    "unsolved": ({"result": MAX_STEPS}, {}, ("unsolved", np.nan)),
    "degenerate": ({"degenerate": True}, {}, ("degenerate", np.nan)),
}


@pytest.mark.parametrize("name", JUDGED)
def test_a_verdict_is_of_error_bound_and_set(name, monkeypatch):
    """The ratio is of bound and error; an error below rounding is taken as rounding."""
    said, known, expected = JUDGED[name]
    usual = {"result": CONVERGED, "degenerate": False, "gradient": np.array([3.2, 4.0]),
             "error_bound": 0.5, "zero": False}  # fmt: skip
    true = {"true": np.array([3.0, 4.0]), "slack": 1e-3, "condition": 10.0} | known
    monkeypatch.setattr(certificate_fuzz, "exact_gradient", lambda *a: tuple(true.values()))
    nothing: Any = None
    certificate: Any = SimpleNamespace(**usual | said)
    found = judge(nothing, nothing, nothing, certificate, nothing)
    assert found.kind == expected[0]
    np.testing.assert_allclose(found.ratio, expected[1])
    assert found.regular == (name == "degenerate")


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


@pytest.mark.parametrize("kind", ["qp", "box-qp", "constrained"])
def test_references_are_of_the_program_that_is_solved(monkeypatch, kind):
    """The exact solver is given what ours is, and its point is judged as ours is."""
    posed = PROGRAMS[kind]
    objective: Any
    objective, z = posed.pose(tables.plain(np.random.default_rng(3)))
    problem = objective.pose(z).problem
    given, n = [], z[0].size
    point = np.linspace(-1, 1, n)
    equal, unequal = np.array([0.5]), np.linspace(0, 1, 7)

    def exact(*arguments):
        given.extend(arguments)
        return programs.Solved(point, equal, unequal, 1.0, 1.0)

    for name in ("qp", "box_qp", "logistic_in_a_ball"):
        monkeypatch.setattr(programs, name, exact)
    at_bounds = np.arange(n) < 2, np.arange(n) > 5
    start = SimpleNamespace(lam=unequal), *at_bounds
    face: Any = {
        "qp": start, "box-qp": at_bounds, "constrained": ((point, equal, unequal), None),
    }[kind]  # fmt: skip
    found = posed.exact(objective, face)(tuple(map(np.asarray, z)))
    ours: Any = SimpleNamespace(x=point, nu=equal, lam=unequal)
    value = objective.outer(objective.fixed, (point,) if kind == "box-qp" else ours)
    np.testing.assert_allclose(float(found.value), float(value), rtol=1e-12)
    if kind == "constrained":
        x, y, share, a, G, (q, b, h, radius, strength) = problem.args
        expected = x, y, share, strength, q, a, b, G, h, radius, point, unequal > 0
        given[10] = given[10][0]
    else:
        own = [getattr(problem, field.name) for field in dataclasses.fields(problem)]
        expected = [*own, *(at_bounds if kind == "box-qp" else [unequal > 0])]
    for theirs, leaf in zip(given, expected, strict=True):
        np.testing.assert_allclose(theirs, leaf, rtol=1e-14)


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


def test_exact_shares_have_the_derivative_of_their_differences():
    """The reference makes its matrix in its first call, when the table has a complex step. That
    must not enter: it does not cancel where rows have no weight, whose shares are in no sum.
    """
    rng = np.random.default_rng(2)
    x, mass = rng.normal(size=(12, 3)), 10 ** rng.uniform(-3, 2, 12)
    y = x[:, 0] ** 2 + rng.normal(size=12)
    mass[:2] = 0
    used = mass > 0

    def loss(y, decision):
        return (decision - y) ** 2 / 2

    share = np.full(12, 0.8)
    for _ in range(40):
        decision = ridge(x, y, mass * share, 0.1).decision(x)
        share = sanitised.soft_lowest(loss(y, decision), used, 0.8 * used.sum(), 2)

    def first(row, weight, l2):
        """The decision on the first row, of a new reference, after moves of the last row, of its
        weight and of the strength.
        """
        there, heavy = x + 0 * row, mass + 0 * weight
        there[-1, 0], heavy[-1] = there[-1, 0] + row, heavy[-1] + weight

        def train(weights):
            return ridge(there, y, weights, 0.1 + l2)

        return sanitised.SoftTrim(loss, 0.2, mass * share)(train, there, y, heavy).decision(x)[0]

    for move in np.eye(3, dtype=np.longdouble):
        h, step = np.longdouble(1e-6), np.longdouble(1e-60)
        difference = (first(*(h * move)) - first(*(-h * move))) / (2 * h)
        derivative = np.imag(first(*(1j * step * move))) / step
        assert abs(difference) > 0.01
        assert abs(derivative / difference - 1) < 1e-8, move
