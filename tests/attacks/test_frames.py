"""Frames of mixed types go in and come out as the same kind."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

from attacks import compose, indiscriminate
from attacks.capabilities import XY, InsertXY
from attacks.frames import encode
from bilevel import maximize
from bilevel.learners.ridge import Ridge

RNG = np.random.default_rng(0)
N = 40


def loans(seed=0, rows=N):
    rng = np.random.default_rng(seed)
    grades = pd.CategoricalDtype(["A", "B", "C", "unused"], ordered=True)
    frame = pd.DataFrame(
        {
            "amount": rng.integers(-1000, 40_000, rows),
            "rate": rng.uniform(0.05, 0.3, rows),
            "ratio": rng.uniform(-1e6, 1e6, rows).astype(np.float32),
            "small": rng.integers(-128, 128, rows).astype(np.int8),
            "count": rng.integers(0, 2**48, rows).astype(np.uint64),
            "owns": rng.integers(0, 2, rows).astype(bool),
            "interest": rng.uniform(0, 1, rows) * 3e4,
            "term": rng.choice(["36 months", "60 months"], rows),
            "grade": pd.Categorical(rng.choice(["A", "B", "C"], rows), dtype=grades),
            "purpose": rng.choice(["car", "debt", "house", "other"], rows),
            "mixed": pd.Series(rng.choice(np.array([1, "one", 2.5], object), rows), dtype=object),
            "year": pd.array(rng.integers(1990, 2020, rows), dtype="Int64"),
            "same": np.full(rows, 7),
            7: pd.Categorical(rng.choice([3, 1, 2], rows), categories=[3, 1, 2]),
        }
    )
    # both extremes and all categories are seen
    frame.loc[0, ["small", "owns", "term", "purpose"]] = [-128, False, "36 months", "car"]
    frame.loc[1, ["small", "owns", "term", "purpose"]] = [127, True, "60 months", "debt"]
    return frame


FRAME: Any = loans()


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("target", ["interest", "amount", "owns", "grade", "term"])
def test_a_frame_comes_back_as_it_was(target, reference):
    encoding = encode(FRAME, target, reference=reference)
    assert encoding.x.shape == (N, len(encoding.features))
    assert np.all((encoding.x >= 0) & (encoding.x <= 1))
    assert encoding.constant == ("same",)
    encoding.domain.check(encoding.x.shape)
    assert encoding.domain.outside(jnp.asarray(encoding.x)) <= 1e-15
    back = encoding.decode(encoding.x, encoding.y)
    exact = [c for c in FRAME.columns if c not in ("rate", "ratio", "interest")]
    pd.testing.assert_frame_equal(back.loc[:, exact], FRAME[exact], check_exact=True)
    pd.testing.assert_frame_equal(back, FRAME, rtol=1e-14, atol=1e-9)
    # in another order, by the scales learnt
    again = encoding.encode(FRAME[FRAME.columns[::-1]])
    np.testing.assert_array_equal(again.x, encoding.x)
    np.testing.assert_array_equal(again.y, encoding.y)


def test_features_have_the_kinds_of_their_columns():
    encoding = encode(FRAME, "interest")
    domain = encoding.domain
    names = dict(zip(encoding.features, range(99), strict=False))
    spacing = np.asarray(domain.spacing)
    assert spacing[names["amount"]] == 1 / (FRAME.amount.max() - FRAME.amount.min())
    assert spacing[names["rate"]] == 0
    assert spacing[names["owns=True"]] == spacing[names["term=60 months"]] == 1
    assert domain.upper[names["same"]] == 0
    groups = [[encoding.features[i] for i in group] for group in domain.groups]
    assert groups == [
        ["grade=A", "grade=B", "grade=C", "grade=unused"],
        ["purpose=car", "purpose=debt", "purpose=house", "purpose=other"],
        [f"mixed={v}" for v in FRAME.mixed.unique()],
        ["7=3", "7=1", "7=2"],
    ]
    assert not any(domain.optional)
    dropped = encode(FRAME, "interest", reference=True)
    assert [len(g) for g in dropped.domain.groups] == [3, 3, 2, 2]
    assert all(dropped.domain.optional)
    kept = [i for i, name in enumerate(encoding.features) if name in dropped.features]
    np.testing.assert_array_equal(dropped.x, encoding.x[:, kept])


def test_targets_are_scaled_numbers_or_labels():
    interest = encode(FRAME, "interest")
    assert (interest.y.min(), interest.y.max()) == (0, 1)
    assert interest.targets.outside(jnp.asarray(interest.y)) == 0
    amount = encode(FRAME, "amount")
    assert amount.targets.outside(jnp.asarray(amount.y)) <= 1e-15
    assert amount.targets.outside(jnp.asarray(amount.y + 1e-5)) > 0
    np.testing.assert_array_equal(encode(FRAME, "owns").y, np.where(FRAME.owns, 1, -1))
    np.testing.assert_array_equal(encode(FRAME, "grade").y, FRAME.grade.cat.codes)


@pytest.mark.parametrize("off", [-1e-7, 0.0, 1e-7])
@pytest.mark.parametrize(("target", "first", "step"), [("grade", 0, 1), ("owns", -1, 2), (7, 0, 1)])
def test_labels_next_to_whole_ones_are_those(target, first, step, off):
    encoding = encode(FRAME, target)
    back = encoding.decode(encoding.x, encoding.y + off)
    assert back[target].tolist() == FRAME[target].tolist()
    assert back[target].dtype == FRAME[target].dtype
    beyond = first + step * FRAME[target].nunique() + (target == "grade")  # one is not used
    for wrong in (first - step, beyond, first + 0.4 * step):
        y = np.where(np.arange(N) == 5, wrong, encoding.y)
        with pytest.raises(ValueError, match=r"^y: column .* is no label, first in row 5"):
            encoding.decode(encoding.x, y)


@pytest.mark.parametrize("reference", [False, True])
def test_poison_comes_out_as_rows_of_the_frame(reference):
    encoding = encode(FRAME, "amount", reference=reference)
    other = encoding.encode(loans(1).assign(same=7))
    reach = InsertXY(3, encoding.domain, encoding.targets)
    goal = indiscriminate(other.x, other.y, lambda y, f: (y - f) ** 2)
    attack = compose(Ridge(0.1), reach, goal, encoding.data)
    z = XY(jnp.asarray(encoding.x[:3]), jnp.asarray(encoding.y[:3]))
    start = reach.check_start(z, encoding.data)
    far = optax.sgd(500.0)
    result = maximize(attack, start, project=reach.project, optimizer=far, steps=5)
    poisoned = reach.inject(result.z, encoding.data)
    frame = encoding.decode(np.asarray(poisoned.x), np.asarray(poisoned.y))
    assert dict(frame.dtypes) == dict(FRAME.dtypes)
    pd.testing.assert_frame_equal(frame.head(N), FRAME, rtol=1e-14, atol=1e-9)
    assert float(jnp.max(jnp.abs(poisoned.x[N:] - z.x))) > 0.1
    for column in ("purpose", "term", 7, "owns", "mixed"):
        assert set(frame[column]) <= set(FRAME[column])
    for column in ("amount", "small", "count", "year"):
        assert frame[column].between(FRAME[column].min(), FRAME[column].max()).all()
    # and goes in again
    again = encoding.encode(frame)
    np.testing.assert_allclose(again.x, poisoned.x, atol=1e-7)  # one column is float32


def test_numbers_beyond_the_extremes_come_back_too():
    encoding = encode(FRAME, "interest")
    wider = FRAME.assign(rate=FRAME.rate * 3, amount=FRAME.amount * 2 + 1)
    data = encoding.encode(wider)
    assert float(data.x.max()) > 1
    back = encoding.decode(np.asarray(data.x), np.asarray(data.y))
    pd.testing.assert_series_equal(back.amount, wider.amount, check_exact=True)
    pd.testing.assert_series_equal(back.rate, wider.rate, rtol=1e-13)


def test_large_integers_keep_valid_levels():
    encoding = encode(pd.DataFrame({"a": [0, 12_345, 10**14], "y": [0.0, 1, 2]}), "y")
    x = encoding.domain.place(jnp.asarray(encoding.x))
    np.testing.assert_array_equal(
        encoding.decode(np.asarray(x), encoding.y)["a"], [0, 12_345, 10**14]
    )


ENCODING = encode(FRAME, "interest")
AT = {name: i for i, name in enumerate(ENCODING.features)}


def changed(**cells):
    frame = FRAME.copy()
    for column, value in cells.items():
        frame[column] = frame[column].astype(object)
        frame.loc[2, column] = value
    return frame


def decoded(cells):
    x = ENCODING.x.copy()
    for feature, value in cells.items():
        x[2, AT[feature]] = value
    ENCODING.decode(x, ENCODING.y)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: encode(FRAME, "price"), r"^target: got 'price', expected one of the columns"),
        (lambda: encode(FRAME, "same"), r"^target: every row of 'same' holds 7, expected several"),
        (lambda: encode(FRAME[["rate"]], "rate"), r"^frame: got no column besides the target"),
        (lambda: encode(FRAME[:0], "rate"), r"^frame: got no rows"),
        (lambda: encode(FRAME.to_numpy(), "rate"), r"^frame: got a ndarray, expected a pandas"),
        (lambda: encode(pd.concat([FRAME, FRAME], axis=1), "rate"), r"^frame: got two columns 'am"),
        (lambda: encode(FRAME.assign(rate=np.r_[np.nan, FRAME.rate[1:]]), "amount"),
         r"^frame: column 'rate' has 1 missing values, the first in row 0"),
        (lambda: encode(changed(purpose=None), "amount"), r"^frame: column 'purpose' has 1 miss"),
        (lambda: encode(changed(year=pd.NA), "amount"), r"^frame: column 'year' has 1 missing"),
        (lambda: encode(FRAME.assign(rate=np.r_[np.inf, FRAME.rate[1:]]), "amount"),
         r"^frame: column 'rate' holds inf in row 0, which is infinite"),
        (lambda: encode(FRAME.assign(amount=FRAME.amount + 2**60), "rate"),
         r"^frame: column 'amount' holds \d+ in row 0, which is too large"),
        (lambda: encode(FRAME.assign(rate=FRAME.rate.astype(object)), "amount"),
         r"^frame: column 'rate' holds numbers as dtype object"),
        (lambda: encode(FRAME.assign(rate=pd.Timestamp(0)), "amount"),
         r"^frame: column 'rate' has dtype datetime64.*, expected numbers, booleans, text"),
        (lambda: encode(FRAME.assign(rate=1j), "amount"), r"^frame: column 'rate' has dtype compl"),
        (lambda: ENCODING.encode(FRAME.drop(columns="rate")), r"^frame: got no column 'rate'"),
        (lambda: ENCODING.encode(FRAME.assign(extra=1)), r"^frame: got a column 'extra', expected"),
        (lambda: ENCODING.encode(changed(purpose="boat")),
         r"^frame: column 'purpose' holds 'boat' in row 2, a category that was not seen; expected"),
        (lambda: ENCODING.encode(changed(term=np.nan)), r"^frame: column 'term' has 1 missing"),
        (lambda: ENCODING.encode(FRAME.assign(rate="high")),
         r"^frame: column 'rate' has dtype \w+, expected numbers as before"),
        (lambda: ENCODING.encode(FRAME.assign(same=8)), r"^frame: column 'same' holds 8 in row 0"),
        (lambda: ENCODING.decode(ENCODING.x[:, 1:], ENCODING.y), r"^x, y: got shapes \(40, 22\)"),
        (lambda: ENCODING.decode(ENCODING.x * np.nan, ENCODING.y), r"^x, y: got values that are N"),
        (lambda: decoded({"7=1": 1.0, "7=2": 1.0}), r"^x: column 7 is no valid one-hot row, first "
         "in row 2; decode valid rows, for example encoding.domain.place"),
        (lambda: decoded({"7=1": 0.0, "7=2": 0.0, "7=3": 0.0}), r"^x: column 7 is no valid one-h"),
        (lambda: decoded({"purpose=car": 0.5}), r"^x: column 'purpose' is no valid one-hot row"),
        (lambda: decoded({"owns=True": 0.5}), r"^x: column 'owns' is no valid one-hot row"),
        (lambda: decoded({"amount": 0.5 + 0.5 / 38_999}), r"^x: column 'amount' lies between two"),
        (lambda: decoded({"small": 3.0}), r"^x: column 'small' does not fit into int8"),
        (lambda: decoded({"same": 1.0}), r"^x: column 'same' is not 0 in a row"),
        (lambda: encode(FRAME, "owns").decode(encode(FRAME, "owns").x, np.zeros(N)),
         r"^y: column 'owns' is no label, first in row 0"),
        (lambda: encode(FRAME, "owns").targets, r"^target: 'owns' holds categories"),
    ],
)  # fmt: skip
def test_what_cannot_be_encoded_is_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
