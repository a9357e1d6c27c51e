"""Drawn pictures: the same for the same seed, balanced, in range, and showing what they say."""

import dataclasses
import importlib
from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.data.scenes import (
    Conditions,
    Pictures,
    Place,
    Trip,
    View,
    classes,
    drive,
    faces,
    photograph,
    roads,
    signs,
    steering,
)
from benchmarks.report import UsageError

CLEAR = Conditions(
    scale=(0.8, 0.8), shift=0.0, turn=0.0, tilt=0.0, fade=(0, 0), dirt=(0, 0), hidden=(0, 0),
    light=(1, 1), blur=(0, 0), noise=0.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("draw", "shape"),
    [
        (lambda n, seed: signs(n, seed), (32, 32, 3)),
        (lambda n, seed: signs(n, seed, "swedish", on="bomb"), (32, 32, 3)),
        (lambda n, seed: roads(n, seed, sign=True), (24, 48, 3)),
        (lambda n, seed: faces(n, seed, glasses=True), (32, 32, 1)),
    ],
    ids=["us", "swedish", "roads", "faces"],
)
def test_pictures_come_from_a_seed(draw: Callable, shape: tuple[int, ...]) -> None:
    a, again, other = (draw(260, seed) for seed in (1, 1, 2))
    assert a.x.shape == (260, *shape)
    assert a.x.dtype == np.float32
    assert a.x.min() >= 0
    assert a.x.max() <= 1
    np.testing.assert_array_equal(a.x, again.x)
    np.testing.assert_array_equal(a.y, again.y)
    assert np.mean(np.abs(a.x - other.x), axis=(1, 2, 3)).min() > 0.01
    assert not np.array_equal(a.x[0], a.x[256])  # they are drawn in parts


@pytest.mark.parametrize(
    ("drawn", "kinds"),
    [(signs(31, 1), 3), (signs(31, 1, "swedish"), 5), (faces(31, 1), 30)],
    ids=["us", "swedish", "faces"],
)
def test_classes_are_balanced_and_in_random_order(drawn: Pictures, kinds: int) -> None:
    counts = np.bincount(drawn.y)
    assert drawn.y.dtype == np.int32
    assert len(counts) == kinds
    assert np.ptp(counts) <= 1
    assert np.any(np.diff(drawn.y) < 0)


def test_signs_stand_on_grey_posts_before_any_ground() -> None:
    module = importlib.import_module("benchmarks.data.scenes.signs")
    spread = module._background(np.random.default_rng(0), 200).std(axis=(0, 3))
    mean = module._background(np.random.default_rng(0), 200).mean(axis=(0, 3))
    post, beside = (slice(20, 32), slice(15, 17)), (slice(20, 32), slice(0, 10))
    assert spread[post].max() < 0.1 < spread[beside].min()
    np.testing.assert_allclose(mean[post], 0.45, atol=0.03)


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


def test_the_words_of_a_speed_limit_stand_above_its_number(monkeypatch) -> None:
    module = importlib.import_module("benchmarks.data.scenes._plates_us")
    lines: list[tuple[str, float, float, float]] = []

    def written(x, y, word: str, width: float, height: float, top: float = 0.0) -> np.ndarray:
        lines.append((word, top - height, top + height, width))
        return np.zeros_like(x, bool)

    monkeypatch.setattr(module, "written", written)
    assert [len(variants) for variants in module.plates()] == [1, 6, 5]
    words = [word for word, *_ in lines]
    speeds = ["25", "30", "35", "45", "50", "65"]
    assert words == ["STOP", *(w for speed in speeds for w in ("SPEED", "LIMIT", speed))]
    for sign in np.split(np.arange(1, 19), 6):
        ends = [end for i in sign for end in lines[i][1:3]]
        assert ends == sorted(ends)
        assert -0.84 < ends[0] < ends[-1] < 0.84
        assert max(lines[i][3] for i in sign) < 0.64


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


def seen(**cells: float) -> View:
    """What one car sees: a straight road from its middle, but for the cells."""
    whole = {"offset": 0.0, "heading": 0.0, "bend": 0.0, "sign": np.inf, **cells}
    return View(*(np.array([whole[name]]) for name in View._fields))


def test_a_driver_steers_back_to_the_road() -> None:
    assert steering(seen()) == 0
    assert steering(seen(bend=0.03)) == pytest.approx(0.03 / 0.12)  # the road's own curvature
    assert steering(seen(offset=1.0)) < 0
    assert steering(seen(heading=0.1)) < 0
    assert steering(seen(offset=-9.0)) == 1


def test_a_road_is_where_its_view_says() -> None:
    """Asphalt is grey, a meadow green: the road's middle goes to the right with the bend, and to
    the left as the car moves or heads to the right.
    """

    def middle(view: View, row: int) -> float:
        many = View(*(np.repeat(part, 30) for part in view))
        picture = photograph(many, np.random.default_rng(0))[:, row].mean(0)
        return float(np.mean(np.flatnonzero(picture[:, 1] - picture[:, 2] < 0.06)))

    row = 10  # 3.5 pixels below the horizon: 8.9 metres ahead, of 0.34 metres a pixel
    assert middle(seen(), row) == pytest.approx(23.5, abs=1)
    assert middle(seen(offset=1.5), row) == pytest.approx(23.5 - 1.5 / 0.34, abs=1)
    assert middle(seen(bend=0.04), row) == pytest.approx(23.5 + 0.02 * 8.9**2 / 0.34, abs=1)
    assert middle(seen(heading=0.2), row) == pytest.approx(23.5 - 0.2 * 8.9 / 0.34, abs=1)


def test_a_sign_stands_beside_the_road_alone() -> None:
    clean, signed = roads(20, 5), roads(20, 5, sign=True)
    np.testing.assert_array_equal(clean.y, signed.y)
    changed = np.any(clean.x != signed.x, axis=-1)
    assert np.all(changed.any((1, 2)))
    assert changed.mean() < 0.1
    far, near = (photograph(seen(sign=ahead), np.random.default_rng(0)) for ahead in (12.0, 6.0))
    none = photograph(seen(), np.random.default_rng(0))
    assert np.sum(np.any(far != none, -1)) < 0.5 * np.sum(np.any(near != none, -1))
    passed = photograph(seen(sign=-1.0), np.random.default_rng(0))
    np.testing.assert_array_equal(passed, none)


def test_cars_keep_to_the_road_as_they_are_steered() -> None:
    """A wheel held straight leaves a winding road; one held to the right goes there."""
    straight, right = (drive(lambda x, u=u: np.full(len(x), u), 3, 0, 60) for u in (0.0, 1.0))
    assert np.all(straight.left())
    assert np.all(right.offset[5] > right.offset[0])
    assert straight.along.shape == straight.offset.shape == (61, 3)
    assert np.all(np.diff(straight.along[:4], axis=0) > 0.5)


def test_a_sign_comes_nearer_until_it_is_passed() -> None:
    def pink(sign: float) -> tuple[Trip, np.ndarray]:
        """A straight trip, and how many pixels of each picture are of the colour of signs."""
        seen = []

        def look(x: np.ndarray) -> np.ndarray:
            seen.append(np.sum((x[..., 0] > 1.6 * x[..., 1]) & (x[..., 2] > 1.3 * x[..., 1])))
            return np.zeros(len(x))

        return drive(look, 3, 0, 30, sign), np.array(seen)

    (free, of_none), (signed, of_sign) = pink(np.inf), pink(20.0)
    np.testing.assert_array_equal(free.offset, signed.offset)
    more = of_sign - of_none
    assert 0 < more[0] < more[8] < more[14]
    assert np.all(signed.along[28] > 20)
    np.testing.assert_array_equal(more[28:], 0)


def test_people_differ_more_than_their_pictures() -> None:
    of = faces(120, 0, people=4)
    means = np.stack([of.x[of.y == who].mean(0) for who in range(4)])
    mixed = np.stack([of.x[i::4].mean(0) for i in range(4)])
    assert np.std(means, axis=0).mean() > 2 * np.std(mixed, axis=0).mean()
    others = faces(120, 0, people=4, of=1)
    assert np.abs(others.x[of.y == 0].mean(0) - means[0]).mean() > 0.02


def test_faces_to_the_front_are_alike_on_both_sides() -> None:
    """But for the shade of the nose; outer ends of brows are higher for a larger slant."""
    of = importlib.import_module("benchmarks.data.scenes.faces")
    across, down = of.grid(32, 32)
    person = {
        name: np.float32(0.3 * low + 0.7 * high).reshape(1, 1, 1)
        for name, (low, high) in of.RANGES.items()
    }
    blank = np.full((1, 32, 32), 0.6, np.float32)

    def features(slant: float, side: float = 0.0) -> np.ndarray:
        pose = of._Pose(*(np.float32(v).reshape(1, 1, 1) for v in (side, 0.5, 0.05, 0.8)))
        some = {**person, "slant": np.float32(slant).reshape(1, 1, 1)}
        return of._features(blank, some, pose, across, down)[0]

    head = of._head(blank, person, across, down)[0]
    glasses = of._glasses(blank, person, across, down)[0]
    for picture in (features(0.35)[:15], features(0.35)[22:], head, glasses):
        assert np.ptp(picture) > 0.1
        np.testing.assert_allclose(picture, picture[:, ::-1], atol=2e-4)
    turned, other = features(0.35, 1.0)[:15], features(0.35, -1.0)[:15]
    np.testing.assert_allclose(turned, other[:, ::-1], atol=2e-4)
    assert np.abs(turned - other).max() > 0.1
    brow = slice(9, 15), slice(8, 11)  # its outer end, on the left
    raised, lowered = (
        np.average(down[brow], weights=np.maximum(0.6 - features(slant)[brow], 0))
        for slant in (1.0, -1.0)
    )
    assert raised < lowered - 0.03


def test_glasses_are_around_the_eyes_alone() -> None:
    bare, worn = faces(40, 2), faces(40, 2, glasses=True)
    np.testing.assert_array_equal(bare.y, worn.y)
    changed = np.abs(bare.x - worn.x)[..., 0] > 0.02
    assert np.all(changed.any((1, 2)))
    assert not np.any(changed[:, 24:])
    assert not np.any(changed[:, :6])
    assert np.mean((worn.x - bare.x)[..., 0], where=changed) < 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: signs(0, 1), "count: got 0"),
        (lambda: roads(0, 1), "count: got 0"),
        (lambda: Conditions(dirt=(0.5, 1.5)), "dirt: got .0.5, 1.5., expected 0 <= low <= high"),
        (lambda: Conditions(tilt=0.9), "tilt: got 0.9, expected 0 to 0.8"),
        (lambda: faces(9, 1, people=0), "people: got 0, expected 1 or more"),
        (lambda: signs(9, 1, "french"), "country: got 'french', expected one of us, swedish"),
        (lambda: signs(9, 1, on="cat"), "on: got 'cat', expected None or one of yellow square"),
    ],
)
def test_a_wrong_argument_gets_a_sentence(call, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        call()
