"""Figures that experiments report, against the same figures counted by hand."""

import itertools
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from roles import Climbed, drawn
from saying import said

from benchmarks.data import Parts, Rows, Table
from benchmarks.experiments.classifiers import lasso_features, targeted_mnist
from benchmarks.experiments.defenses import roni_spam
from benchmarks.experiments.flips import label_flips
from benchmarks.experiments.model_defenses import tabor
from benchmarks.experiments.regression import _poisoned_regression
from benchmarks.experiments.transfer import transfer
from benchmarks.experiments.tuning import hyperparameters
from benchmarks.report import Report, band
from bilevel import Data
from bilevel.learners import Fixed, LinearModel

LABELLED = drawn()


def test_a_band_is_mean_and_standard_deviation_or_one_value() -> None:
    assert band([1.0, 3.0, 5.0]) == "3.0 +- 1.6"
    assert band([1.0, 3.0, 5.0], 3) == "3.000 +- 1.633"
    assert band([0.25], 2) == "0.25"


def test_notes_on_transfer_compare_with_digits_that_are_not_moved() -> None:
    """Means over targets first, then a band over seeds; ranks are those within a seed."""
    options = transfer.Options(surrogates=("ridge", "svm", "logistic"), seeds=2)
    report = Report("a", options)
    for i, surrogate in enumerate(options.surrogates):
        for j, target in enumerate(("ridge", "svm")):
            for seed in (0, 1):
                rise = 0.125 * i * (1 if seed else -1) + 0.03125 * j + 0.5 * seed
                report.row(
                    surrogate=surrogate, target=target, seed=seed, clean_test_err=0.125,
                    flip_test_err=0.25, test_err=0.125 + rise, R=0.125 * i - j, R_end=0.1 * i,
                    S=1.0, V=1.0,
                )  # fmt: skip
    transfer._notes(options, report)
    ridge, svm = report.notes[:2]
    assert "poison of ridge: test error 39.1 +- 25.0 %" in ridge
    assert "(clean 12.5 +- 0.0 %, control of the same digits not moved 25.0 +- 0.0 %)" in ridge
    assert "above the control by 14.1 +- 25.0 points" in ridge
    assert "above the control by 14.1 +- 37.5 points" in svm
    within = report.notes[-1]
    assert within.endswith("(12 pairs); Spearman's within a seed 0.00 +- 1.00")
    assert "S, the size" in report.notes[-3]
    assert report.notes[-3].endswith("undefined in some seed")


def noted(experiment: Any, options: Any, *rows: dict[str, Any]) -> list[str]:
    """The notes of an experiment on these rows."""
    report = Report("a", options)
    for row in rows:
        report.row(**row)
    experiment._notes(options, report)
    return report.notes


def test_notes_on_regressions_compare_with_the_error_of_clean_rows() -> None:
    options = _poisoned_regression.Options(learners=("ridge",), rates=(0.2,), seeds=2)
    key = {"learner": "ridge", "rate": 0.2, "clean_test_mse": 0.02}
    notes = noted(
        _poisoned_regression, options,
        {**key, "flip_test_mse": 0.04, "stat_p_test_mse": 0.06, "test_mse": 0.08},
        {**key, "flip_test_mse": 0.04, "stat_p_test_mse": 0.08, "test_mse": 0.1},
    )  # fmt: skip
    assert notes[0] == (
        "ridge, 20 % poison: test MSE clean 0.0200 +- 0.0000, flipped targets 0.0400 +- 0.0000, "
        "StatP 0.0700 +- 0.0100, optimised 0.0900 +- 0.0100; optimised, of clean: 4.5 +- 0.5"
    )


def test_notes_on_flips_compare_ranked_with_greedy_ones() -> None:
    options = label_flips.Options(learners=("ridge",), budgets=(2, 4), splits=2)
    errors = {"clean_test_err": 0.1, "random_test_err": 0.2, "greedy_test_err": 0.4}
    rows = [
        {
            **errors, "learner": "ridge", "budget": budget, "ranked_test_err": 0.01 * budget,
            "ranked_val_loss": 0.9, "greedy_val_loss": 1.0, "ranked_cpu_seconds": ranked,
            "greedy_cpu_seconds": 2.0,
        }
        for budget in (2, 4) for ranked in (0.2, 0.4)
    ]  # fmt: skip
    notes = noted(label_flips, options, *rows)
    assert notes[0].endswith(
        "4 of 100 labels flipped: test error clean 10.0 +- 0.0 %, random 20.0 +- 0.0 %, greedy "
        "40.0 +- 0.0 %, ranked 4.0 +- 0.0 %"
    )
    assert notes[1].endswith(
        "0.900 +- 0.000 of the validation loss, 0.150 +- 0.050 of the CPU seconds"
    )


def test_notes_on_a_targeted_attack_count_what_is_lost_beside_clean_rows() -> None:
    options = targeted_mnist.Options(keeps=(0.3, 1.0))
    rows = [
        {
            "keep": keep, "success": 0.5 + keep / 10, "flip_success": 0.25, "clean_success": 0.125,
            "rest_err": 0.1 + rise, "flip_rest_err": 0.0625, "clean_rest_err": 0.05,
        }
        for keep in (0.3, 1.0) for rise in (0.0, 0.02)
    ]  # fmt: skip
    assert noted(targeted_mnist, options, *rows)[1] == (
        "keep 1.0: 60.0 +- 0.0 % of unseen 8s become 3 (flipped and not moved 25.0 +- 0.0 %, clean "
        "12.5 +- 0.0 %); 6.0 +- 1.0 points of accuracy lost elsewhere (flipped and not moved "
        "1.2 +- 0.0); 2 splits"
    )


def test_stability_is_of_the_features_that_clean_training_selects(monkeypatch) -> None:
    chosen = iter((0, 1, 1, 0))  # clean, random, flipped, attacked: one of three features each
    number = itertools.count(1)

    def judge(*arguments) -> lasso_features.Judged:
        i = next(number)
        return lasso_features.Judged(i / 10, i / 100, np.array([next(chosen)]), i)

    def poisoned(train, start, *others, **settings) -> Climbed:
        return Climbed(start)

    monkeypatch.setattr(lasso_features, "judge", judge)
    monkeypatch.setattr(lasso_features, "poison_feature_selection", poisoned)
    options = lasso_features.Options(splits=1, train=25, features=1)
    (row,) = lasso_features._attacked("ridge", 0.2, options, [LABELLED])["rows"]
    stability = [row[f"{name}_stability"] for name in lasso_features.POISONS]
    np.testing.assert_allclose(stability, [-0.5, -0.5, 1.0])
    told = [row[name] for name in ("clean_nonzero", "attack_nonzero", "attack_val_err")]
    assert told == [1, 4, 0.4]
    errors = [row[f"{name}_test_err"] for name in ("clean", "random", "flip", "attack")]
    assert errors == [0.01, 0.02, 0.03, 0.04]


def test_mails_that_set_roni_s_tolerance_are_no_others() -> None:
    options = roni_spam.Options(train=5, calibration=4, validation=3, test=2)
    x = np.arange(20)[:, None] / 20
    parts, own = roni_spam.dealt(Table(x, np.ones(20), ("a",)), options, 0)
    assert [len(rows.y) for rows in (*parts, own)] == [5, 3, 2, 4]
    assert len(np.unique(np.concatenate([rows.x for rows in (*parts, own)]))) == 14


def test_the_grid_and_the_hypergradient_score_a_penalty_alike() -> None:
    """Both have the held-out loss of models that are trained on the other folds."""
    data = hyperparameters.split("breast-cancer", seed=0, folds=3)
    low = hyperparameters.BOUNDS[0]
    scored = hyperparameters.by_grid(data, 1)  # a grid of one: the lowest penalty
    assert scored["most_l2"] == pytest.approx(np.exp(low))
    held = jnp.asarray(np.arange(3)[:, None] == data.fold, dtype=float)
    tuned = hyperparameters.tuning(jax.tree.map(jnp.asarray, data), held)
    np.testing.assert_allclose(scored["held_out_loss"], tuned(jnp.asarray(low)), rtol=1e-4)


def test_notes_on_roni_have_each_figure_under_its_name() -> None:
    names = ("ham_lost_err", "ham_lost_roni_err", "test_err", "test_roni_err", "ham_rejected",
             "spam_rejected", "poison_rejected")  # fmt: skip
    options = roni_spam.Options(shares=(0.1,), optimised=0.05, splits=2)
    report = Report("a", options)
    for kind in roni_spam.LEARNERS:
        for attack, share in roni_spam._attacks(options):
            for split in (0, 1):
                cells = {name: 0.1 * i + 0.02 * split for i, name in enumerate(names)}
                report.row(learner=kind, attack=attack, share=share, split=split, **cells)
    roni_spam._notes(options, report)
    clean, words, *_ = report.notes
    told = (
        "ham lost 1.0 +- 1.0, with RONI 11.0 +- 1.0, test error 21.0 +- 1.0, with RONI 31.0 +- 1.0,"
        " ham rejected 41.0 +- 1.0, ordinary spam rejected 51.0 +- 1.0"
    )
    assert clean == f"tokens, dictionary, 0 % of the mails, per cent: {told}"
    assert words == (
        f"tokens, dictionary, 10 % of the mails, per cent: {told}, poison rejected 61.0 +- 1.0"
    )


@pytest.mark.parametrize("seen", ["poison", "spam", "ham"])
def test_roni_s_shares_are_of_poison_of_ham_and_of_spam(monkeypatch, seen: str) -> None:
    """The defense rejects all attack mails, which alone hold every word, or all clean mails of a
    label, and nothing else.
    """
    fixed = Fixed(LinearModel(jnp.asarray([2.0, -1.0, 0.5]), jnp.asarray(-0.9)))

    def inspected(defended: Any, data: Data) -> Any:
        every = jnp.all(data.x == 1, axis=1)
        gone = {"poison": every, "spam": ~every & (data.y > 0), "ham": ~every & (data.y < 0)}[seen]
        return SimpleNamespace(kept=~gone, data=data)

    monkeypatch.setattr(roni_spam, "inspected", inspected)
    options = roni_spam.Options(train=25)
    defended: Any = SimpleNamespace(learner=fixed, tolerance=0.1)
    for split in range(3):
        cells = roni_spam._attacked("dictionary", 0.2, LABELLED, defended, options, split)
        names = ("poison", "spam", "ham")
        assert [cells[f"{name}_rejected"] for name in names] == [float(n == seen) for n in names]


def test_alignments_of_transfer_are_of_gradients_at_the_same_poison(monkeypatch) -> None:
    """R at the start, R at the poison that was made: of gradients that are known there."""
    start = LABELLED.train.x[:4]
    moved = 0.2 + 0.6 * start[::-1]
    parts = {"ridge": lambda z: z**2, "logistic": lambda z: jnp.cos(3 * z)}

    def split_of(parts: Parts) -> transfer.Split:
        train, validation, test = (Rows(t.x, t.y) for t in parts)
        return transfer.Split(train, train, validation, test, start)

    def programs(name: str, options: transfer.Options) -> transfer.Programs:
        def craft(*arguments):
            return jnp.asarray(moved)[None], jnp.zeros(1, int)

        def gradient(strengths, train, validation, z):
            return parts[name](z)

        return transfer.Programs(craft, gradient, lambda *arguments: jnp.zeros(1))

    monkeypatch.setattr(transfer, "splits", lambda options: [split_of(LABELLED)])
    monkeypatch.setattr(transfer, "programs", programs)
    monkeypatch.setattr(transfer, "shared", transfer.shared.__wrapped__)
    options = transfer.Options(surrogates=("ridge",), targets=("logistic",), points=4, seeds=1)
    transfer.run(options, report := Report("a", options))
    (row,) = report.rows

    def cosine(z: np.ndarray) -> float:
        a, b = z**2, np.cos(3 * z)
        return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))

    assert row["R"] == pytest.approx(cosine(start))
    assert row["R_end"] == pytest.approx(cosine(moved))
    assert row["R_rows"] == pytest.approx(np.mean([cosine(z) for z in start]))
    assert row["S"] == pytest.approx(np.linalg.norm(np.cos(3 * start)))


def test_a_table_has_words_on_the_left_and_numbers_on_the_right() -> None:
    report = Report("a", None)
    report.row(test_err=0.125, kind="some", found=None, many=True)
    report.row(test_err=None, kind=None, more=20_000.0)
    columns = report._table().columns
    titles = [(str(column.header), column.justify, list(column.cells)) for column in columns]
    assert titles == [
        ("test err", "right", ["12.5 %", "-"]), ("kind", "left", ["some", "-"]),
        ("found", "right", ["-", "-"]), ("many", "right", ["yes", "-"]),
        ("more", "right", ["-", "2.0e+04"]),
    ]  # fmt: skip


@pytest.mark.parametrize(("rise", "above"), [(0.0, 0), (0.25, 1), (-0.25, 0)])
def test_a_mean_that_is_as_high_is_not_above(rise, above) -> None:
    """TABOR's masks against those of Neural Cleanse, on one size."""
    rows = [
        {"size": 4, "method": method, "f1": f1 + more, "precision": 0.5 + more, "recall": 0.25}
        for method, f1, more in (
            ("neural-cleanse", 0.5, 0.0), ("neural-cleanse", 0.75, 0.125),
            ("tabor", 0.75 + rise, 0.125), ("tabor", 0.5 + rise, 0.0),
        )
    ]  # fmt: skip
    notes = noted(tabor, tabor.Options(sizes=(4,)), *rows)
    assert notes[1].startswith(f"TABOR's F1 is above Neural Cleanse's on {above} of 1 sizes.")
    assert "mean precision 0.56" in notes[2]
    assert "mean recall 0.25" in notes[2]


def test_rows_of_transfer_have_their_share_of_the_time_and_measures_where_there_are_any(
    monkeypatch,
) -> None:
    options = transfer.Options(surrogates=("ridge",), targets=("svm", "forest"), seeds=2)  # pyright: ignore
    poison, V = jnp.arange(8.0).reshape(2, 2, 2), jnp.array([0.25, 0.5])
    program = SimpleNamespace(
        craft=lambda *given: None, gradient=lambda *given: said("at", given[-1]),
        variability=lambda soft, *given: V if given[-1] == "resampled" else None,
    )  # fmt: skip
    own = SimpleNamespace(gradient=lambda *given: said("own", given[-1]))
    pairs = {
        (t, seed): [said(t, seed, k) for k in "cf"] for t in options.targets for seed in (0, 1)
    }
    of = SimpleNamespace(
        every=["split 0", "split 1"], target="t", surrogate="s", validation="v", start="start",
        made={"ridge": program, "svm": own}, theirs={"svm": said("theirs")}, control=pairs,
    )  # fmt: skip

    def aligned(a: float, b: float) -> Any:
        return SimpleNamespace(
            joint=np.array([said(a, b), said(a, b, 1)]), mean=np.array([said(a, b, 2), 0.0])
        )

    monkeypatch.setattr(transfer, "shared", lambda options: of)
    monkeypatch.setattr(transfer, "warm", lambda craft: ((poison, np.zeros(2, int)), 6.0, 2.5))
    monkeypatch.setattr(transfer, "bootstrap", lambda options: "resampled")
    monkeypatch.setattr(transfer, "_aligned", aligned)
    monkeypatch.setattr(
        transfer, "_sized", lambda g: SimpleNamespace(joint=np.array([said(g), said(g, 1)]))
    )
    monkeypatch.setattr(
        transfer, "errors", lambda t, options, seed, split, z: said(t, seed, split, z)
    )
    made = transfer.make_rows(options, "ridge")
    assert made["notes"] == []
    before, after, theirs = said("at", "start"), said("at", poison), said("theirs")
    expected = []
    for target in options.targets:
        for seed in (0, 1):
            R, end = aligned(before, theirs), aligned(after, said("own", poison))
            measures = (R.joint, R.mean, end.joint, [said(theirs), said(theirs, 1)])
            known = [m[seed] if target == "svm" else None for m in measures]
            expected.append({
                "surrogate": "ridge", "target": target, "seed": seed,
                "clean_test_err": said(target, seed, "c"), "flip_test_err": said(target, seed, "f"),
                "test_err": said(target, seed, f"split {seed}", poison[seed]),
                **dict(zip(("R", "R_rows", "R_end", "S"), known, strict=True)), "V": V[seed],
                "cpu_seconds": 3.0, "compile_seconds": 2.5,
            })  # fmt: skip
    assert made["rows"] == expected
