"""The regression experiments on made-up tables, and the attack on scikit-learn's diabetes."""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_diabetes

import benchmarks.experiments.regression._poisoned_regression as regression
from attacks import XY, Box, Columns, b_flip, inv_flip, poison_regression, stat_p
from benchmarks.data import Group, Table
from benchmarks.report import Report, UsageError
from bilevel import Data
from bilevel.learners import LinearModel, Ridge


def table(rows: int = 90) -> Table:
    rng = np.random.default_rng(0)
    numbers = rng.uniform(size=(rows, 3))
    kinds = np.eye(4)[rng.integers(4, size=rows)][:, :3]  # the fourth category has no column
    x = np.column_stack([numbers, kinds])
    y = x @ np.array([0.4, 0.1, 0.0, 0.3, 0.1, 0.0]) + 0.05 * rng.normal(size=rows)
    names = ("a", "b", "c", "k:0", "k:1", "k:2")
    return Table(x, np.clip(y, 0, 1), names, (Group("k", (3, 4, 5)),))


OPTIONS = regression.Options(
    rates=(0.2,), seeds=2, train=30, validation=25, test=30, steps=12, lasso_alpha=1e-3
)


@pytest.mark.slow
def test_rows_curve_and_notes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(regression.TABLES, "house", table)
    report = Report("regression-house", OPTIONS, json_path=tmp_path / "a.json", out=tmp_path)
    regression.run_on("house", OPTIONS, report)
    report.finish()
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [(r["learner"], r["rate"], r["seed"]) for r in rows] == [
        (kind, rate, seed) for kind in ("ridge", "lasso") for rate in (0.2,) for seed in (0, 1)
    ]
    for row in rows:
        assert row["points"] == round(row["rate"] * 30 / (1 - row["rate"]))
        assert row["val_mse"] > 1.5 * row["clean_val_mse"]
        assert row["test_mse"] > row["clean_test_mse"]
    assert (tmp_path / "regression-house.png").stat().st_size > 10_000
    assert len(report.notes) == 3


def test_poison_of_another_program_is_met_on_its_own_rows(tmp_path: Path) -> None:
    whole = table()
    parts = whole.split(30, 25, 30)
    arrays = {
        f"{kind}{name}": getattr(part, name)
        for kind, part in zip(("trn", "vld", "tst"), parts, strict=True)
        for name in "xy"
    }
    np.savez(tmp_path / "house_s0.npz", colmap=np.array(json.dumps({"k": [3, 4, 5]})), **arrays)
    x, y = parts.train.x[:4], 1 - parts.train.y[:4]
    np.savez(tmp_path / "poison_house_ridge_s0_none_p10.npz", px=x, py=y, ix=x, iy=y, lam=0.1)
    report = Report("regression-house", OPTIONS)
    options = regression.Options(against=tmp_path, steps=12)
    regression.run_on("house", options, report)
    (row,) = report.rows
    assert row["their_val_mse"] == row["start_val_mse"]  # they did not optimise
    assert row["val_ratio"] > 1.2
    with pytest.raises(UsageError, match="holds no poison_pharm"):
        regression.run_on("pharm", options, report)


def test_poison_of_another_program_is_the_measure_of_ours(monkeypatch) -> None:
    """Errors (validation, test) by the target of the one poison row."""
    errors = {2.0: (1.0, 3.0), 4.0: (0.5, 0.25), 6.0: (4.0, 8.0)}
    filed = {
        "strength": 0.75, "start_x": [[1.0]], "start_y": [2.0], "x": [[3.0]], "y": [4.0],
    }  # fmt: skip
    asked: list = []

    def judge(kind: str, options, parts, poison: XY) -> tuple[float, float]:
        assert (kind, options.lasso_alpha, parts) == ("lasso", 0.75, "parts of house_s3.npz")
        return errors[float(poison.y[0])]

    def attacks_of(kind: str, options, parts, starts):
        asked.append((kind, options.lasso_alpha, options.steps, parts, float(starts[0].y[0])))
        return "program"

    ours = XY(jnp.array([[[5.0]]]), jnp.array([[6.0]]))
    monkeypatch.setattr(regression, "filed_poison", lambda path: SimpleNamespace(**filed))
    monkeypatch.setattr(regression, "filed_parts", lambda path: f"parts of {path.name}")
    monkeypatch.setattr(regression, "judge", judge)
    monkeypatch.setattr(regression, "attacks_of", attacks_of)
    monkeypatch.setattr(regression, "warm", lambda program: (ours, 0.125, 2.5))
    path = Path("poison_house_lasso_s3_none_p1.npz")
    (row,) = regression.make_filed(OPTIONS, path)["rows"]
    assert asked == [("lasso", 0.75, 12, ["parts of house_s3.npz"], 2.0)]
    assert row == {
        "file": path.stem, "learner": "lasso", "points": 1, "start_val_mse": 1.0,
        "their_val_mse": 0.5, "val_mse": 4.0, "val_ratio": 8.0, "start_test_mse": 3.0,
        "their_test_mse": 0.25, "test_mse": 8.0, "test_ratio": 32.0, "cpu_seconds": 0.125,
        "compile_seconds": 2.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [{"rates": (1.0,)}, {"rates": ()}, {"seeds": 0}, {"ridge_alpha": 0.0}]
)
def test_options_that_make_no_sense_are_sentences(wrong) -> None:
    name = next(iter(wrong)).replace("_", "-")
    with pytest.raises(UsageError, match=f"^--{name}: got"):
        regression.Options(**wrong)


def test_placed_rows_have_numbers_in_range_and_at_most_one_category_of_each_group() -> None:
    """A category is one if its value exceeds 1 / (1 + size of the group), and is the largest."""
    width = 8
    groups = (Group("k", (3, 4, 5)), Group("l", (6, 7)))
    names = tuple("abcdefgh")
    domain = regression.domain(Table(np.zeros((2, width)), np.zeros(2), names, groups))
    rows = [
        [-0.5, 0.25, 1.5, 0.25, 0.2, 0.1, 0.3, 0.4],
        [0.0, 1.0, 0.5, 0.1, 0.2, 0.26, 0.3, 0.2],
    ]
    np.testing.assert_array_equal(
        domain.place(jnp.array(rows)),
        [[0, 0.25, 1, 0, 0, 0, 0, 1], [0, 1, 0.5, 0, 0, 1, 0, 0]],
    )
    domain.check((2, width))
    with pytest.raises(ValueError, match="shape"):
        domain.check((2, width + 1))
    assert [regression.poison_rows(rate, 300) for rate in (0.2, 0.04, 0.001)] == [75, 12, 1]


@pytest.fixture(scope="module")
def diabetes() -> tuple[Data, Data, Columns]:
    bunch = load_diabetes(scaled=False)
    x, y = np.asarray(bunch["data"]), np.asarray(bunch["target"])  # pyright: ignore
    x, y = ((a - a.min(0)) / np.ptp(a, axis=0) for a in (x, y))
    spacing = np.zeros(10)
    spacing[1] = 1  # the sex is binary
    return Data(x[:60], y[:60]), Data(x[60:160], y[60:160]), Columns(0.0, 1.0, spacing)


@pytest.mark.slow
def test_every_start_is_beaten_and_the_poison_is_valid(diabetes) -> None:
    train, validation, domain = diabetes
    learner, x = Ridge(0.01), train.x[:6]
    model = learner.fit(train).model
    drawn = stat_p(jax.random.key(0), 6, train, model, domain)
    starts = {"inv": XY(x, inv_flip(train.y[:6])), "b": XY(x, b_flip(train.y[:6])), "stat": drawn}
    for start in starts.values():
        recipe = poison_regression(train, start, validation, learner, domain=domain, steps=30)
        result = recipe.climb()
        assert float(result.value) > 1.2 * float(result.history[0])
        placed = domain.place(result.z.x)
        assert domain.outside(placed) == 0
        assert set(np.unique(placed[:, 1])) <= {0.0, 1.0}
        assert jnp.all((result.z.y >= 0) & (result.z.y <= 1))


def test_starts_are_those_of_the_paper(diabetes) -> None:
    train, _, domain = diabetes
    np.testing.assert_allclose(inv_flip(jnp.array([0.2, 0.9])), [0.8, 0.1])
    np.testing.assert_array_equal(b_flip(jnp.array([0.2, 0.9])), [1, 0])
    model = Ridge(0.01).fit(train).model
    drawn = stat_p(jax.random.key(1), 400, train, model, domain)
    assert set(np.unique(drawn.x)) == {0.0, 1.0}  # corners
    np.testing.assert_array_equal(drawn.y, b_flip(jnp.clip(model.decision(drawn.x), 0, 1)))
    corners = np.asarray(train.x).mean(0) > 0.5
    assert np.mean((np.asarray(drawn.x).mean(0) > 0.5) == corners) >= 0.9


def test_drawn_rows_vary_together_as_the_training_rows_do() -> None:
    """Halves of two normal columns of correlation r agree with probability 1/2 + asin(r) / pi."""
    column = np.linspace(0, 1, 30)
    train = Data(np.stack([column, column], axis=1), column)
    model = LinearModel(jnp.array([1.0, 0.0]), jnp.array(0.0))
    x = np.asarray(stat_p(jax.random.key(0), 2000, train, model, Box(0.0, 1.0)).x)
    correlation = np.var(column) / (np.var(column) + 0.01)
    agree = 0.5 + np.arcsin(correlation) / np.pi
    np.testing.assert_allclose(np.mean(x[:, 0] == x[:, 1]), agree, atol=0.03)


def test_targets_outside_their_domain_are_a_sentence(diabetes) -> None:
    train, validation, domain = diabetes
    start = XY(train.x[:2], jnp.array([0.5, 2.0]))
    with pytest.raises(ValueError, match=r"^z0\.y: lies outside the domain, by 1"):
        poison_regression(train, start, validation, Ridge(0.1), domain=domain, targets=Box(0, 1))
