"""Inserted rows whose targets stay near the predictions of a model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import InsertNear, compose, indiscriminate
from attacks.capabilities import XY
from attacks.domains import Box, Columns
from bilevel import Data
from bilevel.learners import LinearModel, Ridge
from bilevel.losses import Squares

N, M, D = 14, 3, 4
RNG = np.random.default_rng(0)
X, Y = RNG.uniform(size=(N, D)), RNG.uniform(size=N)
DATA, HELD = Data(X, Y), Data(RNG.uniform(size=(9, D)), RNG.uniform(size=9))
W = np.array([0.3, -0.4, 0.2, 0.5])
MODEL = LinearModel(jnp.asarray(W), jnp.asarray(0.35))
DOMAINS = {
    "box": Box(0.0, 1.0),
    "levels and a group": Columns(0.0, 1.0, [0.25, 0, 0, 0], groups=((2, 3),), optional=True),
}
Z = XY(jnp.asarray(RNG.uniform(size=(M, D))), jnp.asarray([-1.0, 0.4, 0.7]))


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_targets_are_off_by_the_radius_from_the_prediction_at_the_row_inserted(domain):
    reach = InsertNear(M, domain, MODEL, 0.2, low=-5.0, high=5.0)
    data = reach.inject(Z, DATA)
    x, y = np.asarray(data.x[N:]), np.asarray(data.y[N:])
    np.testing.assert_array_equal(x, domain.place(Z.x))
    np.testing.assert_allclose(y - (x @ W + 0.35), 0.2 * np.asarray(Z.y), atol=1e-14)
    np.testing.assert_array_equal(data.x[:N], X)
    np.testing.assert_array_equal(data.y[:N], Y)
    np.testing.assert_array_equal(reach.places(DATA), [N, N + 1, N + 2])


def test_targets_are_clipped_to_their_range_and_shares_of_the_radius_to_one():
    reach = InsertNear(M, DOMAINS["box"], MODEL, 5.0, low=0.1, high=0.8)
    np.testing.assert_array_equal(reach.inject(Z, DATA).y[N:], [0.1, 0.8, 0.8])
    far = reach.project(XY(3 * Z.x, 3 * Z.y))
    np.testing.assert_array_equal(far.y, [-1.0, 1.0, 1.0])
    np.testing.assert_array_equal(far.x, np.clip(3 * Z.x, 0, 1))


def test_a_share_of_the_radius_has_the_unit_one_and_a_row_that_of_the_domain():
    for domain in DOMAINS.values():
        units = InsertNear(M, domain, MODEL, 0.2).units(Z)
        np.testing.assert_array_equal(units.y, np.ones(M))
        np.testing.assert_array_equal(units.x, domain.units(Z.x))


def test_the_hypergradient_is_that_of_central_differences():
    goal = indiscriminate(HELD.x, HELD.y, Squares())
    attack = compose(Ridge(0.1), InsertNear(M, DOMAINS["box"], MODEL, 0.2, -5.0, 5.0), goal, DATA)
    both = jax.jit(jax.value_and_grad(attack))
    gradient = both(Z)[1]
    along = XY(jnp.asarray(RNG.normal(size=(M, D))), jnp.asarray([0.5, -1.0, 1.0]))

    def at(h):
        return float(both(jax.tree.map(lambda z, t: z + h * t, Z, along))[0])

    slope = (8 * (at(1e-4) - at(-1e-4)) - (at(2e-4) - at(-2e-4))) / 12e-4
    found = sum(float(np.vdot(g, t)) for g, t in zip(gradient, along, strict=True))
    np.testing.assert_allclose(found, slope, rtol=1e-8)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: InsertNear(M, DOMAINS["box"], MODEL, 0.0), r"^radius: got 0.0, expected"),
        (lambda: InsertNear(M, DOMAINS["box"], MODEL, np.inf), r"^radius: got inf"),
        (lambda: InsertNear(0, DOMAINS["box"], MODEL, 0.1), r"^rows: got 0"),
        (lambda: InsertNear(M, DOMAINS["box"], MODEL, 0.1, 1.0, 1.0), r"^low, high: got 1.0 and"),
        (lambda: InsertNear(2, DOMAINS["box"], MODEL, 0.1).inject(Z, DATA), r"^z\.x: got shape"),
    ],
)  # fmt: skip
def test_impossible_ones_are_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.stand_ins
def test_rows_of_weight_zero_do_not_shorten_a_step():
    gradient = XY(jnp.asarray(RNG.normal(size=(1, D))), jnp.asarray([0.3]))
    slots = XY(jnp.zeros((M, D)).at[:1].set(gradient.x), jnp.zeros(M).at[:1].set(gradient.y))
    alone = InsertNear(1, DOMAINS["box"], MODEL, 0.1).direction(gradient)
    among = InsertNear(M, DOMAINS["box"], MODEL, 0.1, weight=[1, 0, 0]).direction(slots)
    np.testing.assert_allclose(among.x[:1], alone.x, rtol=1e-12)
    np.testing.assert_allclose(among.y[:1], alone.y, rtol=1e-12)
