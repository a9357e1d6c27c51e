"""Filters of images, STRIP, and the attacker's derivative of what has none."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import median_filter, uniform_filter
from scipy.special import softmax

from attacks import Box, Evade, compose
from attacks.goals import shown
from bilevel import Data
from bilevel.learners import AbstractModel, Fixed, LinearModel, Logistic
from bilevel.losses import CrossEntropy
from bilevel.losses import Logistic as LogisticLoss
from defenses import FewerLevels, MeanFilter, MedianFilter, StraightThrough, Strip

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(80, 5, 6, 2))
LABELS = np.arange(80) % 2
SIGNS = np.where(LABELS, 1.0, -1.0)


class Mean(AbstractModel):
    """Two classes, by the mean pixel; a first pixel above .9 is read as class 1 in any case."""

    def decision(self, x, *, key=None):
        flat = x.reshape(x.shape[0], -1)
        f = 20 * (jnp.mean(flat, axis=1) - 0.5) + 1e3 * jax.nn.relu(flat[:, 0] - 0.4)
        return jnp.stack([-f, f], axis=1)


FIXED = Fixed(Mean(), CrossEntropy())
DATA = Data(IMAGES * 0.4, LABELS)


@eqx.filter_jit
def purified(defense, model, x):
    return defense.purify(model, x)


def test_filters_are_those_of_scipy() -> None:
    for defense, filtered in ((MedianFilter, median_filter), (MeanFilter, uniform_filter)):
        ours = purified(defense(FIXED, 3), Mean(), IMAGES)
        theirs = filtered(IMAGES, size=(1, 3, 3, 1), mode="nearest")  # pyright: ignore
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize(("kind", "pooled"), [(MedianFilter, np.median), (MeanFilter, np.mean)])
def test_windows_reach_as_far_to_either_side_and_even_ones_one_pixel_more_behind(
    width, kind, pooled
) -> None:
    images, expected = IMAGES[:2], np.empty_like(IMAGES[:2])
    height, long = images.shape[1:3]
    for i in range(height):
        for j in range(long):
            rows, columns = (
                np.clip(at + np.arange(width) - (width - 1) // 2, 0, end - 1)
                for at, end in ((i, height), (j, long))
            )
            window = images[:, rows[:, None], columns[None]]
            expected[:, i, j] = pooled(window, axis=(1, 2))
    found = purified(kind(FIXED, width), Mean(), images)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_levels_are_rounded_and_the_attacker_steps_straight_through() -> None:
    flat = Data(IMAGES.reshape(80, -1), SIGNS)
    model = LinearModel(jnp.asarray(RNG.normal(size=60)), jnp.zeros(()))
    defense = FewerLevels(Fixed(model), 2)
    rounded = purified(defense, model, flat.x)
    assert set(np.unique(np.round(3 * np.asarray(rounded), 9))) == {0, 1, 2, 3}
    surrogate = defense.surrogate(flat)
    assert isinstance(surrogate, StraightThrough)
    goal = shown(flat.x[:4], SIGNS[:4], LogisticLoss())
    attacks = [
        compose(one, Evade(flat.x[:4], Box(0.0, 1.0)), goal, flat)
        for one in (defense, surrogate, Fixed(model))
    ]
    z = flat.x[:4]
    values, slopes = zip(*(jax.value_and_grad(attack)(z) for attack in attacks), strict=True)
    assert float(values[0]) == float(values[1]) != float(values[2])
    assert not np.any(slopes[0])
    assert np.any(slopes[1])


def corner(value: float) -> np.ndarray:
    """The rows with this first pixel."""
    x = 0.4 * IMAGES
    x[:, 0, 0, 0] = value
    return x


def strip(**more) -> Strip:
    return Strip(FIXED, Data(DATA.x, LABELS), **{"overlays": 10, "false_refusals": 0.1, **more})


def test_strip_refuses_rows_that_are_read_alike_under_all_overlays() -> None:
    fitted = strip().fit(DATA)
    model = fitted.model
    stamped = corner(1.0)
    predict = eqx.filter_jit(model.predict)
    assert np.all(np.asarray(eqx.filter_jit(model.refuses)(stamped)))
    assert np.all(np.asarray(predict(stamped)) == 2)  # the column of refusals
    clean = np.asarray(predict(DATA.x))
    assert np.mean(clean == 2) == pytest.approx(0.1, abs=0.02)
    plain = np.asarray(eqx.filter_jit(Mean().predict)(DATA.x))
    np.testing.assert_array_equal(clean[clean != 2], plain[clean != 2])
    mixed = 0.2 * IMAGES[:1] + 0.5 * np.asarray(model.overlays)
    shares = softmax(np.asarray(eqx.filter_jit(Mean().decision)(mixed)), axis=1)
    entropy = -np.mean(np.sum(shares * np.log(shares), axis=1))
    np.testing.assert_allclose(eqx.filter_jit(model.entropy)(DATA.x[:1])[0], entropy, rtol=1e-6)
    np.testing.assert_allclose(fitted.report[0], entropy, rtol=1e-6)


def test_more_mixing_asks_more_of_a_trigger() -> None:
    refused = eqx.filter_jit(lambda model: model.refuses(jnp.asarray(corner(0.6))))
    passed = [np.mean(~np.asarray(refused(strip(mix=m).fit(DATA).model))) for m in (0.1, 0.9)]
    assert passed[0] < 0.5 < passed[1]


def test_what_they_cannot_work_on_is_said() -> None:
    table = Data(IMAGES.reshape(80, -1), SIGNS)
    with pytest.raises(ValueError, match=r"rows of shape \(60,\), expected images"):
        MedianFilter(Logistic()).fit(table)
    with pytest.raises(ValueError, match="at least 7 x 7 pixels"):
        MeanFilter(FIXED, 7).fit(DATA)
    with pytest.raises(ValueError, match="clean: got 20 rows, expected 50"):
        Strip(FIXED, Data(DATA.x[:20], LABELS[:20]))
    with pytest.raises(ValueError, match="clean: got 49 rows, expected 50"):
        Strip(FIXED, Data(DATA.x[:49], LABELS[:49]))
    with pytest.raises(ValueError, match="clean: got 80 rows, expected 81"):
        strip(overlays=81)
    assert strip(overlays=80).clean.rows == 80
    with pytest.raises(ValueError, match="expected an output per class"):
        Strip(Logistic(), table).fit(table)
    with pytest.raises(ValueError, match=r"clean: got rows of shape \(5, 6, 2\)"):
        Strip(Logistic(), DATA).fit(table)
    with pytest.raises(ValueError, match="mix"):
        strip(mix=1.5)
    with pytest.raises(ValueError, match="bits: got 0"):
        FewerLevels(FIXED, 0)
