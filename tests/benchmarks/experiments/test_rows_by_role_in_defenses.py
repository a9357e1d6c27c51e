"""Attacks on defenses see validation rows, their errors are of test rows, baselines are clean."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from roles import Climbed, OneSplit, check_roles, drawn, pull, relabelled

from attacks import XY, LabelFlips
from benchmarks.data import Parts
from benchmarks.experiments.defenses import (
    _arena_attacks,
    _arena_cells,
    _ridge_behind_trim,
    _trim_on_table,
    arena,
    dilemma,
)
from benchmarks.experiments.defenses._arena_attacks import Field
from benchmarks.experiments.defenses._arena_cells import Baseline, Verdict
from benchmarks.report import Report
from bilevel.learners import Fixed, LinearModel, Ridge

LABELLED, TARGETS = drawn(), drawn(targets=True)
OPTIONS = arena.Options(
    attacks=("insert",), defenses=("trim",), learners=("ridge",), rates=(0.1, 0.2), seeds=2,
    train=25, validation=13, test=17,
)  # fmt: skip


ATTACKS = ("insert", "not-moved")


def field(options: arena.Options = OPTIONS) -> Field:
    return Field(options, [LABELLED, relabelled(relabelled(LABELLED, "validation"), "test")])


def test_the_arena_judges_on_validation_and_on_test_rows() -> None:
    w, bias = np.array([2.0, -1.0, 0.5]), -0.9
    model = Fixed(LinearModel(jnp.asarray(w), jnp.asarray(bias)))
    here = field()
    verdict = _arena_cells.judge(here, model)(here.clean)
    for seed, parts in enumerate(here.parts):
        for found, rows in ((verdict.val, parts.validation), (verdict.test, parts.test)):
            wrong = np.mean(np.sign(rows.x @ w + bias) != rows.y)
            np.testing.assert_allclose(found[:, seed], wrong)
    assert len(set(verdict.val[0]) | set(verdict.test[0])) == 4


def test_attacks_of_the_arena_look_at_validation_rows(monkeypatch) -> None:
    held = []

    def insert(train, start, labels, validation, *others, **settings):
        return Climbed(start + pull(validation))

    def flips(data, budget, validation, *others, **settings):
        held.append(np.asarray(validation.y))
        return LabelFlips(jnp.arange(budget), jnp.ones(budget), jnp.ones(budget, int), jnp.int32(0))

    monkeypatch.setattr(_arena_attacks, "poison_classifier", insert)
    monkeypatch.setattr(_arena_attacks, "flip_by_hypergradient", flips)
    monkeypatch.setattr(_arena_attacks, "flip_random", lambda key, *a, **s: flips(*a, **s))
    here, learner = field(), Ridge(0.1)
    moved = _arena_attacks.inserted(here, learner).x[:, :, OPTIONS.train :]
    for seed, parts in enumerate(here.parts):
        expected = here.starts(seed)[0] + pull(parts.validation)
        for of_rate in moved[:, seed]:
            np.testing.assert_allclose(of_rate, expected)
    for chance in (False, True):
        _arena_attacks.flipped(here, learner, learner, chance)
    np.testing.assert_array_equal(held, [p.validation.y for p in here.parts] * 2)


def test_cells_of_the_arena_are_of_test_rows_and_of_poison_made_for_the_defense(
    monkeypatch,
) -> None:
    """The adapted attacker does not fall back on poison made without knowing the defense; a control
    has nothing to adapt.
    """
    here = field(dataclasses.replace(OPTIONS, attacks=ATTACKS))
    shape = here.clean.y.shape
    others = here.clean._replace(y=here.clean.y * np.where(np.arange(shape[-1]) < 3, -1, 1))
    clean, unaware, adapted = here.clean, others, others._replace(weight=0.5 * others.weight + 0.5)

    def says(val, test, dropped=()) -> Verdict:
        kept = np.ones(shape)
        kept[:, :, list(dropped)] = 0
        return Verdict(np.array(val), np.array(test), kept, others.y)

    defended = {
        id(clean): says(np.full((2, 2), 0.9), [[0.01, 0.02], [0.03, 0.04]]),
        id(unaware): says([[0.1, 0.3], [0.2, 0.2]], [[0.9, 0.1], [0.5, 0.9]], (0, 1, 4)),
        id(adapted): says([[0.2, 0.2], [0.2, 0.3]], [[0.3, 0.8], [0.7, 0.4]], (0,)),
    }
    monkeypatch.setattr(_arena_cells, "judge", lambda *a: lambda rows: defended[id(rows)])
    monkeypatch.setattr(_arena_cells, "made", lambda *a: adapted)
    undefended = says(np.zeros((2, 2)), [[0.15, 0.16], [0.17, 0.18]])
    base = Baseline(
        Ridge(0.1), says(np.zeros((2, 2)), [[0.05, 0.06], [0.07, 0.08]]),
        dict.fromkeys(ATTACKS, unaware), dict.fromkeys(ATTACKS, undefended),
    )  # fmt: skip
    cells = _arena_cells.meet(here, "ridge", "trim", base)
    for attack, knowing in zip(ATTACKS, ([0.3, 0.8, 0.7, 0.4], [0.9, 0.1, 0.5, 0.9]), strict=True):
        found = {name: [c[name] for c in cells if c["attack"] == attack] for name in cells[0]}
        assert [*zip(found["rate"], found["seed"], strict=True)] == [
            (0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1),
        ]  # fmt: skip
        assert found["adapted_err"] == knowing
        assert found["unaware_err"] == [0.9, 0.1, 0.5, 0.9]
        assert found["clean_err"] == [0.05, 0.06, 0.07, 0.08]
        assert found["clean_defended_err"] == [0.01, 0.02, 0.03, 0.04]
        assert found["undefended_err"] == [0.15, 0.16, 0.17, 0.18]
        # poison: three flipped labels, and the five slots that the adapted attack fills
        np.testing.assert_allclose(found["poison_removed"], 2 / 3)
        np.testing.assert_allclose(found["clean_lost"], 1 / 22)
        aware = 1 / 8 if attack == "insert" else 2 / 3
        np.testing.assert_allclose(found["adapted_poison_removed"], aware)


def test_rows_of_the_arena_that_are_not_moved_are_where_the_others_start() -> None:
    here, learner = field(), Ridge(0.1)
    rows = _arena_attacks.made("not-moved", here, learner, learner)
    for rate, count in enumerate(OPTIONS.budgets):
        for seed in range(OPTIONS.seeds):
            start, label = here.starts(seed)
            np.testing.assert_array_equal(rows.x[rate, seed, OPTIONS.train :], start)
            np.testing.assert_array_equal(rows.y[rate, seed, OPTIONS.train :], label)
            weight = rows.weight[rate, seed]
            assert weight.sum() == OPTIONS.train + count
            assert np.all(weight[: OPTIONS.train + count] == 1)


def test_shares_removed_are_of_poison_and_of_clean_rows_and_not_of_empty_slots() -> None:
    here, learner = field(), Ridge(0.1)
    rows = _arena_attacks.made("not-moved", here, learner, learner)
    rows = rows._replace(y=rows.y.copy())
    rows.y[:, :, :2] *= -1  # clean rows whose label is flipped are poison, too
    weight, labels = rows.weight.copy(), rows.y.copy()
    weight[:, :, [0, 5, 25]] = 0  # a flipped row, a clean one, an inserted one
    labels[:, :, 6] *= -1  # a clean row relabelled
    verdict = Verdict(np.zeros((2, 2)), np.zeros((2, 2)), weight, labels)
    gone, lost = _arena_cells.removed(here, rows, verdict)
    for rate, count in enumerate(OPTIONS.budgets):
        np.testing.assert_allclose(gone[rate], 2 / (2 + count))
        np.testing.assert_allclose(lost[rate], 2 / 23)


def shown_by(learner, trim, data, clean, held, test) -> _ridge_behind_trim.Outcome:
    """In place of an outcome: what it was asked for."""
    added = jnp.sum(data.y) - jnp.sum(data.y[:clean])
    return _ridge_behind_trim.Outcome(
        pull(test) + added, 2 * pull(test) - added, pull(held), learner.l2, jnp.sum(data.y[:clean])
    )


def attack_by_look(victim, reach, train, held, start, steps) -> XY:
    del victim, reach, train, steps
    return XY(start.x, 0 * start.y + pull(held))


def test_the_dilemma_poisons_by_validation_rows_and_errs_on_test_rows(monkeypatch) -> None:
    monkeypatch.setattr(dilemma, "outcome", shown_by)
    monkeypatch.setattr(dilemma, "attack", attack_by_look)
    options = dilemma.Options(
        sets=("house",), radii=(0.5,), attackers=("plain",), seeds=1, train=25, strength="paper"
    )

    def figures(parts: Parts):
        monkeypatch.setattr(dilemma, "house", lambda: OneSplit(parts))
        dilemma.run(options, report := Report("a", options))
        row = report.rows[0]
        for times, name in ((1, "clean_test_mse"), (2, "trimmed_clean_test_mse")):
            np.testing.assert_allclose(row[name], times * pull(parts.test))  # nothing is added
        np.testing.assert_allclose(row["clean_lost"], parts.train.y.sum())
        np.testing.assert_allclose(row["poison_removed"], row["alpha"] / (25 + 6))
        return row, np.round(2 * row["test_mse"] - row["trimmed_test_mse"], 12)

    clean = ("clean_test_mse", "trimmed_clean_test_mse")
    check_roles(figures, TARGETS, (*clean, "test_mse", "trimmed_test_mse"), (), clean)


def test_rows_on_trim_have_the_strength_and_poison_of_their_split(monkeypatch) -> None:
    monkeypatch.setattr(_trim_on_table, "cross_validated", lambda parts: 0.5)
    monkeypatch.setattr(_trim_on_table, "made", lambda *a: ["poison 0", "poison 1"])
    monkeypatch.setattr(
        _trim_on_table, "verdicts", lambda o, p, poison, alpha: {"poison": poison, "alpha": alpha}
    )
    monkeypatch.setitem(_trim_on_table.TABLES, "house", lambda: OneSplit(TARGETS))
    options = _trim_on_table.Options(rates=(0.2,), attackers=("plain",), seeds=2)
    for strength, alpha in (("paper", 0.1), ("cross-validated", 0.5)):
        rows = _trim_on_table.make_rows(options, "house", "plain", strength, 0.2)["rows"]
        assert [(r["seed"], r["poison"], r["alpha"]) for r in rows] == [
            (0, "poison 0", alpha), (1, "poison 1", alpha),
        ]  # fmt: skip


def test_poison_against_trim_is_made_by_validation_rows(monkeypatch) -> None:
    other = relabelled(TARGETS, "validation")
    monkeypatch.setattr(_trim_on_table, "attack", attack_by_look)
    x = jnp.asarray(TARGETS.train.x[:6])
    begin = {"b-flip": XY(x, jnp.ones(6)), "stat-p": XY(x, jnp.zeros(6))}
    monkeypatch.setattr(_trim_on_table, "starts", lambda *a: begin)
    options = _trim_on_table.Options(seeds=2, train=25)
    made = _trim_on_table.made("plain", options, [TARGETS, other], 0.2, [0.1, 0.1])
    for poison, parts in zip(made, (TARGETS, other), strict=True):
        np.testing.assert_allclose(poison.y, pull(parts.validation))


def test_poison_against_trim_meets_a_ridge_as_strong_as_on_all_rows(monkeypatch) -> None:
    """Six rows among 31: the penalty of each split is divided by that."""
    asked: list[tuple] = []

    def attack(victim, reach, train, held, start, steps):
        asked.append((reach.rows, steps, train.x.shape, held.x.shape))
        return XY(start.x, 0 * start.y + victim.l2)

    monkeypatch.setattr(_trim_on_table, "attack", attack)
    x = jnp.asarray(TARGETS.train.x[:6])
    begin = {"b-flip": XY(x, jnp.ones(6)), "stat-p": XY(x, jnp.zeros(6))}
    monkeypatch.setattr(_trim_on_table, "starts", lambda *a: begin)
    options = _trim_on_table.Options(seeds=2, train=25, steps=9)
    parts = [TARGETS, TARGETS]
    found = _trim_on_table.made("plain", options, parts, 0.2, [3.1, 6.2])
    for poison, l2 in zip(found, (0.1, 0.2), strict=True):
        np.testing.assert_allclose(poison.y, l2)
        np.testing.assert_allclose(poison.x, np.clip(x, 0, 1))
    rows = TARGETS.train.x.shape, TARGETS.validation.x.shape
    assert asked[0] == (6, 9, *rows)
    drawn = _trim_on_table.made("stat-p", options, parts, 0.2, [3.1, 6.2])
    assert [poison is begin["stat-p"] for poison in drawn] == [True, True]


@pytest.mark.parametrize(("mean", "chosen"), [(1.545, 6), (1.546, 2)])
def test_the_strength_is_the_largest_within_one_standard_error_of_the_best(
    mean, chosen, monkeypatch
) -> None:
    errors = np.full((9, 10), 2.0)
    errors[2] = 1 + np.arange(10) / 10  # the best, 1.45 with a standard error of .09574
    errors[4], errors[6] = 1.9, mean
    alphas = list(_ridge_behind_trim.ALPHAS)

    def scores(model, x, y, cv, scoring):
        assert scoring == "neg_mean_squared_error"
        assert cv.get_n_splits() == 10
        np.testing.assert_array_equal(x, TARGETS.train.x)
        return -errors[alphas.index(model.alpha)]

    monkeypatch.setattr(_ridge_behind_trim, "cross_val_score", scores)
    assert _ridge_behind_trim.cross_validated(TARGETS) == alphas[chosen]


def test_notes_on_trim_compare_with_the_undefended_model_of_clean_rows() -> None:
    cells = {
        "clean_test_mse": 2.0, "test_mse": 6.0, "trim_test_mse": 3.0, "restarts_test_mse": 2.5,
        "trim_low_test_mse": 3.5, "trim_high_test_mse": 4.5, "trim_clean_test_mse": 2.25,
        "huber_test_mse": 2.75, "ransac_test_mse": 5.0, "theil_sen_test_mse": 4.0,
        "poison_removed": 0.5,
    }  # fmt: skip
    report = Report("a", None)
    report.row(attacker="plain", strength="paper", rate=0.2, **cells)
    _trim_on_table._notes("house", report)
    assert (
        "multiple of that of clean rows: no defense 3.00, TRIM 1.50, told half the rate 1.75, told "
        "1.5 times 2.25, with restarts 1.25, TRIM without poison 1.12, Huber 1.38, RANSAC 2.50, "
        "Theil-Sen 2.00"
    ) in report.notes[0]


def test_notes_on_the_dilemma_compare_with_the_undefended_model_of_clean_rows() -> None:
    options = dilemma.Options(sets=("house",), radii=(0.5,), attackers=("plain",))
    report = Report("a", options)
    report.row(
        set="house", attacker="plain", radius=0.5, clean_test_mse=2.0, trimmed_clean_test_mse=2.5,
        test_mse=6.0, trimmed_test_mse=3.0, poison_removed=0.5,
    )  # fmt: skip
    dilemma._notes(options, report)
    assert report.notes[0].endswith(
        "clean rows: no defense 3.00, TRIM 1.50; TRIM is worse than none in 0 of 1 splits, removes "
        "50 % of the poison"
    )
    assert "TRIM on clean rows alone: 1.25 of the clean test MSE" in report.notes[1]
