"""Influence of pairs of rows, beside training without a row."""

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import Lasso, LogisticRegression, LogisticRegressionCV, Ridge

from defenses.data_audit import TableError, influence_pairs, leave_one_out

SETTINGS: Any = {"C": 0.5, "tol": 1e-10, "max_iter": 1000, "solver": "newton-cholesky"}
MODELS: Any = {
    "softmax": LogisticRegression(**SETTINGS),
    "logistic": LogisticRegression(**SETTINGS),
    "no bias": LogisticRegression(fit_intercept=False, **SETTINGS),
    "ridge": Ridge(0.1),
}


def rows(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "ridge":
        x, y = map(np.asarray, load_diabetes(return_X_y=True))
        return np.concatenate([x, np.ones((y.size, 1))], axis=1)[:200], y[:200] / 100
    x, y = map(np.asarray, load_iris(return_X_y=True))
    order = np.random.default_rng(0).permutation(y.size)
    x, y = ((x - x.mean(axis=0)) / x.std(axis=0))[order], y[order]
    if name == "no bias":  # but a column of ones in its place
        x = np.concatenate([x, np.ones((y.size, 1))], axis=1)
    return (x, y) if name == "softmax" else (x[y > 0], y[y > 0] * 3)


def losses(model, x, y) -> np.ndarray:
    if isinstance(model, Ridge):
        return (model.predict(x) - y) ** 2 / 2
    own = np.searchsorted(model.classes_, y)
    return -model.predict_log_proba(x)[np.arange(y.size), own]


@pytest.mark.parametrize("name", MODELS)
def test_pairs_are_derivatives_in_the_weights_of_rows(name) -> None:
    x, y = rows(name)
    model: Any = clone(MODELS[name])
    n, held = x.shape[0] - 20, slice(x.shape[0] - 20, None)
    model.fit(x[:n], y[:n])
    found = influence_pairs(model, x[:n], y[:n], x[held], y[held], np.float64)
    assert found.residual < 1e-10
    for i in (0, n // 2, n - 1):
        ends = []
        for step in (1e-3, -1e-3):
            weight = np.ones(n)
            weight[i] += step
            model.fit(x[:n], y[:n], sample_weight=weight)
            ends.append(losses(model, x[held], y[held]))
        slope = (ends[0] - ends[1]) / 2e-3
        np.testing.assert_allclose(-found.value[i], slope, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_leaving_out_is_training_without_the_row(name) -> None:
    x, y = rows(name)
    model: Any = clone(MODELS[name])
    n, held = x.shape[0] - 20, slice(x.shape[0] - 20, None)
    model.fit(x[:n], y[:n])
    parts = x[:n], y[:n], x[held], y[held]
    whole, found = losses(model, *parts[2:]), leave_one_out(model, *parts)
    exact = np.empty_like(found)
    for i in range(n):
        model.fit(np.delete(x[:n], i, axis=0), np.delete(y[:n], i))
        exact[i] = losses(model, *parts[2:]) - whole
    if name == "ridge":
        np.testing.assert_allclose(found, exact, rtol=1e-7, atol=1e-12)
    first = influence_pairs(model.fit(*parts[:2]), *parts, np.float64).value
    near, far = (np.linalg.norm(of - exact) / np.linalg.norm(exact) for of in (found, first))
    assert near < 0.004
    assert far > 0.05


@pytest.mark.parametrize("name", ["softmax", "logistic"])
def test_rows_that_move_the_model_far_are_trained_anew(name) -> None:
    """Hardly any penalty: two steps alone are off by the size of the changes."""
    x, y = rows(name)
    model: Any = clone(MODELS[name])
    model.set_params(C=100.0)
    n, held = x.shape[0] - 20, slice(x.shape[0] - 20, None)
    model.fit(x[:n], y[:n])
    parts = x[:n], y[:n], x[held], y[held]
    whole, found = losses(model, *parts[2:]), leave_one_out(model, *parts)
    some = np.argsort(-np.abs(found).sum(axis=1))[:20]
    exact = np.empty((20, 20))
    for place, i in enumerate(some):
        anew: Any = clone(model)
        anew.fit(np.delete(x[:n], i, axis=0), np.delete(y[:n], i))
        exact[place] = losses(anew, *parts[2:]) - whole
    np.testing.assert_allclose(found[some], exact, atol=0.02 * np.abs(exact).max())


def test_a_row_that_fixes_a_weight_alone_is_trained_anew() -> None:
    rng = np.random.default_rng(0)
    x = np.hstack([rng.normal(size=(9, 2)), np.eye(9)[:, :1]])
    y, model = rng.normal(size=9), Ridge(1e-12, fit_intercept=False)
    model.fit(x, y)
    found = leave_one_out(model, x, y, x[:3], y[:3])
    before = losses(model, x[:3], y[:3])
    alone: Any = clone(model)
    alone.fit(x[1:], y[1:])
    np.testing.assert_allclose(found[0], losses(alone, x[:3], y[:3]) - before, atol=1e-9)


def test_rows_labels_and_models_that_do_not_fit_are_sentences() -> None:
    x, y = rows("logistic")
    model: Any = clone(MODELS["logistic"])
    model.fit(x, y)
    wrong: Any = (
        ((x, y, x[:5], y[:1]), r"held_y: got shape \(1,\), expected \(5,\)"),
        ((x, y, x[:5], y[:5] + 1), "held_y: got the label"),
        ((x, y[:, None], x, y), r"^y: got shape"),
        ((csr_array(x), y, x, y), "x: got sparse rows"),
    )
    for given, sentence in wrong:
        with pytest.raises(TableError, match=sentence):
            leave_one_out(model, *given)
    many: Any = Ridge()
    many.fit(x, np.stack([y, y], axis=1))
    with pytest.raises(TableError, match="model: got a Ridge of several targets"):
        influence_pairs(many, x, y, x, y)
    chosen: Any = LogisticRegressionCV(Cs=2, cv=3, max_iter=1000)
    with pytest.raises(TableError, match="model: got a LogisticRegressionCV"):
        influence_pairs(chosen, x, y, x, y)


def test_leaving_out_comes_in_blocks_and_needs_a_row_of_the_class(monkeypatch) -> None:
    x, y = rows("softmax")
    kept = np.r_[np.flatnonzero(y < 2), np.flatnonzero(y == 2)[:1]]
    model: Any = clone(MODELS["softmax"])
    model.fit(x[kept], y[kept])
    whole = leave_one_out(model, x[kept], y[kept], x[:30], y[:30])
    assert np.array_equal(np.isnan(whole).all(axis=1), y[kept] == 2)
    assert np.isfinite(whole[:-1]).all()
    monkeypatch.setattr("defenses.data_audit.leaving_out.NUMBERS", 1000)
    again = leave_one_out(model, x[kept], y[kept], x[:30], y[:30])
    np.testing.assert_allclose(again, whole, rtol=1e-9, atol=1e-12)
    ridge: Any = Ridge().fit(np.ones((1, 2)), np.ones(1))
    with pytest.raises(TableError, match="x: got 1 row, expected two or more"):
        leave_one_out(ridge, np.ones((1, 2)), np.ones(1), np.ones((1, 2)), np.ones(1))


@pytest.mark.parametrize("found", [influence_pairs, leave_one_out])
def test_a_singular_hessian_is_a_sentence(found) -> None:
    x = np.random.default_rng(0).normal(size=(9, 2))
    model: Any = Ridge(0.0, fit_intercept=False)
    model.fit(x, np.arange(9.0))
    x[:, 1] = 0
    with pytest.raises(TableError, match="model: the Hessian of its loss is singular in float"):
        found(model, x, np.arange(9.0), x, np.arange(9.0))


def test_single_precision_is_near_and_says_how_near() -> None:
    x, y = rows("softmax")
    model: Any = clone(MODELS["softmax"])
    model.fit(x, y)
    exact = influence_pairs(model, x, y, x[:30], y[:30], np.float64)
    quick = influence_pairs(model, x, y, x[:30], y[:30])
    assert quick.value.dtype == np.float32
    assert exact.residual < quick.residual < 1e-3
    assert np.abs(quick.value - exact.value).max() < 1e-4 * np.abs(exact.value).max()


def test_other_models_are_refused() -> None:
    x, y = np.eye(3), np.arange(3.0)
    with pytest.raises(TableError, match="got a Lasso"):
        influence_pairs(Lasso().fit(x, y), x, y, x, y)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(solver="saga", l1_ratio=1.0, max_iter=1000),
        LogisticRegression(solver="liblinear"),
        LogisticRegression(class_weight="balanced"),
        Ridge(positive=True),
    ],
)
def test_other_penalties_and_weights_are_refused(model) -> None:
    x, y = rows("logistic")
    model.fit(x, y)
    with pytest.raises(TableError, match="which has no such formula here; train one with"):
        influence_pairs(model, x, y, x, y)
