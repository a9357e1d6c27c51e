import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import Box, Insert, compose, indiscriminate
from benchmarks.__main__ import main
from benchmarks.data import Rows
from benchmarks.experiments.svm._finite_differences import STEPS, Differences, _slope
from benchmarks.experiments.svm.svm_gradient import multipliers, printed_formula
from bilevel import Data
from bilevel.learners import SVM


def test_a_slope_is_told_with_its_uncertainty(rng: np.random.Generator) -> None:
    rise = 3 * STEPS - 50 * STEPS**3 + 1e-15 * rng.normal(size=STEPS.shape)
    slope, doubt = _slope(rise, np.ones(STEPS.shape, bool), powers=(1, 3, 5))
    assert abs(slope - 3) <= doubt < 1e-10
    few = np.arange(len(STEPS)) < 4
    nothing = _slope(rise, few, powers=(1, 3, 5))
    assert np.isnan(nothing).all()


@pytest.mark.slow
def test_the_printed_formula_is_right_for_error_vectors_wherever_rows_lie(
    rng: np.random.Generator,
) -> None:
    """The bias of the rows as they are, not of centred ones."""
    y = np.where(np.arange(40) % 2, 1.0, -1.0)
    x = 5 + 0.6 * y[:, None] + rng.normal(size=(40, 6))
    z = x[y < 0][:2]
    held = Rows(x[20:], y[20:])
    attack = compose(
        SVM(1.0), Insert(np.ones(2), Box(-10.0, 10.0)), indiscriminate(*held), Data(x[:20], y[:20])
    )
    np.testing.assert_allclose(multipliers(attack, jnp.asarray(z)[None]), 1.0)  # at C
    exact = jax.grad(attack)(jnp.asarray(z))
    assert np.linalg.norm(exact) > 0.01
    np.testing.assert_allclose(printed_formula(attack, held, z, 1.0), exact, atol=1e-9)


def test_errors_are_relative_to_slopes_that_are_more_than_rounding() -> None:
    directions, off = np.eye(2), np.array([3e-3, 0.0])
    for size, error in ((0.5, 6e-3), (1e-13, 3e-3)):
        slopes = np.array([0.0, size])
        seen = Differences(directions, slopes, slopes, off, False, 0)
        assert seen.error(slopes + off) == pytest.approx(error)
        assert seen.noise == pytest.approx(error)


@pytest.mark.slow
def test_svm_gradient_finds_the_exact_one_right_and_the_printed_one_wrong(tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "svm-gradient", "--splits", "0", "--points", "1", "3", *files]) == 0
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    by_kind = {kind: [r for r in rows if r["kind"] == kind] for kind in {r["kind"] for r in rows}}
    assert {kind: len(cases) for kind, cases in by_kind.items()} == {
        "error": 2, "margin": 2, "mixed": 1, "duplicate": 2, "reserve": 2,
    }  # fmt: skip
    for kind in ("error", "margin", "mixed"):
        for row in by_kind[kind]:
            assert row["certificate"] == "regular"
            assert row["ours_error"] <= 1e-8
            assert row["ours_error"] <= row["certified_error"] + row["difference_noise"]
    assert all(row["printed_error"] <= 1e-8 for row in by_kind["error"])
    assert all(row["printed_error"] >= 1e-2 for row in by_kind["margin"])
    assert all(0 < row["least_alpha"] <= row["most_alpha"] < 1 for row in by_kind["margin"])
    for row in by_kind["reserve"]:
        assert (row["gradient"], row["certificate"]) == (0, "exactly zero")
    for row in by_kind["duplicate"]:
        assert (row["certificate"], row["one_sided"]) == ("degenerate", True)
    assert (tmp_path / "svm-gradient.png").stat().st_size > 20_000


@pytest.mark.slow
def test_svm_2d_climbs_towards_the_top_of_the_surface(tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    tiny = ["--grid", "9", "--arrows", "4", "--starts", "2", "--steps", "60"]
    assert main(["run", "svm-2d", *tiny, *files]) == 0
    report = json.loads((tmp_path / "a.json").read_text())
    assert [row["kernel"] for row in report["rows"]] == ["Linear"] * 2 + ["RBF"] * 2
    for row in report["rows"]:
        assert row["hinge"] > row["start_hinge"]
        assert row["share_of_grid"] > 0.6
    assert report["notes"] == []
    assert (tmp_path / "svm-2d.png").stat().st_size > 20_000
