"""The experiments on backdoors, small: rows, controls, closed forms, and what is claimed."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.experiments.backdoors import toy_backdoor
from benchmarks.report import UsageError
from bilevel.learners import LinearModel, Ridge


def rows_of(file: Path) -> list[dict]:
    return json.loads(file.read_text())["rows"]


def test_a_white_corner_works_from_some_share_on(tmp_path: Path, capsys) -> None:
    few = ["--splits", "1", "--shares", "0.005", "0.05", "--l2s", "0.01", "--train", "200",
           "--strengths", "0.1", "1", "50", "--directions", "3"]  # fmt: skip
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "toy-backdoor", *few, *files]) == 0
    rows = rows_of(tmp_path / "a.json")
    assert [row["part"] for row in rows] == ["share"] * 4 + ["strength"] * 3 + ["direction"] * 3
    for low, high in (rows[:2], rows[2:4]):
        assert high["success"] > max(0.5, low["success"])
        assert high["clean_success"] < 0.1
    weak, one, strong = rows[4:7]
    assert one["success"] > max(weak["success"], strong["success"])
    assert weak["peak"] == pytest.approx(strong["peak"])
    assert max(row["gap"] for row in rows[4:7]) < 1e-10
    assert rows[7]["variance"] < rows[9]["variance"]
    assert rows[7]["success"] > rows[9]["success"]
    assert (tmp_path / "toy-backdoor.png").stat().st_size > 10_000
    assert "claim 2, success peaks at a finite strength" in capsys.readouterr().out


def test_the_weight_of_the_corner_is_largest_at_the_peak() -> None:
    options = toy_backdoor.Options(train=100)
    of = toy_backdoor.case(options, 0)
    reach = toy_backdoor.copies(of, 0.04)
    assert float(reach.weight.sum()) == 4

    def weight(strength: float) -> float:
        model = toy_backdoor.closed_form(of, reach, 0.2, strength)
        return float(np.sum(np.asarray(model.w)[toy_backdoor.corner(reach)]))

    at = toy_backdoor.peak(of, reach, 0.2)
    assert weight(at) > max(weight(0.98 * at), weight(1.02 * at))
    model = toy_backdoor.closed_form(of, reach, 0.2, 3.0)
    fitted = Ridge(0.2).fit(reach.inject(3 * reach.example(of.train), of.train)).model
    assert isinstance(fitted, LinearModel)
    np.testing.assert_allclose(model.w, fitted.w, atol=1e-12)
    np.testing.assert_allclose(model.bias, fitted.bias, atol=1e-12)


@pytest.mark.parametrize("wrong", [{"splits": 0}, {"train": 901}, {"shares": ()}, {"share": 1.0}])
def test_options_that_make_no_sense_are_sentences(wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}: got"):
        toy_backdoor.Options(**wrong)
