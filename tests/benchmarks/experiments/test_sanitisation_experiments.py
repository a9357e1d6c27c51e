"""The experiments on sanitised labels and on RONI."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import csr_array

from benchmarks.data.enron import enron
from benchmarks.experiments.defenses import roni_spam
from benchmarks.experiments.defenses._token_filter import TokenFilter
from benchmarks.experiments.flips import label_sanitisation
from benchmarks.report import Report, UsageError
from bilevel import Data


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """600 mails of 80 words, of which spam and ham each have half more often."""
    rng = np.random.default_rng(0)
    y = (rng.random(600) < 0.4).astype(int)
    often = np.where((np.arange(80) % 2 == 0)[None, :] == (y == 1)[:, None], 0.2, 0.02)
    counts = csr_array((rng.random((600, 80)) < often * np.linspace(1, 0.5, 80)) * 3)
    np.savez(
        tmp_path / "enron1_bow.npz", data=counts.data, indices=counts.indices,
        indptr=counts.indptr, shape=np.array([600, 80]), y=y, vocab=[f"w{j}" for j in range(80)],
    )  # fmt: skip
    monkeypatch.setenv("BILEVEL_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "wrong",
    [{"splits": 0}, {"k": 0}, {"budgets": (101,)}, {"C": 0.0}, {"agreement": 0.2}, {"tie": 2.0}],
)
def test_impossible_votes_are_sentences(wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}: got"):
        label_sanitisation.Options(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"draws": 0},
        {"keep": 1.0},
        {"shares": (0.5,)},
        {"shares": ()},
        {"optimised": 0.0},
        {"C": -1},
    ],
)
def test_impossible_mails_are_sentences(wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}: got"):
        roni_spam.Options(**wrong)


@pytest.mark.slow
def test_label_sanitisation_reports_what_the_defense_saves(tmp_path: Path) -> None:
    options = label_sanitisation.Options(learners=("logistic",), budgets=(4, 12), splits=2)
    report = Report("label-sanitisation", options, json_path=tmp_path / "a.json", out=tmp_path)
    label_sanitisation.run(options, report)
    report.finish()
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [(row["split"], row["budget"]) for row in rows] == [(0, 4), (0, 12), (1, 4), (1, 12)]
    for row in rows:
        assert row["clean_err"] < row["clean_defended_err"] < 0.15
    for row in rows:
        assert row["soft_defended_err"] > row["unaware_defended_err"] + 0.05
    without, defended = (
        sum(row[f"unaware{name}_err"] for row in rows[1::2]) for name in ("", "_defended")
    )
    assert defended < without
    assert (tmp_path / "label-sanitisation.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("without", "aware", "soft"), [(0.5, "25 %", "75 %"), (0.1, "-", "-"), (0.05, "-", "-")]
)
def test_what_is_taken_back_is_a_share_of_what_the_defense_saved(without, aware, soft) -> None:
    """.2 - .1 and .4 - .1 of .5 - .1; of means, not the mean of shares. None of nothing. The points
    taken back have a band, over the splits' own differences.
    """
    options = label_sanitisation.Options(learners=("svm",), budgets=(4,))
    report = Report("label-sanitisation", options)
    others = ("clean", "clean_defended", "random", "random_defended", "aware", "soft")
    for shift in (-0.05, 0.05):
        report.row(
            learner="svm", budget=4, **{f"{name}_err": 0.0 for name in others},
            unaware_err=without + shift, unaware_defended_err=0.1, aware_defended_err=0.2 + shift,
            soft_defended_err=0.4, aware_cpu_seconds=1.0, soft_cpu_seconds=1.0,
            unaware_cpu_seconds=1.0,
        )  # fmt: skip
    label_sanitisation._notes(options, report)
    saved = "of what the defense saved"
    assert f"aware: takes back 10.0 +- 5.0 points, {aware} {saved}" in report.notes[1]
    assert f"soft: takes back 30.0 +- 0.0 points, {soft} {saved}" in report.notes[2]


def test_words_are_scored_one_by_one() -> None:
    rng = np.random.default_rng(1)
    x, y = (rng.random((30, 5)) < 0.4).astype(float), np.where(np.arange(30) % 3, -1.0, 1.0)
    x[:, 4] = 0
    model = TokenFilter().fit(Data(x, y)).model
    held = rng.random((4, 5))
    odds = []
    for word in x.T:
        spam, ham, seen = word[y > 0].mean(), word[y < 0].mean(), word.sum()
        share = spam / (spam + ham) if seen else 0.5
        chance = (0.45 * 0.5 + seen * share) / (0.45 + seen)
        odds.append(np.log(chance / (1 - chance)))
    expected = held @ np.array(odds) - np.log(9)
    np.testing.assert_allclose(model.decision(jnp.asarray(held)), expected, rtol=1e-10)


def test_the_most_frequent_words_of_enron(folder: Path) -> None:
    table = enron(5)
    assert table.x.shape == (600, 5)
    assert set(table.x.ravel()) == {0.0, 1.0}
    assert np.all(np.diff(table.x.sum(axis=0)) <= 0)
    assert table.x.sum() > 5 * enron(80).x[:, 5:].sum() / 75
    np.savez(folder / "enron1_bow.npz", y=[1])
    with pytest.raises(UsageError, match="lacks data"):
        enron(5)


@pytest.mark.slow
def test_roni_rejects_mails_of_all_words_and_not_optimised_ones(folder: Path) -> None:
    options = roni_spam.Options(
        data="enron", words=80, shares=(0.05,), splits=1, train=150, calibration=150,
        validation=150, test=150, draws=3, steps=8,
    )  # fmt: skip
    report = Report("roni-spam", options, json_path=folder / "a.json", out=folder)
    roni_spam.run(options, report)
    report.finish()
    rows = json.loads((folder / "a.json").read_text())["rows"]
    assert [(row["learner"], row["attack"], row["share"]) for row in rows] == [
        (kind, attack, share)
        for kind in roni_spam.LEARNERS
        for attack, share in (
            ("dictionary", 0.0), ("dictionary", 0.05), ("optimised", 0.05), ("not-moved", 0.05),
        )
    ]  # fmt: skip
    assert rows[0]["poison_rejected"] is None
    clean, dictionary, optimised, not_moved = rows[4], rows[1], rows[6], rows[7]
    assert dictionary["poison_rejected"] == 1
    assert dictionary["ham_lost_roni_err"] < dictionary["ham_lost_err"] - 0.1
    assert dictionary["ham_rejected"] < 0.1
    assert optimised["poison_rejected"] < 0.7
    assert optimised["test_err"] > not_moved["test_err"] >= clean["test_err"]
    assert (folder / "roni-spam.png").stat().st_size > 10_000
