"""The arena, the dilemma and TRIM's experiments, on small and made-up rows."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from roles import changed, relabelled
from sklearn import linear_model

from attacks import XY
from benchmarks.data import Group, Table
from benchmarks.experiments.defenses import _trim_on_table as _trim
from benchmarks.experiments.defenses import arena, dilemma
from benchmarks.experiments.defenses._ridge_behind_trim import Outcome, attacked, outcome
from benchmarks.report import Report, UsageError
from bilevel import Data
from bilevel.learners import Ridge
from defenses import SoftTrim, Trim


def table(rows: int = 90) -> Table:
    rng = np.random.default_rng(0)
    numbers = rng.uniform(size=(rows, 3))
    kinds = np.eye(4)[rng.integers(4, size=rows)][:, :3]
    x = np.column_stack([numbers, kinds])
    y = x @ np.array([0.4, 0.1, 0.0, 0.3, 0.1, 0.0]) + 0.05 * rng.normal(size=rows)
    names = ("a", "b", "c", "k:0", "k:1", "k:2")
    return Table(x, np.clip(y, 0, 1), names, (Group("k", (3, 4, 5)),))


@pytest.mark.parametrize("rates", [(0.2,), pytest.param((0.1, 0.2), marks=pytest.mark.slow)])
def test_the_arena_judges_every_cell(rates, tmp_path: Path) -> None:
    options = arena.Options(
        attacks=("insert", "flips"), defenses=("filter",), learners=("ridge",), rates=rates,
        seeds=2, train=40, validation=40, test=60, steps=15,
    )  # fmt: skip
    report = Report("arena", options, json_path=tmp_path / "a.json", out=tmp_path)
    arena.run(options, report)
    report.finish()
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert len(rows) == 2 * len(rates) * 2
    for row in rows:
        assert row["undefended_err"] > row["clean_err"]
        assert 0 <= row["poison_removed"] <= 1
        assert 0 <= row["clean_lost"] <= 0.3
    gained = [r["adapted_err"] - r["unaware_err"] for r in rows if r["attack"] == "insert"]
    assert np.mean(gained) > 0
    assert (tmp_path / "arena.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_dilemma_is_drawn(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(dilemma, "house", table)
    options = dilemma.Options(
        sets=("house",), radii=(0.02, 0.5), attackers=("plain", "hard"), seeds=2, train=30,
        validation=25, test=30, steps=15,
    )  # fmt: skip
    report = Report("dilemma", options, out=tmp_path)
    dilemma.run(options, report)
    assert len(report.rows) == 2 * 2 * 2
    plain = [r for r in report.rows if r["attacker"] == "plain"]
    weak, strong = (
        np.mean([r["test_mse"] / r["clean_test_mse"] for r in plain if r["radius"] == radius])
        for radius in options.radii
    )
    assert strong > 2 * weak
    assert (tmp_path / "dilemma.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("attackers", [("stat-p", "plain"), ("plain", "soft")])
def test_trim_beside_its_peers(attackers, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(_trim.TABLES, "house", table)
    options = _trim.Options(
        rates=(0.2,), attackers=attackers, seeds=2, train=30, validation=25, test=30,
        restarts=4, steps=10,
    )  # fmt: skip
    report = Report("trim-house", options, out=tmp_path)
    _trim.run_on("house", options, report)
    assert len(report.rows) == 2 * 2 * 2
    for row in report.rows:
        assert row["attacker"] != "plain" or row["test_mse"] > 2 * row["clean_test_mse"]
        assert np.isfinite(row["huber_test_mse"] + row["ransac_test_mse"] + row["trim_test_mse"])
    assert (tmp_path / "trim-house.png").stat().st_size > 10_000


def trimmed(x, y, alpha: float, share: float):
    """(scikit-learn's ridge of the rows that stay, which ones they are), by the paper's loop."""
    keep = np.ones(len(y), bool)
    while True:
        model = linear_model.Ridge(alpha / len(y) * keep.sum()).fit(x[keep], y[keep])
        order = np.argsort((model.predict(x) - y) ** 2)
        new = np.isin(np.arange(len(y)), order[: round((1 - share) * len(y))])
        if np.all(new == keep):
            return model, keep
        keep = new


@pytest.mark.slow
def test_verdicts_on_trim_are_those_of_scikit_learn_on_test_rows() -> None:
    """The rows of the other tests on TRIM, so that nothing is compiled for this one."""
    parts, alpha, count = table().split(30, 25, 30), 0.1, 8
    clean, test = parts.train, parts.test
    poison = XY(jnp.asarray(clean.x[:count]), jnp.asarray(1.5 - clean.y[:count]))
    x, y = np.concatenate([clean.x, poison.x]), np.concatenate([clean.y, poison.y])
    options = _trim.Options(restarts=4)
    found = _trim.verdicts(options, parts, poison, alpha)

    def error(model) -> float:
        return np.mean((model.predict(test.x) - test.y) ** 2)

    share = count / len(y)
    (hard, kept), (cost, _) = (
        trimmed(*rows, alpha, share) for rows in ((x, y), (clean.x, clean.y))
    )
    expected = {
        "clean_test_mse": error(linear_model.Ridge(alpha).fit(clean.x, clean.y)),
        "test_mse": error(linear_model.Ridge(alpha).fit(x, y)),
        "trim_test_mse": error(hard), "trim_clean_test_mse": error(cost),
        "trim_low_test_mse": error(trimmed(x, y, alpha, share / 2)[0]),
        "trim_high_test_mse": error(trimmed(x, y, alpha, 1.5 * share)[0]),
        "poison_removed": np.mean(~kept[30:]), "clean_lost": np.mean(~kept[:30]),
    }  # fmt: skip
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-7, err_msg=name)
    assert len(set(expected.values())) == len(expected)
    for name, tested in (
        ("test", {cell for cell in found if "test" in cell}),
        ("validation", set()),
    ):
        after = _trim.verdicts(options, relabelled(parts, name), poison, alpha)
        assert changed(found, after) == tested


def test_an_outcome_is_of_the_rows_that_it_names() -> None:
    parts, count, alpha = table().split(30, 25, 30), 8, 0.1
    x = np.concatenate([parts.train.x, parts.train.x[:count]])
    y = np.concatenate([parts.train.y, 1.5 - parts.train.y[:count]])
    learner = Ridge(alpha / len(y))
    of = outcome(learner, Trim(learner, count / len(y)), Data(x, y), 30,
                 *(Data(part.x, part.y) for part in (parts.validation, parts.test)))  # fmt: skip
    hard, kept = trimmed(x, y, alpha, count / len(y))
    plain = linear_model.Ridge(alpha).fit(x, y)
    expected = [
        np.mean((model.predict(part.x) - part.y) ** 2)
        for model, part in ((plain, parts.test), (hard, parts.test), (hard, parts.validation))
    ]
    np.testing.assert_allclose(of[:3], expected, rtol=1e-7)
    assert [float(share) for share in of[3:]] == [np.mean(~kept[30:]), np.mean(~kept[:30])]


def test_verdicts_are_of_the_outcomes_that_they_name(monkeypatch) -> None:
    """Outcomes that say whose they are: rows of training, rate told and restarts, rows tested."""
    parts, asked = table().split(30, 25, 29), []

    def said(learner, trim, data, clean, held, test) -> Outcome:
        assert (trim.learner, clean, held.rows, test.rows) == (learner, 30, 25, 29)
        assert float(learner.l2) == pytest.approx(0.1 / data.rows)
        asked.append((data.rows, round(float(trim.contamination) * 38, 9), trim.restarts))
        return Outcome(*(jnp.asarray(10.0 * len(asked) + k) for k in range(5)))

    monkeypatch.setattr(_trim, "outcome", said)
    monkeypatch.setattr(_trim, "peers", lambda *of: {})
    poison = XY(jnp.asarray(parts.train.x[:8]), jnp.asarray(parts.train.y[:8]))
    found = _trim.verdicts(_trim.Options(restarts=4), parts, poison, 0.1)
    assert asked == [(38, 8, 0), (38, 4, 0), (38, 12, 0), (38, 8, 4), (30, 8, 0)]
    assert found == {
        "alpha": 0.1, "test_mse": 10, "trim_test_mse": 11, "poison_removed": 13, "clean_lost": 14,
        "trim_low_test_mse": 21, "trim_high_test_mse": 31, "restarts_test_mse": 41,
        "clean_test_mse": 50, "trim_clean_test_mse": 51,
    }  # fmt: skip


def test_the_victim_is_the_learner_or_the_one_behind_trim() -> None:
    learner, data = Ridge(0.1), Data(table().x, table().y)
    assert attacked("plain", learner, 0.2, data) is learner
    for attacker, kind in (("hard", Trim), ("soft", SoftTrim)):
        victim = attacked(attacker, learner, 0.2, data)
        assert isinstance(victim, kind)
        assert (victim.learner, float(victim.contamination)) == (learner, 0.2)


@pytest.mark.slow
def test_poison_of_another_program_is_trimmed(tmp_path: Path) -> None:
    parts = table().split(30, 25, 30)
    arrays = {
        f"{kind}{name}": getattr(part, name)
        for kind, part in zip(("trn", "vld", "tst"), parts, strict=True)
        for name in "xy"
    }
    np.savez(tmp_path / "house_s0.npz", colmap=np.array(json.dumps({"k": [3, 4, 5]})), **arrays)
    x, y = parts.train.x[:6], 1.5 - parts.train.y[:6]
    np.savez(tmp_path / "poison_house_ridge_s0_none_p16.npz", px=x, py=y, ix=x, iy=y, lam=0.1)
    report = Report("trim-house", None)
    _trim.run_on("house", _trim.Options(against=tmp_path, restarts=4), report)
    assert [row["strength"] for row in report.rows] == ["paper", "cross-validated"]
    for row in report.rows:
        assert row["trim_test_mse"] < row["test_mse"]
        assert row["poison_removed"] > 0.5
    with pytest.raises(UsageError, match="holds no poison_pharm"):
        _trim.run_on("pharm", _trim.Options(against=tmp_path), report)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (lambda: arena.Options(rates=()), "rates"),
        (lambda: arena.Options(contamination=1.0), "contamination"),
        (lambda: arena.Options(learners=()), "learners"),
        (lambda: dilemma.Options(radii=(0.0,)), "radii"),
        (lambda: dilemma.Options(rate=1.0), "rate"),
        (lambda: _trim.Options(attackers=()), "attackers"),
        (lambda: _trim.Options(steps=0), "steps"),
    ],
)
def test_options_that_make_no_sense_are_sentences(options, name) -> None:
    with pytest.raises(UsageError, match=f"^--{name}: got"):
        options()
