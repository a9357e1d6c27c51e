"""Domains: projections are Euclidean, placed rows are valid, bad ones are a sentence."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attacks.capabilities import Evade
from attacks.domains import Box, Columns, L1Ball, L2Ball, LinfBall
from attacks.domains._domain import straight_through
from bilevel import Data

M, D = 3, 6
CENTRE = np.random.default_rng(0).uniform(0, 1, (M, D))
CENTRE[0, :2] = 0.0, 1.0  # at bounds, where one side has no room
NORMS = {L1Ball: 1, L2Ball: 2, LinfBall: np.inf}


def projections(z, centre=CENTRE, radius=0.5):
    return [kind(centre, radius, Box(0.0, 1.0)).project(z) for kind in NORMS]


@jax.jit
def project_twice(z, radius):
    once = projections(z, radius=radius)
    return [
        (p, kind(CENTRE, radius, Box(0.0, 1.0)).project(p))
        for kind, p in zip(NORMS, once, strict=True)
    ]


rows = arrays(float, (M, D), elements=st.floats(-4, 5, allow_subnormal=False))
unit = arrays(float, (M, D), elements=st.floats(-1, 1, allow_subnormal=False))


def feasible(direction, radius, norm):
    """Some point of ball and box: shrinking towards the centre stays in the box."""
    step = np.clip(CENTRE + direction, 0, 1) - CENTRE
    size = np.linalg.norm(step, norm, axis=1, keepdims=True)
    return CENTRE + step * np.minimum(1, radius / np.maximum(size, radius * 1e-9))


@given(rows, unit, st.sampled_from([1e-3, 0.3, 0.9, 2.0, 20.0]))
def test_projection_onto_ball_and_box_is_the_nearest_point(z, direction, radius):
    found = project_twice(z, radius)
    for (once, twice), norm in zip(found, NORMS.values(), strict=True):
        p, x = np.asarray(once), feasible(direction, radius, norm)
        assert np.all((p >= 0) & (p <= 1))
        assert np.all(np.linalg.norm(p - CENTRE, norm, axis=1) <= radius + 1e-13)
        np.testing.assert_allclose(twice, p, rtol=0, atol=1e-14)
        assert np.max(np.sum((z - p) * (x - p), axis=1)) <= 1e-12


def test_projection_where_newtons_method_alone_would_cycle():
    z = np.full((M, D), 5.0)
    z[2, [0, 3]] = -3.6875, 0.5
    p = np.asarray(L1Ball(CENTRE, 2.0, Box(0.0, 1.0)).project(jnp.asarray(z)))
    np.testing.assert_allclose(np.abs(p - CENTRE)[2].sum(), 2, rtol=1e-14)


@pytest.mark.parametrize("kind", NORMS)
def test_feasible_rows_are_left_as_they_are_to_the_bit(kind):
    z = feasible(0.3 * np.ones((M, D)), 0.4, NORMS[kind]) * 0.5 + 0.5 * CENTRE
    ball = kind(CENTRE, 0.4, Box(0.0, 1.0))
    np.testing.assert_array_equal(ball.project(jnp.asarray(z)), z)
    assert ball.outside(jnp.asarray(z)) == 0
    assert ball.outside(jnp.asarray(z + 1)) > 0.1


def test_projection_without_a_box_is_the_known_one():
    z = jnp.asarray(np.random.default_rng(1).normal(size=(M, D)) * 1e6)
    free = Box(-np.inf, np.inf)
    step = z - CENTRE
    expected = CENTRE + 0.7 * step / np.linalg.norm(step, axis=1, keepdims=True)
    np.testing.assert_allclose(L2Ball(CENTRE, 0.7, free).project(z), expected, rtol=1e-12)
    # by sorting (Duchi et al. 2008)
    size = np.sort(np.abs(step), axis=1)[:, ::-1]
    k = (np.cumsum(size, axis=1) - 0.7) / np.arange(1, D + 1)
    k = np.take_along_axis(k, np.sum(size > k, axis=1, keepdims=True) - 1, axis=1)
    expected = CENTRE + np.sign(step) * np.maximum(np.abs(step) - k, 0)
    np.testing.assert_allclose(L1Ball(CENTRE, 0.7, free).project(z), expected, atol=1e-9)


@pytest.mark.parametrize("kind", NORMS)
def test_a_ball_of_images_is_that_of_their_pixels(kind):
    z, shape = jnp.asarray(np.random.default_rng(9).normal(size=(M, D))), (M, 1, 2, 3)
    flat = kind(CENTRE, 0.3, Box(0.0, 1.0))
    images = kind(CENTRE.reshape(shape), 0.3, Box(0.0, 1.0))
    images.check(shape)
    np.testing.assert_array_equal(images.project(z.reshape(shape)), flat.project(z).reshape(shape))
    np.testing.assert_allclose(images.size(), flat.size(), rtol=1e-12)
    along = images.direction(z.reshape(shape), z.reshape(shape))
    np.testing.assert_allclose(along, flat.direction(z, z).reshape(shape), rtol=1e-12)
    with pytest.raises(ValueError, match=r"in row 1 by 1 in feature 0, 1, 2; widen the box"):
        kind(np.ones(shape) + (np.arange(18) == 11).reshape(shape), 0.3, Box(0.0, 1.0))


def test_projection_in_many_dimensions_meets_the_radius_with_most_features_capped():
    rng = np.random.default_rng(2)
    centre = jnp.asarray(rng.uniform(0, 1, (M, 2000)))
    z = jnp.asarray(np.exp(8 * rng.normal(size=(M, 2000))) * rng.choice([-1, 1], (M, 2000)))
    for kind, radius in ((L1Ball, 300.0), (L1Ball, 5.0), (L2Ball, 15.0), (L2Ball, 0.5)):
        p = np.asarray(eqx.filter_jit(kind(centre, radius, Box(0.0, 1.0)).project)(z))
        length = np.linalg.norm(p - np.asarray(centre), NORMS[kind], axis=1)
        np.testing.assert_allclose(length, radius, rtol=1e-10)


def test_projections_map_and_differentiate():
    rng = np.random.default_rng(3)
    z, t = rng.normal(size=(2, 4, M, D))
    many = jax.jit(jax.vmap(projections))(z)
    alone = jax.jit(projections)
    for i in range(4):
        for a, b in zip(many, alone(z[i]), strict=True):
            np.testing.assert_allclose(a[i], b, atol=1e-14)
    total = jax.value_and_grad(lambda z: sum(jnp.sum(jnp.sin(p)) for p in projections(z)))
    both, h = jax.jit(total), 1e-5
    slope = np.sum(both(z[0])[1] * t[0])
    expected = (both(z[0] + h * t[0])[0] - both(z[0] - h * t[0])[0]) / (2 * h)
    np.testing.assert_allclose(slope, expected, rtol=1e-7)


# two numbers, an integer of 49 steps, a binary, a group of three, and one of two that may be empty
MIXED = Columns(
    0.0,
    [1, 1, 1, 1, 1, 1, 1, 1, 1],
    [0, 0, 1 / 49, 1, 0, 0, 0, 0, 0],
    groups=((4, 5, 6), (8, 7)),
    optional=(False, True),
)
place = eqx.filter_jit(MIXED.place)


@given(arrays(float, (2, 9), elements=st.floats(-0.5, 1.5, allow_subnormal=False)))
def test_placed_rows_are_valid_and_stay_where_they_are(z):
    x = np.asarray(place(z))
    assert np.all((x[:, :2] >= 0) & (x[:, :2] <= 1))
    np.testing.assert_array_equal(x[:, :2], np.clip(z[:, :2], 0, 1))
    np.testing.assert_allclose(x[:, 2] * 49, np.round(x[:, 2] * 49), rtol=0, atol=1e-13)
    assert np.all(np.abs(x[:, 2] - np.clip(z[:, 2], 0, 1)) <= 0.5 / 49 + 1e-12)
    assert set(np.unique(x[:, 3:])) <= {0.0, 1.0}
    np.testing.assert_array_equal(x[:, 4:7].sum(1), 1)
    assert np.all(x[:, 7:].sum(1) <= 1)
    np.testing.assert_array_equal(place(jnp.asarray(x)), x)


def test_levels_at_the_ends_are_exact_and_those_between_the_quotients_of_integers():
    for steps in (3, 49, 51, 1_000_003):
        k = np.array([0.0, 1, 2, steps - 1, steps])
        domain = Columns(0.0, 1.0, 1 / steps)
        x = np.asarray(eqx.filter_jit(domain.place)(jnp.asarray((k + 0.3) / steps)))
        np.testing.assert_allclose(x, k / steps, rtol=3e-16)
        assert (x[0], x[-1]) == (0.0, 1.0)
    ages = Columns(18.0, 90.5, 1.0)  # the last level is not the bound
    np.testing.assert_array_equal(
        ages.place(jnp.asarray([[17.0, 18.6, 50.2, 95.0]])), [[18, 19, 50, 90]]
    )


def test_groups_are_relaxed_to_shares_whatever_their_bounds():
    wide = Columns(-5.0, 5.0, groups=((0, 1),))
    relaxed = wide.project(jnp.asarray([[4.0, -2.0, 7.0], [0.3, 1.5, -6.0]]))
    np.testing.assert_array_equal(relaxed, [[1, 0, 5], [0.3, 1, -5]])


def test_groups_take_the_largest_and_optional_ones_above_the_threshold_only():
    def hot(z):
        return np.asarray(place(jnp.asarray([np.r_[np.zeros(4), z]])))[0, 4:]

    np.testing.assert_array_equal(hot([0.1, 0.3, 0.2, 0.33, 0.33]), [0, 1, 0, 0, 0])
    np.testing.assert_array_equal(hot([0.0, 0.0, 0.0, 0.34, 0.2]), [1, 0, 0, 1, 0])
    np.testing.assert_array_equal(hot([0.9, 0.8, 1.0, 0.4, 0.9]), [0, 0, 1, 0, 1])
    # (8, 7) is ordered as given: a tie goes to its first
    np.testing.assert_array_equal(hot([0.5, 0.5, 0.2, 0.6, 0.6]), [1, 0, 0, 0, 1])


def test_place_has_the_derivative_of_the_identity_and_the_value_of_the_valid_row():
    z = jnp.asarray(np.random.default_rng(4).uniform(0, 1, (2, 9)))
    weight = jnp.asarray(np.random.default_rng(5).normal(size=(2, 9)))
    x = place(z)

    def score(z):
        return jnp.sum(weight * jnp.sin(MIXED.place(z)))

    np.testing.assert_array_equal(jax.jit(jax.grad(score))(z), weight * jnp.cos(x))
    tangent = jax.jvp(MIXED.place, (z,), (weight,))[1]
    np.testing.assert_array_equal(tangent, weight)
    many = jax.jit(jax.vmap(lambda z: MIXED.place(z)))(jnp.stack([z, x]))
    np.testing.assert_allclose(many, [x, x], rtol=3e-16)


def test_straight_through_is_exact_whatever_the_sizes():
    rng = np.random.default_rng(8)
    z, valid = (jnp.asarray(np.exp(5 * rng.normal(size=1000))) for _ in range(2))
    np.testing.assert_array_equal(jax.jit(straight_through)(z, valid), valid)


def test_fixed_columns_keep_their_values_and_have_no_derivative():
    data = np.asarray(place(jnp.asarray(np.random.default_rng(6).uniform(0, 1, (2, 9)))))
    columns = [0, 2, 4, 5, 6]
    domain = MIXED.fix(columns, data)
    domain.check((2, 9))
    z = jnp.asarray(np.random.default_rng(7).uniform(0, 1, (2, 9)))
    x, slope = jax.jit(lambda z: jax.jvp(domain.place, (z,), (jnp.ones_like(z),)))(z)
    free = np.setdiff1d(np.arange(9), columns)
    np.testing.assert_array_equal(np.asarray(x)[:, columns], data[:, columns])
    np.testing.assert_array_equal(np.asarray(domain.project(z))[:, columns], data[:, columns])
    np.testing.assert_array_equal(np.asarray(x)[:, free], np.asarray(place(z))[:, free])
    np.testing.assert_array_equal(slope[:, columns], 0)
    np.testing.assert_array_equal(slope[:, free], 1)
    one = MIXED.fix([1], data[0])  # the same value in every row
    np.testing.assert_array_equal(one.place(z)[:, 1], [data[0, 1]] * 2)


def test_rows_that_are_not_valid_are_seen():
    x = np.asarray(place(jnp.full((2, 9), 0.4)))
    assert MIXED.outside(jnp.asarray(x)) == 0
    for column, value in ((0, 1.2), (0, np.nan), (2, 0.5), (3, 0.5), (4, 0.0), (5, 1.0), (7, 0.2)):
        wrong = x.copy()
        wrong[1, column] = value
        assert MIXED.outside(jnp.asarray(wrong)) > 1e-3, (column, value)


LOW = np.zeros(4)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Box(np.zeros(2), np.ones(3)), r"^lower and upper: got shapes \(2,\), \(3,\)"),
        (lambda: Box(np.zeros((2, 3)), 1).check((2, 4)), r"^domain.lower: got shape \(2, 3\)"),
        (lambda: Columns(LOW, 1.0, groups=((0, 4),)), r"^groups: got the feature 4, expected"),
        (lambda: Columns(0.0, 1.0, groups=((0, 4),)).check((2, 4)), r"^domain.groups: got the f"),
        (lambda: Columns(LOW, 1.0, groups=((0, 1), (1, 2))), r"^groups: feature 1 is named twice"),
        (lambda: Columns(LOW, 1.0, groups=((-1,),)), r"^groups: got the feature -1"),
        (lambda: Columns(LOW, 1.0, groups=((),)), r"^groups: got an empty group"),
        (lambda: Columns(LOW, 0.9, groups=((0, 1),)), r"^groups: the bounds of \(0, 1\) exclude"),
        (lambda: Columns(LOW, [0, 1, 1, 1], groups=((0, 1),)), r"^groups: the bounds of \(0, 1\)"),
        (lambda: Columns(0.1, 1.0, groups=((0, 1),)), r"^groups: the bounds of \(0, 1\) exclude"),
        (lambda: Columns(LOW, 1.0, groups=((0,),), optional=(True, False)), r"^optional: got 2"),
        (lambda: Columns(LOW, 1.0, [0, 2, 0, 0]), r"^spacing: that of feature 1 is wider"),
        (lambda: Columns(LOW, np.inf, [0, 1, 0, 0]), r"^spacing: that of feature 1 has infinite"),
        (
            lambda: Columns(np.zeros((3, 4)), np.inf, [0, 0, 0, 1]),
            r"^spacing: that of feature 3 has infinite",
        ),
        (lambda: Columns(LOW, 1.0, -1.0), r"^spacing: expected finite numbers >= 0"),
        (lambda: Columns(LOW, 1.0, np.ones(3)), r"^lower and upper and spacing: got shapes"),
        (lambda: MIXED.fix([4, 5], np.zeros(9)), r"^columns: got a part of the one-hot group"),
        (lambda: MIXED.fix([9], np.zeros(9)), r"^columns: got 9, expected indices from 0 to 8"),
        (lambda: MIXED.fix([3], np.full(9, 0.5)), r"^rows: column 3 has a value that is not val"),
        (lambda: MIXED.fix([0, 2], np.full((2, 9), 0.5)), r"^rows: column 2 has a value"),
        (lambda: MIXED.fix([0], np.full((2, 9), 3.0)), r"^rows: column 0 has a value"),
        (lambda: L2Ball(CENTRE, 0.0, Box(0, 1)), r"^radius: got 0.0, expected a finite number > 0"),
        (lambda: L1Ball(CENTRE, np.nan, Box(0, 1)), r"^radius: got nan"),
        (lambda: L2Ball(CENTRE[0], 1.0, Box(0, 1)), r"^centre: got shape \(6,\), expected \(rows"),
        (lambda: L2Ball(CENTRE * np.nan, 1.0, Box(0, 1)), r"^centre: 18 of 18 values are NaN"),
        (lambda: LinfBall(CENTRE + 0.5, 1.0, Box(0, 1)), r"^centre: lies outside the box"),
        (lambda: LinfBall(CENTRE, 1.0, Box(LOW, 1)), r"^inside.lower: got shape \(4,\)"),
        (lambda: LinfBall(CENTRE, 1.0, Box(0, 1)).check((2, 6)), r"^domain.centre: got shape"),
    ],
)
def test_impossible_domains_are_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("kind", NORMS)
def test_the_size_of_a_ball_is_its_longest_move_which_bounds_the_scale_of_an_attack(kind):
    """Among the moves towards all corners and along all axes; a narrow ball is the unit of steps,
    a wide one leaves the spread of the rows by their weights.
    """
    corners = np.array(list(itertools.product([-1.0, 1.0], repeat=D)))
    far = np.concatenate([corners, np.eye(D)]) * 50
    domain = kind(np.full((len(far), D), 0.4), 0.3)
    moves = np.linalg.norm(np.asarray(domain.project(jnp.asarray(0.4 + far))) - 0.4, axis=1)
    np.testing.assert_allclose(domain.size(), moves.max(), rtol=1e-12)
    ends = np.repeat([0.0, 1.0], 4)
    data = Data(np.tile(ends[:, None], D), np.arange(8.0), 1 + 2 * ends)
    for radius in (1e-3, 50.0):
        ball = kind(CENTRE, radius)
        scale = Evade(jnp.asarray(CENTRE), ball).scale(jnp.asarray(CENTRE), data)
        spread = (0.25 * 0.75 * D) ** 0.5
        np.testing.assert_allclose(scale, min(float(ball.size()), spread), rtol=1e-12)
