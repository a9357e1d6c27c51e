import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.experiments.svm._finite_differences import STEPS, _slope


def test_a_slope_is_told_with_its_uncertainty(rng: np.random.Generator) -> None:
    rise = 3 * STEPS - 50 * STEPS**3 + 1e-15 * rng.normal(size=STEPS.shape)
    slope, doubt = _slope(rise, np.ones(STEPS.shape, bool), powers=(1, 3, 5))
    assert abs(slope - 3) <= doubt < 1e-10
    few = np.arange(len(STEPS)) < 4
    nothing = _slope(rise, few, powers=(1, 3, 5))
    assert np.isnan(nothing).all()


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
