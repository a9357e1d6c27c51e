"""The experiments on repairs, small: what is judged, and by which rows."""

import dataclasses
import functools
import json

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.experiments.model_defenses import _infected, fine_pruning, i_bau
from benchmarks.report import UsageError
from benchmarks.rows import column
from bilevel.learners import NetworkModel

FEW = functools.partial(_infected.Infection, passes=2)


@pytest.fixture
def few(monkeypatch):
    """Networks of two passes over 500 digits."""
    monkeypatch.setattr(_infected, "TRAIN", 500)
    for module in (fine_pruning, i_bau):
        monkeypatch.setattr(module, "Infection", FEW)
    for cached in (_infected.case, _infected.victim):
        cached.cache_clear()
    yield
    for cached in (_infected.case, _infected.victim):
        cached.cache_clear()


def test_the_place_of_what_a_trigger_raises_is_its_rank_in_activity() -> None:
    without = np.linspace(0, 1, 100)
    stamped = without.copy()
    stamped[20:28] += 1.0
    first, median = fine_pruning._place({"without": without, "stamped": stamped})
    assert (first, median) == (20, 23.5)


def test_more_others_than_networks_get_a_sentence() -> None:
    with pytest.raises(UsageError, match="--others: got 3"):
        fine_pruning.Options(networks=2)


@pytest.mark.slow
def test_networks_are_pruned_and_tuned_on_clean_rows_and_judged_on_others(few, tmp_path) -> None:
    options = ["--networks", "1", "--others", "1", "--passes", "1", "--units", "20"]
    path = tmp_path / "rows.json"
    assert main(["run", "fine-pruning", *options, "--json", str(path), "--out", str(tmp_path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) == 18
    assert {row["network"] for row in rows} == {"backdoor", "knows", "clean"}
    assert column(rows, "pruned", defense="fine-pruning", layer="conv1") == [40, 40, 40]
    (before,) = column(rows, "accuracy", network="clean", defense="none")
    of = _infected.case(FEW(), 0)
    model = _infected.victim(FEW(), 0, infected=False)
    assert before == pytest.approx(float(jnp.mean(model.predict(of.test.x) == of.test.y)))
    assert (tmp_path / "fine-pruning.png").exists()
    assert isinstance(model, NetworkModel)
    curve = fine_pruning.curve(model, of, "dense0")
    assert curve.counts[0] == 0
    assert curve.accuracy[0] == pytest.approx(before)


@pytest.mark.slow
def test_the_exact_hypergradient_is_right_and_the_others_are_off(few) -> None:
    options = i_bau.Options(networks=1, controls=1, steps=2, ascents=1, pairs=1)
    rows = i_bau.make_rows(options, "pattern", 0, infected=True)["rows"]
    assert [row["defense"] for row in rows] == ["none", "fine-tuning", "I-BAU"]
    small = i_bau.small_rows(dataclasses.replace(options), 0)["rows"]
    exact = column(small, "off_differences", derivative="exact implicit")
    assert max(exact) < 1e-8
    for name in ("five terms", "five terms of step .1", "none"):
        assert min(column(small, "off_exact", derivative=name)) > 1e-3
