"""What is made of several, in a table: each of its parts, alone and at every place, is seen in its
code, its kinks, its randomness and its warm start.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array, PRNGKeyArray

import bilevel
from bilevel import (
    AbstractBilevel,
    AbstractObjective,
    AbstractSolver,
    Expected,
    Info,
    Members,
    Outcome,
    Point,
    Posed,
    Together,
    batch,
)
from bilevel.derivatives import AbstractDerivative, Implicit
from bilevel.networks import MLP, ConvNet, ResNet
from bilevel.problems import AbstractProblem
from bilevel.solvers import Each, Stack
from bilevel.solvers.path.clipped import Clipped

PARTS = 3
ONE = np.eye(PARTS, dtype=bool)
KEYS = jax.random.split(jax.random.key(1), PARTS)
Z = jnp.ones(2)


class Part(AbstractObjective):
    """A slope, a code, whether it is touched or does not know; a draw is added to its value."""

    slope: Array
    code: Array
    touched: Array | None
    key: PRNGKeyArray | None = None

    def cold(self, z):
        return self.slope

    def keyed(self, key):
        return Part(self.slope, self.code, self.touched, key)

    def evaluate(self, z, warm=None):
        drawn = 0.0 if self.key is None else jax.random.normal(self.key)
        info = Info(self.code, {"drawn": jnp.asarray(drawn)}, self.touched)
        start = self.cold(z) if warm is None else warm
        return self.slope * jnp.sum(z) + drawn, (2 * start, info)


class ByKey(AbstractObjective):
    """The part that has this key."""

    parts: Part
    key: PRNGKeyArray | None = None

    def cold(self, z):
        return self._own().cold(z)

    def keyed(self, key):
        return ByKey(self.parts, key)

    def evaluate(self, z, warm=None):
        return self._own().evaluate(z, warm)

    def _own(self) -> Part:
        key = KEYS[0] if self.key is None else self.key
        same = jax.random.key_data(KEYS) == jax.random.key_data(key)[None]
        at = jnp.argmax(jnp.all(same, axis=1))
        part = jax.tree.map(lambda leaf: leaf[at], self.parts)
        return part.keyed(key)


def one(member: Part) -> Part:
    return member


def apart(stacked: Part) -> list[Part]:
    return [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(PARTS)]


OBJECTIVES = {
    "Expected": lambda parts: Expected(ByKey(parts), KEYS),
    "Members": lambda parts: Members(one, parts),
    "Together": lambda parts: Together(apart(parts)),
}
every_objective = pytest.mark.parametrize("name", OBJECTIVES)


def stacked(codes=(0,) * PARTS, touched=None) -> Part:
    flags = None if touched is None else jnp.asarray(touched)
    return Part(jnp.array([1.0, 3.0, 8.0]), jnp.asarray(codes, jnp.int32), flags)


@eqx.filter_jit
def told(name: str, parts: Part):
    return OBJECTIVES[name](parts).evaluate(Z)


def test_every_objective_of_several_is_in_the_table():
    kinds = {
        name
        for name, kind in vars(bilevel).items()
        if isinstance(kind, type) and issubclass(kind, AbstractObjective)
    }
    assert kinds - OBJECTIVES.keys() == {"AbstractBilevel", "AbstractObjective", "Bilevel"}


@every_objective
def test_a_part_at_each_place_is_told(name):
    for place in range(PARTS):
        info = told(name, stacked(5 * ONE[place], ONE[place]))[1][1]
        assert (int(info.result), bool(info.touched)) == (5, True)
    two = told(name, stacked([4, 0, 6], ~ONE[1]))[1][1]
    assert (int(two.result), bool(two.touched)) == (6, True)
    none = told(name, stacked(touched=np.zeros(PARTS, bool)))[1][1]
    assert (int(none.result), bool(none.touched)) == (0, False)
    assert told(name, stacked())[1][1].touched is None


def test_one_part_that_does_not_know_leaves_it_open():
    for place in range(PARTS):
        parts = apart(stacked(touched=np.ones(PARTS, bool)))
        parts[place] = apart(stacked())[place]
        assert Together(parts).evaluate(Z)[1][1].touched is None


@every_objective
def test_parts_are_weighted_alike_and_keep_their_starts(name):
    """Each goes on from its own warm start."""
    whole = OBJECTIVES[name](stacked())
    value, (warm, info) = whole.evaluate(Z)
    drawn = np.mean(jax.tree.leaves(info.stats))
    np.testing.assert_allclose(value, 2 * (1 + 3 + 8) / 3 + drawn, rtol=1e-12)
    np.testing.assert_array_equal(jnp.asarray(warm), [2, 6, 16])
    again = whole.evaluate(Z, warm)[1][0]
    np.testing.assert_array_equal(jnp.asarray(again), [4, 12, 32])


KEYED = {
    "Expected": lambda: Expected(apart(stacked())[0], KEYS),
    "Members": lambda: Members(one, stacked()),
    "Together": lambda: Together(apart(stacked())),
    "Together of Members": lambda: Together([Members(one, stacked()) for _ in range(2)]),
}


@pytest.mark.parametrize("name", KEYED)
def test_parts_draw_apart_and_the_same_again(name):
    def draws(seed):
        keyed = KEYED[name]().keyed(jax.random.key(seed))
        stats = keyed.evaluate(Z)[1][1].stats
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(stats)])

    first, again, other = draws(0), draws(0), draws(1)
    np.testing.assert_array_equal(first, again)
    assert np.unique(np.concatenate([first, other])).size == 2 * first.size >= 2 * PARTS


class Known(AbstractProblem):
    """A problem is its solution, its code and its slack."""

    w: Array
    code: Array
    slacks: Array


class Told(AbstractSolver):
    """Tells them."""

    def cold(self, problem):
        return 0 * problem.w

    def run(self, problem, warm):
        w, code = problem.w, problem.code
        return Point(w, None, w + warm, code, {"steps": code})

    def conditions(self, problem, unknowns, frozen):
        return unknowns - problem.w

    def value(self, problem, unknowns, frozen):
        return unknowns

    def backsolve(self, problem, frozen, rhs):
        return problem.w * rhs

    def backsolve_transposed(self, problem, frozen, rhs):
        return 10 * problem.w * rhs

    def slack(self, problem, unknowns, frozen):
        return problem.slacks


def test_each_problem_of_a_stack_is_told_and_solved_by_itself():
    each, w = Each(Told()), jnp.array([1.0, 2.0, 4.0])

    @eqx.filter_jit
    def run(codes):
        problem = Stack(Known(w, codes, jnp.stack([w, -w], axis=1)))
        point = each.run(problem, each.cold(problem))
        maps = (each.backsolve, each.backsolve_transposed)
        return point, [apply(problem, None, w) for apply in maps], each.slack(problem, w, None)

    for place in range(PARTS):
        point, maps, slack = run(jnp.asarray(5 * ONE[place], jnp.int32))
        assert int(point.result) == 5
        np.testing.assert_array_equal(point.stats["steps"], 5 * ONE[place])
        np.testing.assert_array_equal(point.unknowns, w)
        np.testing.assert_array_equal(maps, [w * w, 10 * w * w])
        np.testing.assert_array_equal(slack, [1, -1, 2, -2, 4, -4])
    assert int(run(jnp.array([4, 0, 6], jnp.int32))[0].result) == 6
    assert int(run(jnp.zeros(PARTS, jnp.int32))[0].result) == 0


class Posing(AbstractBilevel):
    """Codes of the trainings before the problem, of its solver, and of the work on its solution."""

    codes: Array
    solver: AbstractSolver = Told()
    derivative: AbstractDerivative = Implicit()

    def using(self, solver, derivative):
        return Posing(self.codes, solver, derivative)

    def pose(self, z):
        before, code, after = self.codes
        return Posed(Known(z, code, z), lambda value: Outcome(jnp.sum(value), after), before)


def test_a_failure_before_in_or_after_an_inner_problem_is_told():
    @eqx.filter_jit
    def result(codes):
        return Posing(codes).evaluate(Z)[1][1].result

    for place in range(PARTS):
        assert int(result(jnp.asarray(5 * ONE[place], jnp.int32))) == 5
        assert int(result(jnp.asarray(3 + 2 * ONE[place], jnp.int32))) == 5
    assert int(result(jnp.zeros(PARTS, jnp.int32))) == 0


def test_each_argument_of_a_batch_keeps_its_place():
    def problem(a, key):
        return {"value": 2 * a, "drawn": jax.random.normal(key)}

    found = batch(problem)(jnp.arange(3.0), KEYS)
    np.testing.assert_array_equal(found["value"], [0, 2, 4])
    np.testing.assert_allclose(found["drawn"], [jax.random.normal(key) for key in KEYS])


NETWORKS = {
    "ConvNet": (ConvNet((3, 3), 3, (4, 4), 4), (10, 10, 3)),
    "MLP": (MLP((3, 3, 3), 3), (3,)),
    "ResNet": (ResNet((3,), 2, groups=3), (6, 6, 3)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_of_one_shape_start_apart(name):
    network, shape = NETWORKS[name]
    row = jax.ShapeDtypeStruct(shape, float)
    leaves = [np.asarray(a) for a in jax.tree.leaves(network.init(KEYS[0], row))]
    drawn = [a.tobytes() for a in leaves if np.unique(a).size > 1]
    assert len(set(drawn)) == len(drawn) > 2


def test_leaves_of_one_shape_are_noised_apart():
    noisy = Clipped(optax.sgd(0.1), 1, clip=1.0, noise=1.0)
    zeros = [jnp.zeros(3), jnp.zeros(3)]
    first, second = noisy._noised(KEYS[0], zeros, 1)
    assert np.unique(np.concatenate([first, second])).size == 6
