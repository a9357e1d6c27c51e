"""Colliding features: the published distances, their derivatives, the program on the simplex."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn

from attacks import (
    AbstractCapability,
    Box,
    Evade,
    LinfBall,
    Perturb,
    World,
    collide_features,
    compose,
    half_grey,
    watermarked,
)
from attacks.goals import Bullseye, Collide, Frogs, Polytope, Resembling
from attacks.goals.collide import Layers
from bilevel import Data, Expected, Together, batch, maximize
from bilevel.learners import AbstractModel, Fixed, LinearModel, NetworkModel
from bilevel.networks import MLP, AbstractArchitecture, Outputs
from bilevel.solvers import Relaxed

RNG = np.random.default_rng(0)
SHAPE, ROWS = (2, 3), np.array([4, 0, 2])
X, Y = RNG.uniform(0.1, 0.9, size=(8, *SHAPE)), np.arange(8) % 2
DATA = Data(X, Y)
TARGET = jnp.asarray(RNG.uniform(size=(1, *SHAPE)))
REACH = Perturb(ROWS, LinfBall(X[ROWS], 0.1, Box(0.0, 1.0)))
RULES = Frogs(), Polytope(), Bullseye()
ALONG = RNG.normal(size=(3, *SHAPE))


class Dropping(AbstractArchitecture):
    """Two smooth layers; dropout doubles or drops units of the first."""

    def init(self, key, row):
        shapes = (int(np.prod(row.shape)), 7), (7, 4)
        keys = jax.random.split(key, 2)
        return [jax.random.normal(k, s, row.dtype) for k, s in zip(keys, shapes, strict=True)]

    def apply(self, parameters, x, key=None):
        first = jnp.tanh(x.reshape(x.shape[0], -1) @ parameters[0])
        if key is not None:
            first = first * 2 * jax.random.bernoulli(key, 0.5, first.shape).astype(first.dtype)
        last = jax.nn.softplus(first @ parameters[1])
        return Outputs(last[:, 0], {"first": first, "last": last})


def network(architecture, seed: int = 0) -> NetworkModel:
    return NetworkModel(drawn(architecture, SHAPE, seed=seed), architecture)


NET, OTHER = network(Dropping()), network(MLP((5, 6, 4), 2), 1)


def attack(rule, layers: Layers = "last", draws=0, model=NET, key=None):
    goal = Collide(TARGET, rule, layers, draws)
    return compose(Fixed(model), REACH, goal, DATA, key=key)


def test_the_distances_are_the_published_ones():
    here = np.asarray(NET.activations(jnp.asarray(X[ROWS]))["last"])
    there = np.asarray(NET.activations(TARGET)["last"])[0]
    z, size = REACH.example(DATA), np.linalg.norm(there)
    frogs = np.mean([np.linalg.norm(h - there) ** 2 for h in here])
    np.testing.assert_allclose(attack(Frogs())(z), -frogs, rtol=1e-12)
    bullseye = np.linalg.norm(here.mean(0) - there) / size
    np.testing.assert_allclose(attack(Bullseye())(z), -bullseye, rtol=1e-12)
    c = Polytope().coefficients(jnp.asarray(here), jnp.asarray(there))
    first = attack(Bullseye(), ("first",))(z)
    np.testing.assert_allclose(attack(Bullseye(), "all")(z), (first - bullseye) / 2, rtol=1e-12)
    polytope = 0.5 * np.linalg.norm(c @ here - there) ** 2 / size**2
    np.testing.assert_allclose(attack(Polytope())(z), -polytope, rtol=1e-12)
    one = Perturb([4], Box(0.0, 1.0))  # one poison row to one target: all of them are one distance
    alone = compose(Fixed(NET), one, Collide(TARGET, Frogs()), DATA)(one.example(DATA))
    np.testing.assert_allclose(alone, -(np.linalg.norm(here[0] - there) ** 2), rtol=1e-12)


def test_every_gradient_is_that_of_central_differences():
    key = jax.random.key(3)
    goals = [attack(rule, "all", 3, key=key) for rule in RULES]  # each in two layers
    goals += [
        Together([attack(rule, ("first",)), attack(rule, "all", model=OTHER)])
        for rule in (Frogs(), Bullseye())
    ]
    goals += [Expected(attack(Bullseye(), draws=1, key=key), jax.random.split(key, 2))]
    goals += [compose(Fixed(NET), REACH, Resembling(jnp.asarray(X[ROWS])), DATA)]

    def scores(z):
        found = jnp.stack([goal.evaluate(z)[0] for goal in goals])
        return found, found

    both = jax.jit(jax.jacrev(scores, has_aux=True))
    z, h = REACH.example(DATA) + 0.03 * ALONG, 1e-5
    (slopes, here), (_, ahead), (_, back) = (both(z + t * ALONG) for t in (0, h, -h))
    slopes = np.sum(slopes * ALONG[None], (1, 2, 3))
    np.testing.assert_allclose(slopes, (ahead - back) / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(here[-1], -np.sum((0.03 * ALONG) ** 2) / 3, rtol=1e-12)


def on_faces(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The coefficients by another way: the stationary point of every face, the best feasible."""
    apart, best, found = here - there, np.inf, np.zeros(len(here))
    Q = apart @ apart.T
    for size in range(1, len(here) + 1):
        for face in map(list, itertools.combinations(range(len(here)), size)):
            system = np.block([[Q[np.ix_(face, face)], np.ones((size, 1))], [np.ones(size), 0.0]])
            c = np.zeros(len(here))
            c[face] = np.linalg.lstsq(system, np.r_[np.zeros(size), 1.0], rcond=None)[0][:size]
            if np.all(c >= -1e-12) and c @ Q @ c < best - 1e-13:
                best, found = c @ Q @ c, c
    return found


def test_the_coefficients_are_those_of_an_independent_solver():
    rng = np.random.default_rng(1)
    solve = jax.jit(Polytope().coefficients)
    inside, most = 0, 0
    for _ in range(30):
        here = rng.normal(size=(5, 7)) + 0.3
        there = rng.dirichlet(np.ones(5)) @ here + 0.5 * rng.normal(size=7)
        c, expected = np.asarray(solve(here, there)), on_faces(here, there)
        np.testing.assert_allclose(c, expected, atol=1e-8)
        inside, most = inside + (np.sum(c > 0) > 1), max(most, int(np.sum(c > 0)))
    assert inside > 15
    assert most >= 4
    # in the hull of more rows than features: the coefficients are not unique, the distance is
    here, there = jnp.asarray(rng.normal(size=(5, 2))), jnp.full(2, 0.01)
    assert float(Polytope().distance(here, there)) < 1e-20


def test_the_program_is_solved_by_the_solver_given():
    """A barrier keeps all coefficients from zero."""
    here, there = jnp.asarray(RNG.normal(size=(5, 7))), jnp.asarray(RNG.normal(size=7))
    solve = jax.jit(Polytope(Relaxed(mu=0.1)).coefficients)
    inside = solve(here, there)
    assert np.sum(on_faces(np.asarray(here), np.asarray(there)) == 0) >= 1
    assert np.all(np.asarray(inside) > 1e-3)
    np.testing.assert_allclose(np.sum(inside), 1)
    # in units of the target, whose slopes with the barrier's are the same in all of them
    apart, c = np.asarray(here) - np.asarray(there), np.asarray(inside)
    slopes = apart @ (c @ apart) / np.sum(np.asarray(there) ** 2) - 0.1 / c
    np.testing.assert_allclose(slopes, np.mean(slopes), rtol=1e-8)
    np.testing.assert_allclose(solve(100 * here, 100 * there), inside, rtol=1e-8)


@pytest.mark.slow
def test_envelope_theorem_and_implicit_derivative_agree_and_so_do_second_derivatives():
    rng = np.random.default_rng(2)
    here, there = jnp.asarray(rng.normal(size=(4, 6)) + 0.4), jnp.asarray(rng.normal(size=6) + 0.4)
    along, rule = jnp.asarray(rng.normal(size=here.shape)), Polytope()
    assert 1 < np.sum(np.asarray(rule.coefficients(here, there)) > 0) < 4

    def at_fixed(here):
        c = jax.lax.stop_gradient(rule.coefficients(here, there))
        return 0.5 * jnp.sum((c @ here - there) ** 2) / jnp.sum(there**2)

    slope, h = jax.jit(jax.grad(lambda h: rule.distance(h, there))), 1e-5
    np.testing.assert_allclose(slope(here), jax.jit(jax.grad(at_fixed))(here), atol=1e-14)
    curved = jax.jit(lambda here: jax.jvp(slope, (here,), (along,))[1])(here)
    expected = (slope(here + h * along) - slope(here - h * along)) / (2 * h)
    np.testing.assert_allclose(curved, expected, rtol=1e-5, atol=1e-8)
    value = jax.jit(rule.distance)
    assert float(value(here, there)) > 0
    assert np.isnan(value(here.at[0, 0].set(jnp.nan), there))  # a program that was not solved


def test_draws_average_features_over_the_masks_of_the_key():
    key = jax.random.key(5)
    z, goal = REACH.example(DATA), attack(Bullseye(), ("first",), 4, key=key)
    masks = jax.random.split(jax.random.fold_in(key, 2), 4)
    here = np.mean([NET.activations(z, key=k)["first"] for k in masks], axis=(0, 1))
    there = np.asarray(NET.activations(TARGET)["first"])[0]
    expected = -np.linalg.norm(here - there) / np.linalg.norm(there)
    np.testing.assert_allclose(goal(z), expected, rtol=1e-12)
    assert goal(z) != goal.keyed(jax.random.key(6))(z)


def test_several_views_of_the_target_are_one_and_met_features_have_a_finite_slope():
    views = jnp.concatenate([TARGET, 0.5 * TARGET])
    model = Fixed(LinearModel(jnp.ones(6), jnp.ones(())))
    table = Data(X.reshape(8, -1), Y)
    reach = Perturb([0, 1], Box(0.0, 1.0))
    goal = compose(model, reach, Collide(views.reshape(2, -1), Bullseye()), table)
    met = jnp.tile(0.75 * TARGET.reshape(1, -1), (2, 1))
    assert goal(met) == 0
    np.testing.assert_array_equal(jax.grad(goal)(met), 0)


def test_together_is_the_mean_and_has_the_worst_result():
    parts = [attack(Frogs()), attack(Frogs(), model=OTHER)]
    both, z = Together(parts), REACH.example(DATA)
    np.testing.assert_allclose(both(z), np.mean([part(z) for part in parts]), rtol=1e-12)
    run = maximize(both, z, steps=15)
    assert run.value > both(z)
    assert np.max(np.abs(run.z - X[ROWS])) <= 0.1 + 1e-12
    key = jax.random.key(0)
    drawn = Together([attack(Bullseye(), draws=1, key=key)] * 2)
    assert drawn.keyed(key)(z) != drawn.keyed(jax.random.key(1))(z)
    with pytest.raises(ValueError, match=r"^objectives: got none"):
        Together([])


def test_targets_are_one_program():
    """As many targets as wanted by `batch`, each with base rows of its own."""
    targets, bases = jnp.asarray(RNG.uniform(size=(3, *SHAPE))), jnp.asarray(X[:6])
    bases = bases.reshape(3, 2, *SHAPE)

    def craft(target, base):
        train = Data(base, jnp.ones(2, int))
        domain = LinfBall(base, 0.1, Box(0.0, 1.0))
        made = collide_features(train, [0, 1], target, 0, [NET], domain=domain, steps=10)
        return made.climb().z

    together = batch(craft, 3)(targets, bases)
    for target, base, found in zip(targets, bases, together, strict=True):
        np.testing.assert_allclose(found, craft(target, base), atol=1e-12)


def test_the_recipe_moves_the_rows_towards_the_target_and_no_further_than_it_may():
    z0 = X[ROWS]
    made = collide_features(DATA, ROWS, TARGET[0], 1, [NET, OTHER], Polytope(), steps=20)
    run = made.climb()
    assert run.value > made.attack(made.start)
    assert np.max(np.abs(run.z - z0)) <= 8 / 255 + 1e-12
    np.testing.assert_array_equal(made.start, z0)
    faint = jnp.asarray(watermarked(jnp.asarray(z0), TARGET[0], 0.3))
    np.testing.assert_allclose(faint, 0.7 * z0 + 0.3 * np.asarray(TARGET), rtol=1e-12)
    marked = collide_features(
        DATA, ROWS, TARGET[0], 1, [NET], domain=LinfBall(faint, 0.1, Box(0.0, 1.0)), start=faint
    )
    np.testing.assert_array_equal(marked.start, faint)


def test_half_a_grey_level_is_stored_as_the_same_bytes():
    levels = np.random.default_rng(3).integers(0, 256, (2, 4, 4, 3))
    for dtype in (np.float32, np.float64):
        x = jnp.asarray((levels / 255).astype(dtype))
        ball = half_grey(x)
        for z in (x + 1, x - 1, x + 0.3 / 255):
            moved = np.asarray(ball.project(z.astype(dtype)))
            assert moved.dtype == dtype
            assert np.max(np.abs(moved - x)) > 0.2 / 255
            np.testing.assert_array_equal(np.round(255 * moved), levels)
            assert np.min(moved) >= 0
            assert np.max(moved) <= 1


NOTHING = Evade(TARGET, Box(0.0, 1.0))
LINEAR = Fixed(LinearModel(jnp.ones(6), jnp.ones(())))


def scored(goal, model: AbstractModel = NET, reach: AbstractCapability = REACH):
    return goal.score(model, reach.world(reach.example(DATA), DATA))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Collide(TARGET, Frogs(), "first"), r"^layers: got 'first', expected 'last'"),
        (lambda: Collide(TARGET, Frogs(), ()), r"^layers: got \(\), expected 'last'"),
        (lambda: Collide(TARGET, Frogs(), draws=-1), r"^draws: got -1, expected a whole"),
        (lambda: Collide(TARGET[0, 0], Frogs()), r"^x: got shape \(3,\), expected \(1, \.\.\.\)"),
        (lambda: Collide(TARGET[:0], Frogs()), r"^x: got shape \(0, 2, 3\), expected \(1, "),
        (lambda: Collide(TARGET[:, :1], Frogs()).check(DATA), r"^x: got rows of shape \(1, 3\)"),
        (lambda: Collide(TARGET * jnp.nan, Frogs()).check(DATA), r"^x: 6 of 6 values are NaN"),
        (lambda: scored(Collide(TARGET, Frogs(), ("first", "third"))),
         r"^layers: got \['third'\], expected among \['first', 'last'\]"),
        (lambda: scored(Collide(TARGET, Frogs(), "all"), LINEAR.model),
         r"^layers: got 'all' for a LinearModel, which is no network"),
        (lambda: scored(Collide(TARGET, Frogs(), draws=2)), r"^key: got None for 2 draws"),
        (lambda: scored(Collide(TARGET, Frogs()), reach=NOTHING), r"^reach: gives no poison rows"),
        (lambda: Collide(TARGET, Frogs()).score(NET, World(DATA)), r"^reach: gives no poison"),
        (lambda: scored(Resembling(TARGET)), r"^x: got 1 rows for 3 poison rows, expected one for"),
        (lambda: Resembling(TARGET[:, :1]).check(DATA), r"^x: got rows of shape"),
        (lambda: collide_features(DATA, [0, 2], TARGET[0], 0, [NET]),
         r"^label: got 0, the class of the rows to move"),
        (lambda: collide_features(DATA, [0, 1], TARGET[0], 1, [NET]),
         r"^rows: are of the classes \[0, 1\], expected one"),
        (lambda: collide_features(DATA, [], TARGET[0], 1, [NET]), r"^rows: got"),
        (lambda: collide_features(DATA, [0], TARGET[0], 1, []), r"^networks: got none"),
        (lambda: collide_features(DATA, [0], TARGET[0], 1, [NET], start=TARGET),
         r"^z0: lies outside the domain"),
        (lambda: watermarked(TARGET, TARGET[0], 1.2), r"^opacity: got 1.2, expected a share in"),
        (lambda: watermarked(TARGET, TARGET[0], -0.1), r"^opacity: got -0.1"),
        (lambda: watermarked(TARGET, TARGET, 0.3), r"^target: got shape \(1, 2, 3\), expected"),
        (lambda: half_grey(jnp.full((1, 2), 0.3)), r"^x: got values in \[0.3, 0.3\], up to 0.5 of"),
        (lambda: half_grey(jnp.full((1, 2), 2.0)), r"^x: got values in \[2, 2\]"),
        (lambda: half_grey(jnp.full((1, 2), -1 / 255)), r"^x: got values in \[-0.00392"),
    ],
)  # fmt: skip
def test_impossible_collisions_are_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("layers", ["last", "all"])
def test_a_network_that_reports_no_layer_has_none_to_collide_in(layers):
    architecture = MLP((), 2)
    model = NetworkModel(
        architecture.init(jax.random.key(0), jax.ShapeDtypeStruct((3,), float)), architecture
    )
    goal = Collide(jnp.ones((1, 3)), Frogs(), layers)
    poisoned = World(Data(np.ones((2, 3)), [0, 1]), Data(np.ones((2, 3)), [0, 1]))
    with pytest.raises(ValueError, match=rf"^layers: got {layers}, expected among \[\]"):
        goal.score(model, poisoned)
