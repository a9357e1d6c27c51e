"""Edges of domains, triggers and capabilities: what is refused, named, passed on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import AllToOne, Box, Columns, Insert, Stamp, stamp
from attacks.capabilities import XY, Evade, FlipLabels, InsertXY, Perturb, WithTrigger
from attacks.domains import L2Ball, LinfBall
from attacks.domains.half_grey import half_grey
from attacks.triggers import Added, Features, Painted, Patch, SoftPatch, Warp, pixel, square
from bilevel import Data

X = np.linspace(0, 1, 8).reshape(4, 2)
Y = np.array([1.0, -1.0, 1.0, -1.0])
DATA = Data(X, Y)
UNIT = Box(0.0, 1.0)
FIVE = Box(np.zeros(5), np.ones(5))
GREY = np.array([[0.0, 51.0, 255.0]]) / 255
LEVELS = Columns(np.zeros(3), 1.0, [0, 1, 0])
PICTURE = np.full((4, 3, 1), 0.5)
ONE = Added(np.ones(2))


def start(reach, z, data=DATA):
    reach.check_start(z, data)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Box(0.0, np.ones(3)).check((2, 4)), r"^domain\.upper: got shape \(3,\)"),
        (lambda: Box(0.0, np.nan), r"^upper: got NaN"),
        (lambda: Box(np.zeros((2, 3)), [[1, 1, 1], [1, 1, -1]]), r"^lower: exceeds .* feature 2,"),
        (lambda: half_grey(GREY - [0, 0.3 / 255, 0]), r"up to 0\.3 of a grey level off"),
        (lambda: L2Ball(X, np.inf), r"^radius: got inf, expected a finite number"),
        (lambda: Columns(np.array([0, -np.inf]), 1.0, [0, 1]), r"^spacing: that of feature 1 has"),
        (lambda: Columns(np.zeros(2), 1.0, [0, np.inf]), r"^spacing: expected finite numbers"),
        (lambda: Columns(0.0, np.ones(3)).check((2, 4)), r"^domain\.upper: got shape \(3,\)"),
        (lambda: Columns(0.0, 1.0, np.ones(3)).check((2, 4)), r"^domain\.spacing: got shape"),
        (lambda: Columns([1, 0.5, 0], [1, 0.5, 1], groups=((0, 1),)), r"^groups: the bounds"),
        (lambda: Columns([1.0, 1, 0], 1.0, groups=((0, 1),)), r"^groups: the bounds of \(0, 1\)"),
        (lambda: Columns([0.0, 0, 0], [0, 0, 1], groups=((0, 1),)), r"^groups: the bounds of"),
        (lambda: LEVELS.fix([-1], np.zeros(3)), r"^columns: got -1, expected indices from 0 to 2"),
        (lambda: Added(np.ones(6), FIVE), r"^domain\.lower: got shape \(5,\)"),
        (lambda: Added(np.full(2, 3.0), UNIT), r"^pattern: lies outside its domain, by 2 at most"),
        (lambda: Patch([0.0, 1.0], [9.0, 0.5]), r"^pattern: lies outside its domain, by 8 at"),
        (lambda: Patch([0.5, 0.5], [0.5, 1.5]), r"^pattern: lies outside its domain, by 0\.5 at"),
        (lambda: Patch([-0.5, 1.0], 0.5), r"^mask: got values from -0\.5 to 1, expected"),
        (lambda: square((3, 5, 1), 4), r"^trigger: needs 4 pixels .* have 3 x 5"),
        (lambda: SoftPatch(PICTURE, PICTURE, np.inf), r"^area: got inf, expected a number"),
        (lambda: SoftPatch(PICTURE, 3 * PICTURE, 12.0), r"^pattern: lies outside its domain, by"),
        (lambda: Warp(np.ones((1, 1, 2))), r"^pattern: got shape \(1, 1, 2\), expected"),
        (lambda: Warp(np.ones((2, 2, 3))), r"^pattern: got shape \(2, 2, 3\), expected"),
        (lambda: start(Insert([1.0], UNIT), jnp.array([[-0.5, 0.5]])), r"^z0: lies .*, by 0\.5 "),
        (lambda: start(Insert([1.0], UNIT), jnp.full((1, 2), 0.5, jnp.float32)), r"got float32, "),
        (lambda: start(Insert([1.0], UNIT), jnp.zeros((1, 3))), r": \(poison rows, features\)$"),
        (lambda: Insert([1.0, 1.0], UNIT, [1.0, np.nan]), r"^weight: 1 of 2 values are NaN"),
        (lambda: Perturb([0, 3, 2, 3], UNIT), r"^rows: index 3 is given twice"),
        (lambda: FlipLabels([0, 3], 1).check(Data(X, [1.0, 1, 1, 3])), r"^y: got the label 3 "),
        (lambda: FlipLabels([0, 3], True), r"^budget: got True, expected the number"),
        (lambda: InsertXY(True, UNIT, UNIT), r"^rows: got True, expected the number of rows"),
        (lambda: Evade(jnp.asarray(X), FIVE).check(DATA), r"^domain\.lower: got shape \(5,\)"),
        (lambda: Evade(jnp.asarray(X), UNIT).present(jnp.zeros((3, 2)), jnp.asarray(X)),
         r"^z: got shape \(3, 2\), expected \(4, 2\)"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_a_sentence(make, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_what_has_a_sense_is_none() -> None:
    """A spacing of one feature in a group is not one of levels; an optional group may be absent."""
    Columns(np.zeros(3), 1.0, [2, 2, 1], groups=((0, 1),))
    Columns([0.0, 0, 0], [0, 0, 1], groups=((0, 1),), optional=True)
    Columns(0.0, 1.0, groups=((0, 3),)).check((2, 4))
    square((3, 5, 1), 3)


def test_padding_of_groups_of_unequal_size_is_never_the_largest() -> None:
    domain = Columns(0.0, 1.0, groups=((1, 2, 3), (4, 5)), optional=(True, False))
    found = domain.place(jnp.array([[0.9, 0.25, 0.1, 0.2, 0.3, 0.4], [0.9, 0.1, 0.3, 0, 0.2, 0.1]]))
    np.testing.assert_array_equal(found, [[0.9, 0, 0, 0, 0, 1], [0.9, 0, 1, 0, 1, 0]])


def test_units_of_groups_are_those_of_shares_whatever_their_bounds() -> None:
    found = Columns(-5.0, 5.0, groups=((0, 1),)).units(jnp.zeros((1, 3)))
    np.testing.assert_array_equal(found, [[1, 1, 10]])


def test_features_fixed_beside_levels_and_optional_groups_leave_both() -> None:
    mixed = Columns(0.0, 1.0, [0, 0.5, 0, 0], groups=((2, 3),), optional=True)
    mixed = mixed.fix([0], np.zeros(4))
    found = mixed.place(jnp.array([[0.7, 0.6, 0.1, 0.2]]))
    np.testing.assert_array_equal(found, [[0, 0.5, 0, 0]])


def test_a_mask_moves_by_its_largest_slope_of_either_sign() -> None:
    trigger = SoftPatch(np.full((2, 1, 1), 0.5), np.full((2, 1, 1), 0.5), 2.0)
    slope = Painted(jnp.array([1.0, -4.0]).reshape(2, 1, 1), jnp.ones((2, 1, 1)))
    np.testing.assert_allclose(np.ravel(trigger.direction(slope).mask), [0.25, -1])


def test_a_large_start_may_be_outside_by_rounding_of_its_own_size() -> None:
    start(Insert([1.0], Box(-1e6, 1e6)), jnp.array([[-1e6 - 1e-9, 0.0]]))


def test_targets_have_their_own_units_and_empty_slots_do_not_count() -> None:
    reach = InsertXY(2, UNIT, Box(0.0, 4.0), np.array([1.0, 0.0]))
    z = XY(jnp.zeros((2, 2)), jnp.zeros(2))
    np.testing.assert_array_equal(reach.units(z).y, [4, 4])
    slope = XY(jnp.array([[3.0, 0.0], [0.0, 0.0]]), jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(reach.direction(slope).x[0], [3 / 5, 0])


def test_examples_are_the_rows_or_the_nearest_in_the_domain() -> None:
    half = Box(0.0, 0.5)
    expected = np.minimum(X, 0.5)
    np.testing.assert_array_equal(Evade(jnp.asarray(X), half).example(DATA), expected)
    np.testing.assert_array_equal(Perturb([3, 1], half).example(DATA), expected[[3, 1]])


def test_the_number_of_copies_is_the_nearest() -> None:
    made = stamp(jax.random.key(0), pixel((1, 2, 1), distance=1), IMAGES, 0.45, AllToOne(1))
    assert made.rows.shape == (2,)


IMAGES = Data(X.reshape(4, 1, 2, 1), Y)


def test_steps_of_a_pattern_are_in_its_own_units() -> None:
    trigger = Features([0], [0.5], Box(0.0, 3.0))
    np.testing.assert_array_equal(Stamp(trigger, [0], 1.0).units(jnp.ones(1)), [3])


def test_a_trigger_beside_a_capability_leaves_its_geometry() -> None:
    ball = LinfBall(X[:2], 0.1, Box(0.0, 2.0))
    inner = Perturb([0, 1], Box(0.0, 2.0)), Perturb([0, 1], ball)
    z, slope = jnp.asarray(X[:2]), jnp.array([[1.0, -3.0], [2.0, 0.5]])
    for reach in inner:
        outer = WithTrigger(reach, ONE)
        np.testing.assert_array_equal(outer.units(z), reach.units(z))
        np.testing.assert_array_equal(outer.direction(slope), reach.direction(slope))
        np.testing.assert_array_equal(outer.scale(z, DATA), reach.scale(z, DATA))
    assert float(inner[0].units(z)[0, 0]) == 2
    assert float(inner[1].scale(z, DATA)) != 1
    signs = np.sign(slope) / 2**0.5
    for reach in (inner[1], Evade(z, ball)):
        np.testing.assert_allclose(reach.direction(slope), signs)
        np.testing.assert_allclose(reach.scale(z, DATA), 0.1 * 2**0.5)


@pytest.mark.parametrize("shape", [(2, 3), (4, 2, 3)])
def test_bounds_are_of_all_or_of_a_feature_or_of_a_feature_and_row(shape) -> None:
    for given in ((), (3,), shape):
        Box(np.zeros(given), 1.0).check(shape)
    for given in ((1,), (2,), (5, 3), (1, 3), (3, 2), (1, *shape), (2, 2, 3)):
        with pytest.raises(ValueError, match=r"^domain\.lower: got shape .*: one for all"):
            Box(np.zeros(given), 1.0).check(shape)


def test_the_largest_of_a_group_is_taken_also_beyond_its_bounds() -> None:
    """The projection has nothing to tell them apart any more."""
    domain = Columns(np.zeros(5), 1.0, [0, 0, 0, 0.5, 0], ((0, 1, 2),))
    z = jnp.array([[1.5, 2.0, 1.0, 0.7, 9], [-3, -2, -1.0, 1.3, -9], [0.1, 0.1, 7, 0.2, 0.3]])
    np.testing.assert_array_equal(
        domain.place(z), [[0, 1, 0, 0.5, 1], [0, 0, 1, 1, 0], [0, 0, 1, 0, 0.3]]
    )
    optional = Columns(np.zeros(5), 1.0, [0, 0, 0, 0.5, 0], ((0, 1, 2),), [True])
    np.testing.assert_array_equal(optional.place(z)[:, :3], [[0, 1, 0], [0, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("columns", "values", "sentence"),
    [
        ([[0, 1]], [0.5, 0.5], r"^columns: got int64 of shape \(1, 2\)"),
        ([], [], r"^columns: got float64 of shape \(0,\)"),
        ([0.0, 1.0], [0.5, 0.5], r"^columns: got float64 of shape \(2,\)"),
        ([1, 1], [0.5, 0.5], r"^columns: got \[1, 1\], expected each feature once"),
        ([0, 1], [[0.5], [0.5]], r"^values: got shape \(2, 1\), expected \(2,\), one per column"),
        ([0, 1], [[0.5, 0.5]], r"^values: got shape \(1, 2\)"),
        ([0, 1], 0.5, r"^values: got shape \(\)"),
        ([0], [0.5, 0.5], r"^values: got shape \(2,\), expected \(1,\)"),
        ([0, 1], [0.5, 1.5], r"^pattern: lies outside its domain, by 0\.5 at most"),
    ],
)
def test_features_of_a_trigger_have_one_value_each(columns, values, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        Features(columns, values, UNIT)


def test_a_traced_pattern_has_the_shape_of_its_domain_too() -> None:
    """Its values are not looked at."""

    def made(pattern, domain):
        return jax.eval_shape(lambda p: Added(p, domain).pattern, pattern)

    assert made(jnp.full(5, 9.0), FIVE).shape == (5,)
    for size in (1, 4, 6):
        with pytest.raises(ValueError, match=r"^domain\.lower: got shape \(5,\)"):
            made(jnp.ones(size), FIVE)
    with pytest.raises(ValueError, match=r"^pattern: lies outside its domain, by 8 at most"):
        Added(jnp.full(5, 9.0), FIVE)
    with pytest.raises(ValueError, match=r"^pattern: 5 of 5 values are NaN"):
        Added(jnp.full(5, jnp.nan), FIVE)


def test_a_traced_mask_is_not_looked_at_and_its_area_is() -> None:
    def made(mask, area):
        return jax.eval_shape(lambda m: SoftPatch(m, PICTURE, area).pattern.mask, mask)

    mask = jnp.full((4, 3, 1), 0.5)
    assert made(mask, 1.0).shape == (4, 3, 1)
    jax.eval_shape(lambda area: SoftPatch(mask, PICTURE, area).area, 1.0)
    for area in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match=f"^area: got {area:g}, expected a number of pixels"):
            made(mask, area)
    SoftPatch(mask, PICTURE, 6.0)
    with pytest.raises(ValueError, match=r"^area: got 5\.9, .* at the start, 6$"):
        SoftPatch(mask, PICTURE, 5.9)
