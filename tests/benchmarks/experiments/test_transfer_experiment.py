import json
from pathlib import Path

import jax
import numpy as np
import pytest

from attacks import training_key
from benchmarks.experiments.transfer._network import network
from benchmarks.experiments.transfer.transfer import (
    Options,
    _within,
    correlations,
    errors,
    judge,
    run,
    splits,
)
from benchmarks.report import Report, UsageError
from bilevel import Data


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"surrogates": ()}, "--surrogates: got none"),
        ({"targets": ("bayes",)}, "--targets: got bayes, expected some of svm"),
        ({"targets": ("sklearn.svm:None",)}, "--targets: got sklearn.svm:None"),
        ({"targets": ("sklearn.linear_model:Ridge",)}, "--targets: sklearn.linear_model:Ridge is"),
        ({"pair": "8v8"}, "--pair: got '8v8'"),
        ({"resamples": 1}, "--resamples: got 1"),
        ({"points": 0}, "--points: got 0"),
        ({"softer": 0.0}, "--softer: got 0.0"),
    ],
)
def test_options_that_make_no_sense_are_sentences(wrong, said) -> None:
    with pytest.raises(UsageError) as caught:
        Options(**wrong)
    assert str(caught.value).startswith(said)


def test_the_attacker_holds_none_of_the_rows_of_target_and_test() -> None:
    (split,) = splits(Options(seeds=1, points=5))
    parts = {
        name: {row.tobytes() for row in rows.x}
        for name, rows in zip(split._fields, split[:4], strict=False)
    }
    assert [len(rows.y) for rows in split[:4]] == [100, 100, 400, 400]
    own = parts["surrogate"] | parts["validation"]
    assert not own & (parts["target"] | parts["test"])
    assert not parts["surrogate"] & parts["validation"]
    assert {row.tobytes() for row in split.start} <= parts["surrogate"]
    with pytest.raises(UsageError, match="--points: got 90, split 0 has"):
        splits(Options(seeds=1, points=90))


def test_errors_are_those_of_the_target_with_the_poison() -> None:
    options = Options(seeds=1, points=5, alpha=3.0)
    (split,) = splits(options)
    x = np.concatenate([split.target.x, split.start])
    y = np.concatenate([split.target.y, np.ones(len(split.start))])
    predicted = judge("ridge", options, 0).fit(x, y).predict(split.test.x)
    share = np.mean(predicted != split.test.y)
    assert errors("ridge", options, 0, split, split.start) == share


def test_any_classifier_can_be_a_target() -> None:
    options = Options(targets=("sklearn.naive_bayes:BernoulliNB",), seeds=1)
    assert type(judge(options.targets[0], options, 0)).__name__ == "BernoulliNB"


def test_correlations_are_printed_or_undefined() -> None:
    assert correlations([1, 2, 3], [1, 4, 9]) == "Pearson 0.99, Spearman 1.00 (3 pairs)"
    assert correlations([1, 2], [1, 2]) == "undefined for 2 pairs"
    assert correlations([1, 1, 1], [1, 2, 3]) == "undefined for 3 pairs"


def test_within_a_target_and_seed_its_own_level_does_not_count() -> None:
    rows = [
        {"target": t, "seed": 0, "R": r + level, "clean_test_err": 0.0, "test_err": r - level}
        for t, level in (("a", 0.0), ("b", 5.0))
        for r in (0.1, 0.3)
    ]
    R, harm = _within(rows, "R")
    np.testing.assert_allclose(R, [-0.1, 0.1, -0.1, 0.1], atol=1e-12)
    np.testing.assert_allclose(harm, R, atol=1e-12)


TINY = Options(
    surrogates=("ridge",), targets=("ridge", "knn"), points=10, seeds=2, steps=4, resamples=2
)


@pytest.mark.slow
def test_a_run_has_a_row_per_target_and_seed(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    report = Report("transfer", TINY, json_path=file, out=tmp_path)
    run(TINY, report)
    rows = json.loads(file.read_text())["rows"]
    assert [(r["target"], r["seed"]) for r in rows] == [
        ("ridge", 0), ("ridge", 1), ("knn", 0), ("knn", 1),
    ]  # fmt: skip
    for row in rows:
        assert row["V"] > 0
        if row["target"] == "ridge":
            assert -1 < row["R"] < 1
            assert row["R"] != row["R_end"]
            assert row["S"] > 0
            assert row["test_err"] > row["clean_test_err"]
        else:
            assert row["R"] is row["R_rows"] is row["R_end"] is row["S"] is None
    assert "best surrogate on average: ridge" in report.notes
    assert (tmp_path / "transfer.png").stat().st_size > 20_000


def test_a_network_as_target_has_initial_weights_that_no_attacker_knows() -> None:
    options = Options(seeds=1, points=5)
    (split,) = splits(options)
    mine, other = (judge("network", options, seed).fit(*split.target[:2]) for seed in (0, 1))
    f = [np.asarray(m.model_.decision(split.test.x)) for m in (mine, other)]
    known = network(options.strengths, 100).fit(
        Data(*split.target[:2]), key=training_key(jax.random.key(0))
    )
    assert not np.allclose(f[0], f[1])
    assert not np.allclose(f[0], np.asarray(known.model.decision(split.test.x)))
    assert mine.score(*split.test[:2]) > 0.9
    np.testing.assert_array_equal(mine.predict(split.test.x), np.sign(f[0]))


@pytest.mark.slow
def test_poison_passes_between_a_network_an_svm_and_a_forest(tmp_path: Path) -> None:
    options = Options(
        surrogates=("svm", "network"), targets=("svm", "forest", "network"), seeds=2, points=10,
        steps=20,
    )  # fmt: skip
    report = Report("transfer", options, json_path=tmp_path / "a.json")
    run(options, report)
    assert len(report.rows) == 12
    own = [r for r in report.rows if r["surrogate"] == r["target"]]
    assert all(r["test_err"] > r["flip_test_err"] for r in own)
    aligned = {(r["surrogate"], r["target"]): r["R"] for r in report.rows}
    assert aligned["network", "svm"] is not None
    assert aligned["svm", "network"] is not None
