"""Reports of fairness against fairlearn, by hand, and their sentences; protected attributes."""

from typing import Any, cast

import fairlearn.metrics as oracle
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from attacks import Columns, fairness, frames

N = 60


def drawn(groups: int, seed: int = 0):
    """(labels, predictions, groups), with every label in every group."""
    rng = np.random.default_rng(seed)
    group = np.arange(N) % groups
    y = np.where(rng.random(N) < 0.3 + 0.4 * group / groups, 1, -1)
    y[:groups], y[groups : 2 * groups] = 1, -1
    return y, np.where(rng.random(N) < 0.7, y, -y), group


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_measures_are_those_of_fairlearn(groups: int, seed: int) -> None:
    y, predicted, group = drawn(groups, seed)
    found = fairness.report(y, predicted, group)
    args, of = (y > 0, predicted > 0), cast(Any, {"sensitive_features": group})
    expected = {
        "disparate_impact": oracle.demographic_parity_ratio(*args, **of),
        "parity_difference": oracle.demographic_parity_difference(*args, **of),
        "equal_opportunity_difference": oracle.equal_opportunity_difference(*args, **of),
        "equalised_odds_difference": oracle.equalized_odds_difference(*args, **of),
        "average_odds_difference": oracle.equalized_odds_difference(*args, **of, agg="mean"),
    }
    for name, value in found.disparities._asdict().items():
        assert abs(value - expected[name]) <= 1e-12, name
    frame = oracle.MetricFrame(
        metrics={"fnr": oracle.false_negative_rate, "fpr": oracle.false_positive_rate,
                 "selected": oracle.selection_rate}, y_true=y > 0, y_pred=predicted > 0, **of,
    ).by_group  # fmt: skip
    for name, ours in (
        ("fnr", found.false_negative_rates), ("fpr", found.false_positive_rates),
        ("selected", found.selection_rates),
    ):  # fmt: skip
        np.testing.assert_allclose(ours, frame[name], rtol=0, atol=1e-12)
    assert found.accuracy == np.mean(y == predicted)
    assert found.notes == ()


def test_measures_between_two_groups_have_a_sign_and_the_ratio_may_exceed_one() -> None:
    y, predicted, group = drawn(2)
    found, back = (fairness.report(y, predicted, group).between(*g) for g in ((0, 1), (1, 0)))
    zero, one = group == 0, group == 1
    up, positive = predicted > 0, y > 0
    rate = [up[g].mean() for g in (zero, one)]
    odds = [up[g & p].mean() for p in (positive, ~positive) for g in (zero, one)]
    np.testing.assert_allclose(found.disparate_impact, rate[0] / rate[1], rtol=1e-12)
    np.testing.assert_allclose(found.parity_difference, rate[0] - rate[1], atol=1e-12)
    gaps = odds[0] - odds[1], odds[2] - odds[3]
    np.testing.assert_allclose(found.equal_opportunity_difference, gaps[0], atol=1e-12)
    np.testing.assert_allclose(found.average_odds_difference, sum(gaps) / 2, atol=1e-12)
    np.testing.assert_allclose(found.equalised_odds_difference, max(map(abs, gaps)), atol=1e-12)
    np.testing.assert_allclose(back.disparate_impact, 1 / found.disparate_impact, rtol=1e-12)
    assert back.parity_difference == -found.parity_difference


def test_labels_of_zero_and_one_are_the_same_report() -> None:
    y, predicted, group = drawn(3)
    ours, theirs = (
        fairness.report(a, b, group) for a, b in ((y, predicted), (y > 0, predicted > 0))
    )
    assert ours.disparities == theirs.disparities
    assert "group 2: 20 rows" in str(ours)


def test_groups_that_lack_rows_are_noted_and_their_rates_undefined() -> None:
    y = np.array([1, 1, -1, 1, -1, -1])
    found = fairness.report(y, y, [0, 0, 1, 1, 1, 2])
    assert "group 0 has no row with the label -1: no false positive rate" in found.notes
    assert "group 2 has no row with the label +1: no true positive rate" in found.notes
    assert "group 2 has a single row: its rates are 0 or 1" in found.notes
    assert found.disparities.disparate_impact == 0
    assert np.isnan(found.disparities.average_odds_difference)
    nobody = fairness.report(y, -np.ones(6), [0, 0, 1, 1, 1, 2])
    assert np.isnan(nobody.disparities.disparate_impact)


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ([0, 1, 0], r"group: got shape \(3,\), expected \(4,\), one per row"),
        ([0, 1, np.nan, 1], "group: 1 rows have no group .NaN., the first is row 2"),
        ([0, 1, 0.5, 1], "group: got 0.5 in row 2, expected whole numbers"),
        ([0, 1, -1, 1], "group: got -1 in row 2, .* gives missing ones -1"),
        ([0, 2, 2, 0], "group: no row is of group 1, expected rows of each of 0 ... 2"),
        ([0, 0, 0, 0], "group: got rows of one group"),
        (["a", "b", "a", "b"], "group: got <U1, expected whole numbers .* pandas.factorize"),
    ],
)
def test_a_group_that_makes_no_sense_is_a_sentence(group, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fairness.report(np.array([1, -1, 1, -1]), np.array([1, -1, 1, 1]), group)


@pytest.mark.parametrize(
    ("y", "predicted", "said"),
    [
        ([1, -1], [1, 2], "predicted: got labels"),
        ([1, np.nan], [1, 1], "y: got labels"),
        ([1, -1], [1, -1, 1], r"predicted: got shape \(3,\)"),
        ([], [], r"y: got shape \(0,\)"),
    ],
)
def test_labels_that_make_no_sense_are_a_sentence(y, predicted, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fairness.report(np.array(y), np.array(predicted), [0, 1])


def test_a_group_that_there_is_not_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="reference: got 2, expected 0 to 1"):
        fairness.report(*drawn(2)).between(0, 2)


FRAME = pd.DataFrame(
    {"age": [20.0, 30.0, 40.0, 50.0], "sex": ["f", "m", "f", "m"], "race": ["a", "b", "c", "a"],
     "label": ["no", "yes", "no", "yes"]}
)  # fmt: skip


def test_the_protected_attribute_is_chosen_or_fixed_and_never_between() -> None:
    encoding = frames.encode(FRAME, "label")
    assert [encoding.columns_of(name) for name in ("age", "sex", "race")] == [(0,), (1,), (2, 3, 4)]
    start = jnp.asarray(encoding.x)
    halfway = jnp.full_like(start, 0.6)
    for name in ("sex", "race"):
        columns = encoding.columns_of(name)
        at = jnp.array(columns)
        free = fairness.chosen(encoding.domain, columns)
        assert set(np.unique(np.asarray(free.place(halfway)[:, at]))) <= {0.0, 1.0}
        held = fairness.fixed(encoding.domain, columns, start)
        np.testing.assert_array_equal(held.place(halfway)[:, at], start[:, at])
        np.testing.assert_array_equal(held.place(halfway)[:, 0], halfway[:, 0])
        slope = jax.grad(lambda z, held=held, at=at: jnp.sum(held.place(z)[:, at]))(halfway)
        assert not np.any(np.asarray(slope))
    with pytest.raises(ValueError, match="feature 0 is continuous in this domain"):
        fairness.chosen(encoding.domain, encoding.columns_of("age"))
    with pytest.raises(ValueError, match="name: got 'label', expected one of 'age', 'sex', 'race'"):
        encoding.columns_of("label")
    with pytest.raises(ValueError, match="column 'sex' has 1 missing values"):
        frames.encode(FRAME.assign(sex=["f", None, "f", "m"]), "label")
    assert isinstance(free, Columns)


def test_one_spacing_is_that_of_every_feature() -> None:
    levels = Columns(np.zeros(4), np.ones(4), 1.0)
    assert fairness.chosen(levels, [3]) is levels
    with pytest.raises(ValueError, match="feature 3 is continuous in this domain"):
        fairness.chosen(Columns(np.zeros(4), np.ones(4)), [3])


def test_an_attribute_of_any_group_has_values() -> None:
    """And one next to a group none: by its own spacing."""
    domain = Columns(np.zeros(7), 1.0, [0, 0, 0, 1, 0, 0, 0], ((0, 1), (4, 6)))
    for columns in ([0, 1], [3], [4, 6], [6, 4, 3]):
        assert fairness.chosen(domain, columns) is domain
    for columns, wrong in (([2], 2), ([4, 6, 5], 5), ([3, 2], 2)):
        with pytest.raises(ValueError, match=f"^columns: feature {wrong} is continuous"):
            fairness.chosen(domain, columns)
