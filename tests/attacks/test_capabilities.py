"""Capabilities: clean rows stay, budgets hold, poison is valid, gradients pass through `place`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attacks import Reseed, World, compose, indiscriminate
from attacks.capabilities import XY, FlipLabels, Insert, InsertXY, Perturb
from attacks.domains import Box, Columns, L1Ball, L2Ball, LinfBall
from bilevel import Data
from bilevel.learners import SVM
from bilevel.learners.lasso import Lasso
from bilevel.learners.logistic import Logistic
from bilevel.learners.ridge import Ridge

N, D = 24, 5
RNG = np.random.default_rng(0)
Y = np.where(np.arange(N) % 2, 1.0, -1.0)
# the last two features: a reference category and two others
X = np.concatenate([RNG.uniform(0, 1, (N, 3)), np.eye(3)[RNG.integers(0, 3, N)][:, 1:]], axis=1)
X[:, 0] = np.clip(X[:, 0] + 0.15 * Y, 0, 1)
DATA = Data(X, Y, RNG.uniform(0.5, 2, N))
HELD_OUT = Data(RNG.uniform(0, 1, (8, D)), Y[:8])
MIXED = Columns(0.0, 1.0, groups=((3, 4),), optional=True)
ROWS = np.array([3, 0, 7, 10, 21, 2])
LEARNERS = {"svm": SVM(0.5), "ridge": Ridge(0.1), "lasso": Lasso(0.01), "logistic": Logistic(0.1)}


def logistic(y, f):
    return jnp.logaddexp(0, -y * f)


GOAL = indiscriminate(HELD_OUT.x, HELD_OUT.y, logistic)


@eqx.filter_jit
def value_and_grad(attack, z):
    return jax.value_and_grad(lambda z: attack.evaluate(z)[0])(z)


def value(attack, z):
    return value_and_grad(attack, z)[0]


def gradient(attack, z):
    return value_and_grad(attack, z)[1]


def difference(function, z, along, h=1e-3):
    """Central, of order four."""
    v = {}
    for k in (-2, -1, 1, 2):
        v[k] = function(jax.tree.map(lambda a, t, k=k: a + k * h * np.asarray(t), z, along))
    return float(8 * (v[1] - v[-1]) - (v[2] - v[-2])) / (12 * h)


def dot(a, b):
    return sum(float(np.vdot(x, y)) for x, y in
               zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))  # fmt: skip


REACHES = {
    "insert": Insert(np.array([1.0, -1.0]), MIXED),
    "insert xy": InsertXY(2, MIXED, Box(-1.0, 1.0)),
    "perturb": Perturb(ROWS, L2Ball(X[ROWS], 0.3, Box(0.0, 1.0))),
    "perturb mixed": Perturb(ROWS, MIXED.fix([1], X[ROWS])),
}


@eqx.filter_jit
def project(reach, z):
    return reach.project(z)


@eqx.filter_jit
def held_out(model):
    return jnp.mean(logistic(HELD_OUT.y, model.decision(HELD_OUT.x)))


def draw(reach, seed):
    """A feasible z, inside its domain, and a direction of continuous features."""
    rng = np.random.default_rng(seed)
    wild = jax.tree.map(lambda s: rng.uniform(0, 1, s.shape), reach.shapes(DATA))
    z = jax.tree.map(lambda a: 0.98 * np.asarray(a) + 0.01, project(reach, wild))
    along = jax.tree.map(lambda a: rng.normal(size=a.shape), z)
    continuous = np.array([1.0, 0, 1, 0, 0])[None]  # in all four
    return z, jax.tree.map(lambda a: a * continuous if a.ndim == 2 else a, along)


@pytest.mark.parametrize(
    ("learner", "reach"),
    [
        ("svm", "insert"),
        ("ridge", "insert xy"),
        ("lasso", "insert xy"),
        ("logistic", "perturb"),
        ("svm", "perturb mixed"),
    ],
)
def test_hypergradient_through_place_is_that_of_finite_differences(learner, reach):
    attack = compose(LEARNERS[learner], REACHES[reach], GOAL, DATA)
    z, along = draw(REACHES[reach], seed=1)
    ours = dot(gradient(attack, z), along)
    assert abs(ours) > 1e-4
    expected = difference(lambda z: value(attack, z), z, along, h=2e-4)
    np.testing.assert_allclose(ours, expected, rtol=1e-7)


inject = {name: eqx.filter_jit(reach.inject) for name, reach in REACHES.items()}
wide = st.floats(-3, 4, allow_subnormal=False)


@given(arrays(float, (2, D), elements=wide), arrays(float, 2, elements=wide))
def test_inserted_rows_are_valid_and_clean_rows_untouched(x, y):
    x, y = jnp.asarray(x), jnp.asarray(y)
    for name, z in (("insert", x), ("insert xy", XY(x, y))):
        poisoned = inject[name](REACHES[name].project(z), DATA)
        np.testing.assert_array_equal(poisoned.x[:N], DATA.x)
        np.testing.assert_array_equal(poisoned.y[:N], DATA.y)
        np.testing.assert_array_equal(poisoned.weight, np.r_[DATA.weight, 1, 1])
        assert MIXED.outside(poisoned.x[N:]) == 0
        assert set(np.unique(poisoned.x[N:, 3:])) <= {0.0, 1.0}
        expected = np.clip(y, -1, 1) if name == "insert xy" else [1.0, -1.0]
        np.testing.assert_array_equal(poisoned.y[N:], expected)


@given(arrays(float, (len(ROWS), D), elements=wide))
def test_perturbed_rows_stay_in_their_ball_and_all_others_untouched(z):
    others = np.setdiff1d(np.arange(N), ROWS)
    for name in ("perturb", "perturb mixed"):
        poisoned = inject[name](REACHES[name].project(jnp.asarray(z)), DATA)
        np.testing.assert_array_equal(poisoned.x[others], DATA.x[others])
        np.testing.assert_array_equal(poisoned.y, DATA.y)
        np.testing.assert_array_equal(poisoned.weight, DATA.weight)
        moved = np.asarray(poisoned.x[ROWS])
        assert np.all((moved >= 0) & (moved <= 1))
        if name == "perturb":
            assert np.all(np.linalg.norm(moved - X[ROWS], axis=1) <= 0.3 + 1e-12)
        else:
            np.testing.assert_array_equal(moved[:, 1], X[ROWS, 1])
            assert MIXED.outside(jnp.asarray(moved)) == 0


@pytest.mark.parametrize("kind", [L1Ball, L2Ball, LinfBall])
def test_the_rows_as_they_are_change_nothing(kind):
    reach = Perturb(ROWS, kind(X[ROWS], 0.3, Box(0.0, 1.0)))
    reach.check(DATA)
    z = reach.check_start(reach.example(DATA), DATA)
    np.testing.assert_array_equal(reach.inject(z, DATA).x, DATA.x)


FLIP = FlipLabels(ROWS, 2)
flips = arrays(float, len(ROWS), elements=st.floats(-1, 2, allow_subnormal=False))


@eqx.filter_jit
def flip(z):
    near = FLIP.project(z)
    return (
        near,
        FLIP.project(near),
        FLIP.place(near),
        FLIP.inject(near, DATA),
        FLIP.flipped(near, DATA),
    )


@given(flips, flips)
@example(np.array([2.0, 0.9, 0.9, 0.3, -1, 0]), np.zeros(6))  # to clip first is another point
def test_flips_stay_within_their_budget(z, other):
    near, again, placed, poisoned, flipped = (jax.tree.map(np.asarray, a) for a in flip(z))
    assert np.all((near >= 0) & (near <= 1))
    assert near.sum() <= 2 + 1e-14
    np.testing.assert_allclose(again, near, rtol=0, atol=1e-15)
    x = np.clip(other, 0, 1)
    x = x * min(1, 2 / max(x.sum(), 1))
    assert (z - near) @ (x - near) <= 1e-13
    # nearest of all: no vertex of the budget's polytope, two entries of one at most, is closer
    apart = z - near
    assert np.sum(np.sort(np.maximum(apart, 0))[-2:]) - apart @ near <= 1e-13
    # placed: whole flips, of the largest
    assert set(np.unique(placed)) <= {0.0, 1.0}
    assert placed.sum() == min(2, np.sum(near > 0.5))
    assert np.min(near[placed == 1], initial=1) >= np.max(near[placed == 0], initial=0)
    chosen = ROWS[placed == 1]
    np.testing.assert_array_equal(np.flatnonzero(flipped.y != Y), np.sort(chosen))
    np.testing.assert_array_equal(flipped.x, X)
    np.testing.assert_array_equal(flipped.weight, DATA.weight)
    # what is trained on is the flipped set, and rows of weight zero
    np.testing.assert_array_equal(poisoned.x, np.concatenate([X, X[ROWS]]))
    np.testing.assert_array_equal(poisoned.y, np.r_[Y, -Y[ROWS]])
    w = np.asarray(DATA.weight)
    np.testing.assert_array_equal(
        poisoned.weight[:N], np.where(np.isin(np.arange(N), chosen), 0, w)
    )
    np.testing.assert_array_equal(poisoned.weight[N:], w[ROWS] * placed)


@pytest.mark.parametrize("name", LEARNERS)
def test_training_with_flips_is_training_on_the_flipped_rows(name):
    """Also what a learner prepares from the clean rows: only weights of theirs change."""
    attack = compose(LEARNERS[name], FLIP, GOAL, DATA)
    for z in ([0.0, 1, 0, 0, 1, 0], np.zeros(len(ROWS)), [0.2, 0.9, 0, 0, 0.7, 0.1]):
        z = jnp.asarray(z)
        model = LEARNERS[name].fit(FLIP.flipped(z, DATA)).model
        np.testing.assert_allclose(value(attack, z), held_out(model), rtol=1e-10)


@pytest.mark.parametrize("name", ["ridge", "logistic"])
def test_the_hypergradient_of_flips_is_that_of_their_weights(name):
    @jax.jit
    @jax.value_and_grad
    def partly(z):
        model = LEARNERS[name].fit(FLIP.mix(z, DATA), throw=False).model
        return held_out(model)

    valid = jnp.asarray([0.0, 1, 0, 0, 1, 0])
    attack = compose(LEARNERS[name], FLIP, GOAL, DATA)
    np.testing.assert_allclose(gradient(attack, valid), partly(valid)[1], rtol=1e-9)
    z, along = np.full(len(ROWS), 0.3), np.random.default_rng(2).normal(size=len(ROWS))
    expected = difference(lambda z: partly(z)[0], z, along)
    np.testing.assert_allclose(dot(partly(z)[1], along), expected, rtol=1e-7)


def start(reach, z):
    reach.check(DATA)
    reach.check_start(z, DATA)


ROW = np.full((1, D), 0.5)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: FlipLabels(ROWS, 7), r"^budget: got 7, expected the number of labels.* 1 to 6"),
        (lambda: FlipLabels(ROWS, 0), r"^budget: got 0"),
        (lambda: FlipLabels(ROWS, budget=1.5), r"^budget: got 1.5"),  # pyright: ignore[reportArgumentType]
        (lambda: FlipLabels([1, 2, 1], 1), r"^rows: index 1 is given twice"),
        (lambda: FlipLabels([], 1), r"^rows: got .* of shape \(0,\)"),
        (lambda: FlipLabels(np.zeros(0, int), 1), r"^rows: got int64 of shape \(0,\)"),
        (lambda: FlipLabels([[1, 2]], 1), r"^rows: got int64 of shape \(1, 2\)"),
        (lambda: FlipLabels([1.0, 2.0], 1), r"^rows: got float64 of shape \(2,\)"),
        (lambda: FlipLabels([0, N], 1).check(DATA), r"^rows: got the index 24, expected 0 to 23"),
        (lambda: FlipLabels([0], 1).check(Data(X, 2 * Y)), r"^y: got the label -2 among the rows"),
        (lambda: start(FLIP, jnp.ones(6)), r"^z0: lies outside the domain, by 0.667"),
        (lambda: start(FLIP, jnp.ones(5)), r"^z0: got shape \(5,\), expected \(6,\): one per pois"),
        (lambda: Perturb(np.ones(N, bool), MIXED), r"^rows: got bool of shape \(24,\), expected"),
        (lambda: Perturb([-1], MIXED).check(DATA), r"^rows: got the index -1"),
        (lambda: Perturb([0, 0], MIXED), r"^rows: index 0 is given twice"),
        (lambda: Perturb([0], LinfBall(X[:2], 1.0, Box(0, 1))).check(DATA),
         r"^domain.centre: got shape \(2, 5\), expected \(1, 5\)"),
        (lambda: InsertXY(0, MIXED, Box(0, 1)), r"^rows: got 0, expected the number of rows"),
        (lambda: InsertXY(2, MIXED, Box(np.zeros(3), 1)).check(DATA),
         r"^targets.lower: got shape \(3,\), expected \(\) or \(2,\)"),
        (lambda: start(InsertXY(1, MIXED, Box(0, 1)), XY(jnp.asarray(ROW), 2 * jnp.ones(1))),
         r"^z0.y: lies outside the domain, by 1 at most"),
        (lambda: start(InsertXY(1, MIXED, Box(0, 1)), XY(jnp.asarray(ROW), jnp.ones(2))),
         r"^z0.y: got shape \(2,\), expected \(1,\)"),
        (lambda: start(InsertXY(1, MIXED, Box(0, 1)), jnp.asarray(ROW)), r"^z0: got a \w+ of 1 "),
        (lambda: start(InsertXY(1, MIXED, Box(0, 1)), XY(jnp.nan * jnp.asarray(ROW), jnp.ones(1))),
         r"^z0.x: 5 of 5 values are NaN"),
        (lambda: Insert(np.ones(1), Columns(0.0, 1.0, groups=((4, 5),))).check(DATA),
         r"^domain.groups: got the feature 5, expected indices from 0 to 4"),
    ],
)  # fmt: skip
def test_impossible_capabilities_are_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("name", ["svm", "logistic"])
def test_the_hypergradient_of_whole_flips_is_one_sided(name):
    """Rows of weight zero: for an SVM their multipliers are pinned between equal bounds."""
    reach = FlipLabels(ROWS, 3)
    attack = compose(LEARNERS[name], reach, GOAL, DATA)
    learner = LEARNERS[name]

    @jax.jit
    def partly(z):
        data = reach.mix(z, DATA)
        return GOAL.score(learner.fit(data, throw=False).model, World(data))

    z = np.eye(ROWS.size)[1]
    found, h = gradient(attack, jnp.asarray(z)), 1e-5
    for i in range(ROWS.size):
        inward = np.eye(ROWS.size)[i] * (h if z[i] == 0 else -h)
        one, two, here = partly(z + inward), partly(z + 2 * inward), partly(z)
        slope = float(4 * one - two - 3 * here) / (2 * float(inward[i]))
        np.testing.assert_allclose(found[i], slope, atol=1e-8)


def test_a_row_is_drawn_anew_only_where_all_of_its_gradient_is_zero():
    pool, z = np.arange(10.0, 18).reshape(4, 2), np.linspace(0, 1, 10).reshape(5, 2)
    gradient = np.array([[0.0, 0.0], [1e-300, 0.0], [0.0, -2.0], [0.0, 0.0], [1.0, 1.0]])
    arguments = jnp.asarray(z), jnp.asarray(gradient)
    moved = np.asarray(Reseed(jnp.asarray(pool))(jax.random.key(0), *arguments))
    np.testing.assert_array_equal(moved[[1, 2, 4]], z[[1, 2, 4]])
    for row in moved[[0, 3]]:
        assert np.any(np.all(row == pool, axis=1))


def test_rows_of_weight_zero_do_not_shorten_a_step_nor_do_heavy_ones():
    row, domain = jnp.asarray(RNG.normal(size=(1, D))), Box(0.0, 1.0)
    slots = jnp.zeros((3, D)).at[:1].set(row)
    alone = Insert([1.0], domain).direction(row)
    among = Insert([1.0, 1.0, -1.0], domain, np.array([4.0, 0.0, 0.0])).direction(slots)
    np.testing.assert_allclose(among[:1], alone, rtol=1e-12)
