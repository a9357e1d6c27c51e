import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.experiments.tuning.hyperparameters import Options, curvature, split, training
from benchmarks.report import UsageError


@pytest.mark.parametrize("wrong", [{"splits": 0}, {"folds": 1}, {"grid": 1}, {"steps": 0}])
def test_options_that_make_no_sense_are_sentences(wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}: got"):
        Options(**wrong)


def test_every_training_row_is_held_out_once() -> None:
    data = split("breast-cancer", seed=1, folds=4)
    assert np.bincount(data.fold).min() >= len(data.fold) // 4 - 2
    assert len(data.rows) + len(data.test_rows) == 569
    together = np.unique(np.concatenate([data.rows, data.test_rows]), axis=0)
    assert len(together) == 569


def test_the_curvature_is_the_hessian(rng: np.random.Generator) -> None:
    import jax

    rows, w = rng.normal(size=(7, 4)), rng.normal(size=(2, 4))
    args = rows, np.sign(rng.normal(size=7)), np.full((2, 7), 1 / 7), np.full((2, 3), 0.1)
    wanted = np.asarray(jax.jit(jax.hessian(training))(w, args)).reshape(8, 8)
    np.testing.assert_allclose(jax.jit(curvature)(w, args), wanted, atol=1e-14)


@pytest.mark.slow
def test_hyperparameters_are_tuned_below_the_grid(tmp_path: Path, standard_promotion) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "hyperparameters", "--splits", "1", *files]) == 0
    rows = {row["method"]: row for row in json.loads((tmp_path / "a.json").read_text())["rows"]}
    grid, one, each = (rows[m] for m in ("grid", "one penalty", "one per feature"))
    assert one["held_out_loss"] <= grid["held_out_loss"] + 1e-4
    assert each["held_out_loss"] < 0.9 * one["held_out_loss"]
    assert (tmp_path / "hyperparameters.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_table_of_derivatives_tells_exact_from_approximate(tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    options = ["--problems", "lasso", "svm", "--steps", "100", "--seconds", "0"]
    assert main(["run", "hypergradients", *options, *files]) == 0
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    for problem in ("lasso", "svm"):
        found = {row["derivative"]: row for row in rows if row["problem"] == problem}
        assert sum(row["reference"] for row in found.values()) == 1
        implicit = [row for name, row in found.items() if "factor" in name or "support" in name]
        assert all(row["error"] < 1e-12 for row in implicit)
        assert found["one step"]["error"] > 1e-3
    assert (tmp_path / "hypergradients.png").stat().st_size > 10_000
