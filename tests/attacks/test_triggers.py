"""Triggers: what they change, their derivatives, and sentences for those that make no sense."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import Box, Columns
from attacks.triggers import (
    Added,
    Features,
    Painted,
    Patch,
    SoftPatch,
    Warp,
    blended,
    corner_pattern,
    pixel,
    square,
    warp,
)

RNG = np.random.default_rng(3)
SHAPE = (8, 7, 2)
PIXELS = RNG.uniform(size=(5, *SHAPE))
IMAGES = jax.device_put(PIXELS)
TABLE = jax.device_put(RNG.uniform(size=(5, 6)))
PICTURE = RNG.uniform(0.1, 0.9, SHAPE)
MASK = np.zeros((8, 7, 1))
MASK[2:4, 1:3] = 0.5
LEVELS = Columns(0.0, 1.0, groups=((1, 2),))

TRIGGERS = {
    "patch": lambda: (Patch(MASK, PICTURE), IMAGES),
    "patch of a table": lambda: (Patch([0, 1, 0, 0, 1, 1], 0.4), TABLE),
    "pixel": lambda: (pixel(SHAPE, 0.7), IMAGES),
    "corner pattern": lambda: (corner_pattern(SHAPE, (0.2, 0.9)), IMAGES),
    "square": lambda: (square(SHAPE, 3), IMAGES),
    "blended": lambda: (blended(PICTURE, 0.3), IMAGES),
    "soft patch": lambda: (SoftPatch(0.1 * np.ones((8, 7, 1)), PICTURE, 6.0), IMAGES),
    "warp": lambda: (warp(jax.random.key(0), 0.4, 3), IMAGES),
    "features": lambda: (Features([4, 1], [0.3, 7.0]), TABLE),
    "levels": lambda: (Features([4, 1, 0], [0.3, 1.0, 0.0], LEVELS), TABLE),
    "added": lambda: (Added(PICTURE), IMAGES),
}


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_trigger_is_differentiable_in_its_pattern_and_in_the_rows(name):
    trigger, x = TRIGGERS[name]()
    trigger.check(x.shape[1:])
    pattern = jax.jit(lambda: trigger.project(trigger.like(x.dtype)))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-15), pattern,
                 trigger.pattern)  # fmt: skip
    rng = np.random.default_rng(1)
    weight = rng.normal(size=x.shape)
    along = jax.tree.map(lambda a: rng.normal(size=a.shape), (pattern, x))
    if name == "levels":  # a category moves not by itself, but with the derivative of the identity
        along = (np.array([1.0, 0, 0]), along[1])

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1))
    def both(step, pattern):
        pattern_, x_ = jax.tree.map(lambda a, t: a + step * t, (pattern, x), along)
        return jnp.sum(weight * trigger.apply(pattern_, x_))

    h = 1e-6
    expected = (both(h, pattern)[0] - both(-h, pattern)[0]) / (2 * h)
    assert abs(float(expected)) > 1e-3
    of_step, of_pattern = both(0.0, pattern)[1]
    np.testing.assert_allclose(of_step, expected, rtol=1e-7)
    assert all(np.any(np.asarray(g) != 0) for g in jax.tree.leaves(of_pattern))
    single = jax.eval_shape(
        trigger.apply, trigger.like(jnp.float32), jax.ShapeDtypeStruct(x.shape, jnp.float32)
    )
    assert single.dtype == jnp.float32


def shown(trigger, x, pattern=None):
    return np.asarray(apply(trigger, trigger.pattern if pattern is None else pattern, x))


@eqx.filter_jit
def apply(trigger, pattern, x):
    return trigger.apply(pattern, x)


def places(trigger):
    """Rows, columns and values of what a patch shows on black images."""
    image = shown(trigger, np.zeros((1, *SHAPE)))[0]
    return {(int(i), int(j)): image[i, j].tolist() for i, j in np.argwhere(np.any(image, -1))}


def test_the_published_patches_are_where_their_authors_put_them():
    assert places(pixel(SHAPE, 0.7)) == {(6, 5): [0.7, 0.7]}
    four = [(6, 5), (5, 4), (6, 3), (4, 5)]
    assert places(corner_pattern(SHAPE, (0.2, 0.9))) == {place: [0.2, 0.9] for place in four}
    nine = [(i, j) for i in (5, 6, 7) for j in (4, 5, 6)]
    assert places(square(SHAPE, 3)) == {place: [1.0, 1.0] for place in nine}
    assert set(places(square(SHAPE, 1, distance=3))) == {(5, 4)}


def test_a_patch_mixes_by_its_mask_and_leaves_the_rest():
    x = shown(TRIGGERS["patch"]()[0], IMAGES, PICTURE)
    np.testing.assert_allclose(x[:, 2:4, 1:3], 0.5 * (PIXELS + PICTURE)[:, 2:4, 1:3], rtol=1e-12)
    outside = MASK[..., 0] == 0
    np.testing.assert_array_equal(x[:, outside], PIXELS[:, outside])
    mixed = blended(PICTURE, 0.3)
    np.testing.assert_allclose(shown(mixed, IMAGES), 0.7 * PIXELS + 0.3 * PICTURE)


def test_features_take_valid_values():
    trigger, x = TRIGGERS["levels"]()
    levels = shown(trigger, x, np.array([0.5, 0.2, 0.6]))
    np.testing.assert_allclose(levels[:, [4, 1, 0]], np.tile([0.5, 0.0, 1.0], (5, 1)))
    np.testing.assert_array_equal(levels[:, [2, 3, 5]], np.asarray(x)[:, [2, 3, 5]])
    added = Added(PICTURE)
    np.testing.assert_allclose(shown(added, IMAGES) - PIXELS,
                               np.broadcast_to(PICTURE, IMAGES.shape), rtol=1e-12)  # fmt: skip


def test_a_warp_takes_pixels_from_beside():
    down_one = Warp(np.broadcast_to([1.0, -2.0], (2, 2, 2)))
    below = shown(down_one, IMAGES)
    np.testing.assert_allclose(below[:, :-1, 2:], PIXELS[:, 1:, :-2], rtol=1e-12)
    np.testing.assert_allclose(below[:, -1, 2:], PIXELS[:, -1, :-2], rtol=1e-12)
    half = Warp(np.broadcast_to([0.5, 0.0], (2, 2, 2)))
    between = (PIXELS[:, 1:] + PIXELS[:, :-1]) / 2
    np.testing.assert_allclose(shown(half, IMAGES)[:, :-1], between, rtol=1e-12)
    random = warp(jax.random.key(2), 0.4, 3)
    pattern = np.asarray(random.pattern)
    np.testing.assert_allclose(np.mean(np.abs(pattern)), 0.4, rtol=1e-12)
    near = np.asarray(random.project(jax.device_put(3 * pattern)))
    assert np.max(np.abs(near)) == pytest.approx(np.max(np.abs(pattern)))


def test_a_soft_mask_keeps_its_area():
    trigger = SoftPatch(0.1 * np.ones((8, 7, 1)), PICTURE, 6.0)
    wild = Painted(jnp.asarray(RNG.normal(size=(8, 7, 1))), jnp.asarray(3 * PICTURE - 1))
    near = jax.tree.map(np.asarray, jax.jit(lambda of: trigger.project(of))(wild))
    assert np.min(near.mask) >= 0
    assert np.max(near.mask) <= 1
    np.testing.assert_allclose(np.sum(near.mask), 6.0, rtol=1e-12)
    # nearest of all: no vertex of the feasible set, six ones at most, is closer
    apart = (np.asarray(wild.mask) - near.mask).ravel()
    best = np.sum(np.sort(np.maximum(apart, 0))[-6:])
    assert best - apart @ near.mask.ravel() <= 1e-12
    np.testing.assert_array_equal(near.picture, np.clip(wild.picture, 0, 1))


def patch_with(mask):
    return Patch(mask, 0.5)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: square((4, 4, 1), 5), r"^trigger: needs 5 pixels .* images have 4 x 4; take a sm"),
        (lambda: pixel((4, 4, 1), distance=5), r"^trigger: needs 5 pixels from the corner"),
        (lambda: pixel((4, 4, 1), distance=0), r"^distance: got 0"),
        (lambda: pixel((16,)), r"^shape: got \(16,\), expected \(height, width, channels\)"),
        (lambda: patch_with(np.zeros((4, 4, 1))), r"^mask: is zero everywhere"),
        (lambda: square((4, 4, 1), 0), r"^mask: is zero everywhere"),
        (lambda: patch_with(np.full((4, 4, 1), 1.5)), r"^mask: got values from 1.* to 1.5"),
        (lambda: Patch(np.ones((4, 4, 1)), 1.5), r"^pattern: lies outside its domain, by 0.5"),
        (lambda: Patch(np.ones((4, 4, 1)), np.nan), r"^pattern: 16 of 16 values are NaN"),
        (lambda: Patch(np.ones((4, 4, 1)), np.ones((3, 4, 1))), r"^pattern: got shape \(3, 4, 1\)"),
        (lambda: square((9, 9, 2), 2).check(SHAPE),
         r"^trigger: got a pattern of shape \(9, 9, 2\) .* \(8, 7, 2\), which it exceeds"),
        (lambda: square(SHAPE, 2).check((112,)), r"^trigger: got .* for rows of shape \(112,\); "),
        (lambda: SoftPatch(np.ones((8, 7, 1)), PICTURE, 6.0), r"^area: got 6, .* start, 56"),
        (lambda: SoftPatch(np.ones((8, 7)), PICTURE, 60.0), r"^mask: got shape \(8, 7\) for a pic"),
        (lambda: SoftPatch(np.zeros((8, 7, 1)), PICTURE, 6.0), r"^mask: is zero everywhere"),
        (lambda: Warp(np.ones((3, 2, 2))), r"^pattern: got shape \(3, 2, 2\), expected \(k, k, 2"),
        (lambda: warp(jax.random.key(0), 0.4, 9).check(SHAPE), r"^trigger: got a grid of 9 x 9"),
        (lambda: warp(jax.random.key(0), 0.0), r"^pixels: got 0"),
        (lambda: Features([6], [1.0]).check((6,)), r"^columns: got the column 6, expected 0 to 5"),
        (lambda: Features([-1], [1.0]).check((6,)), r"^columns: got the column -1"),
        (lambda: Features([1, 1], [1.0, 2.0]), r"^columns: got \[1, 1\], expected each feature on"),
        (lambda: Features([1.0], [1.0]), r"^columns: got float64"),
        (lambda: Features([1, 2], [1.0]), r"^values: got shape \(1,\), expected \(2,\)"),
        (lambda: Features([1], [2.0], Box(0.0, 1.0)), r"^pattern: lies outside its domain, by 1"),
        (lambda: Features([1], [1.0]).check(SHAPE), r"^trigger: got rows of shape \(8, 7, 2\)"),
        (lambda: Added(np.zeros(6)), r"^pattern: is zero everywhere"),
    ],
)  # fmt: skip
def test_impossible_triggers_are_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_soft_patch_is_a_mean_of_row_and_picture_by_its_mask():
    rng = np.random.default_rng(0)
    mask, picture, x = (rng.uniform(size=shape) for shape in ((4, 3, 1), (4, 3, 2), (5, 4, 3, 2)))
    trigger = SoftPatch(mask, picture, 12.0)
    found = trigger.apply(trigger.pattern, jnp.asarray(x))
    np.testing.assert_allclose(found, (1 - mask) * x + mask * picture, rtol=1e-12)
