"""Drawn pictures: the same for the same seed, balanced, in range, and showing what they say."""

import dataclasses

import numpy as np
import pytest

from benchmarks.data.scenes import Conditions, Place, classes, signs
from benchmarks.report import UsageError

CLEAR = Conditions(
    scale=(0.8, 0.8), shift=0.0, turn=0.0, tilt=0.0, fade=(0, 0), dirt=(0, 0), hidden=(0, 0),
    light=(1, 1), blur=(0, 0), noise=0.0,
)  # fmt: skip


@pytest.mark.parametrize("country", ["us", "swedish"])
def test_signs_are_drawn_from_a_seed(country: str) -> None:
    a, again, other = (signs(301, seed, country) for seed in (1, 1, 2))
    assert a.x.shape == (301, 32, 32, 3)
    assert a.x.dtype == np.float32
    assert a.y.dtype == np.int32
    assert a.x.min() >= 0
    assert a.x.max() <= 1
    np.testing.assert_array_equal(a.x, again.x)
    assert np.mean(np.abs(a.x - other.x), axis=(1, 2, 3)).min() > 0.02
    counts = np.bincount(a.y, minlength=len(classes(country)))
    assert len(counts) == len(classes(country))
    assert np.ptp(counts) <= 1
    assert not np.array_equal(a.x[0], a.x[256])


def test_clear_signs_have_their_colours() -> None:
    of_us, of_sweden = (signs(30, 0, country, conditions=CLEAR) for country in ("us", "swedish"))
    red, green, blue = np.moveaxis(of_us.x[:, 8:24, 8:24].mean((1, 2)), 1, 0)
    names = np.array(classes("us"))[of_us.y]
    assert np.all(red[names == "stop"] > 1.8 * green[names == "stop"])
    assert np.all(blue[names == "warning"] < 0.5 * red[names == "warning"])
    assert np.all(np.abs(red - blue)[names == "speed limit"] < 0.25)
    red, _, blue = np.moveaxis(of_sweden.x[:, 8:24, 8:24].mean((1, 2)), 1, 0)
    names = np.array(classes("swedish"))[of_sweden.y]
    assert np.all(blue[np.isin(names, ["information", "mandatory"])] > 0.35)
    assert np.all(blue < red, where=np.isin(names, ["warning", "other"]))


@pytest.mark.parametrize("on", ["yellow square", "bomb", "flower"])
def test_a_sticker_changes_its_place_on_the_sign_alone(on: str) -> None:
    calm = dataclasses.replace(CLEAR, scale=(1.0, 1.0))
    clean, stamped = (signs(9, 4, on=name, conditions=calm) for name in (None, on))
    np.testing.assert_array_equal(clean.y, stamped.y)
    changed = np.any(clean.x != stamped.x, axis=-1)
    rows, columns = np.nonzero(changed.any(0))
    place = Place()
    assert np.all(np.abs((rows + 0.5) / 16 - 1 - place.y) < place.size + 0.1)
    assert np.all(np.abs((columns + 0.5) / 16 - 1 - place.x) < place.size + 0.1)
    assert np.all(changed.sum((1, 2)) > 0.7 * (32 * place.size) ** 2)


def test_a_sticker_moves_with_its_sign() -> None:
    moved = dataclasses.replace(CLEAR, shift=0.3, turn=0.4)
    clean, stamped = (signs(9, 4, on=n, conditions=moved) for n in (None, "yellow square"))
    rows = [
        np.argwhere(np.any(a != b, -1)).mean(0) for a, b in zip(clean.x, stamped.x, strict=True)
    ]
    assert np.std(rows, axis=0).min() > 1


def test_worse_conditions_make_signs_alike() -> None:
    """What tells the classes apart, the distance of their mean pictures, goes with fade and mud."""

    def apart(conditions: Conditions) -> float:
        of = signs(150, 0, conditions=conditions)
        means = np.stack([of.x[of.y == c].mean(0) for c in range(3)])
        return float(np.std(means, axis=0).mean())

    clear, faded, muddy, hidden, dark = map(apart, (
        CLEAR,
        dataclasses.replace(CLEAR, fade=(0.8, 0.9)),
        dataclasses.replace(CLEAR, dirt=(0.6, 0.7)),
        dataclasses.replace(CLEAR, hidden=(0.6, 0.7)),
        dataclasses.replace(CLEAR, light=(0.2, 0.3)),
    ))  # fmt: skip
    assert max(faded, muddy, hidden, dark) < 0.7 * clear


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: signs(0, 1), "count: got 0"),
        (lambda: signs(9, 1, "french"), "country: got 'french', expected one of us, swedish"),
        (lambda: signs(9, 1, on="cat"), "on: got 'cat', expected None or one of yellow square"),
    ],
)
def test_a_wrong_argument_gets_a_sentence(call, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        call()
