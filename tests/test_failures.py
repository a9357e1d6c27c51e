"""What trains more than once loses no failure: each of its trainings, failing alone, is told.

A stub fails with a code of the rows, weights and key that it is trained on. Of several failures the
largest code is told; with those from it on left out, the next one is. So all are found, one by one,
and there must be as many as trainings. The same programs show that rows of weight 0 are nothing to
a defense.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import defenses
from attacks import (
    AllToOne,
    Box,
    Insert,
    compose,
    flip_by_hypergradient,
    flip_greedy,
    flip_random,
    indiscriminate,
    loss_variability,
    victims,
)
from bilevel import Data, Expected, Members, SolveError, Together
from bilevel.derivatives import Implicit
from bilevel.learners import AbstractLearner, LinearModel, Training, ensemble
from bilevel.linear import Dense
from bilevel.losses import Logistic
from bilevel.results import CONVERGED, MAX_STEPS
from bilevel.solvers import Newton
from defenses import (
    ConfidentLearning,
    Duplicates,
    Filter,
    MicroModels,
    Partition,
    Relabel,
    Roni,
    Sever,
    Trim,
)
from defenses.sanitise._quotas import quota
from defenses.sanitise._selection import kept_count
from defenses.sanitise.trim import drawn_sets

N, D = 24, 2
RNG = np.random.default_rng(5)
Y = np.where(np.arange(N) % 2, 1.0, -1.0)
X = RNG.normal(size=(N, D)) + 0.8 * Y[:, None]
DATA = Data(X, Y)
EVERY = 2**31 - 1


class Coded(AbstractLearner):
    """Weighted means of y x and of y as a linear model. All trainings whose code is below `limit`
    fail, with their code, or with `MAX_STEPS` if they are not `told` apart. The code is that of the
    rows and of the key; if `drawn`, of the key alone.
    """

    limit: jax.Array
    salt: jax.Array
    told: bool = True
    drawn: bool = False
    solver: Newton = Newton()
    derivative: Implicit = Implicit()

    @property
    def loss(self):
        return Logistic()

    def training(self, data, *, key=None):
        drawn = 0.0 if key is None else jax.random.uniform(key)
        of_rows = 0.0 if self.drawn else code_of(data.x, data.targets(), data.weight)
        code = of_rows + self.salt + drawn
        code = 1000 + (1e8 * (code % 1)).astype(jnp.int32)
        failed = jnp.where(code < self.limit, code if self.told else MAX_STEPS, CONVERGED)
        return Training(data, None, eqx.Partial(_means, data), result=failed)


def code_of(x, y, weight):
    return 100 * (weight @ (jnp.sin(7 * x[:, 0] + 11 * x[:, 1] + y) + 2))


def _means(data, value):
    del value
    share = data.weight / jnp.sum(data.weight)
    return LinearModel((share * data.targets()) @ data.x, share @ data.targets())


def coded(limit=0, salt=0.0, told=True):
    return Coded(jnp.int32(limit), jnp.asarray(salt), told)


def told(run) -> list[int]:
    """The codes that reach the result, `run(limit)`, from the largest on."""
    codes = [EVERY]
    while code := int(run(codes[-1])):
        assert 1000 <= code < codes[-1]
        codes.append(code)
    return codes[1:]


LEARNER = coded()
TRIM = Trim(LEARNER, 0.2)
DEFENSES = {
    "ConfidentLearning": (ConfidentLearning(LEARNER, 3), 4),
    "Filter": (Filter(LEARNER), 1),
    "MicroModels": (MicroModels(LEARNER, 3), 4),
    "Partition": (Partition(LEARNER, 3), 3),
    "Roni": (Roni(LEARNER, draws=1, train=5, validation=9), 2 * N + 1),
    "Sever": (Sever(LEARNER, 0.2, rounds=2), 3),
    "Trim": (TRIM, None),
    "SoftMicroModels": (MicroModels(LEARNER, 3).surrogate(DATA), 4),
    "SoftPartition": (Partition(LEARNER, 3).surrogate(DATA), 3),
    "SoftSever": (Sever(LEARNER, 0.2, rounds=2).surrogate(DATA), 3),
}
"""Defenses, and how many trainings of different rows they make; None for what `inspect` says."""
OTHERS = {
    "Duplicates": Duplicates(LEARNER),
    "Relabel": Relabel(LEARNER, 4),
    "SoftFilter": Filter(LEARNER).surrogate(DATA),
    "SoftRelabel": Relabel(LEARNER, 4).surrogate(DATA),
    "SoftTrim": TRIM.surrogate(DATA),
}
"""The last one makes as many as it needs, the others train once, as `Filter` does."""
OF_NETWORKS = {
    "ActivationClustering", "ClipChannels", "DeepNeighbours", "Februus", "FewerLevels", "FinePrune",
    "FineTune", "ImplicitUnlearning", "MeanFilter", "MedianFilter", "Prune", "SpectralSignatures",
    "StraightThrough", "Strip", "Unlearn",
}  # fmt: skip
"""They need features, images or networks: `test_kinds` and tests of their own."""


def fails(defense, limit, data=DATA):
    """The result of a defense around a learner that fails below this limit."""
    return at(defense, limit).fit(data, throw=False).result


def at(defense, limit):
    return eqx.tree_at(lambda d: d.learner.limit, defense, jnp.int32(limit))


@pytest.mark.parametrize("name", DEFENSES)
def test_every_training_of_a_defense_counts(name):
    defense, trainings = DEFENSES[name]
    if trainings is None:
        trainings = int(TRIM.inspect(DATA).trainings)
    assert len(told(lambda limit: fails(defense, limit))) == trainings


def test_every_defense_that_trains_is_in_the_table():
    made = {
        name
        for name, kind in vars(defenses).items()
        if isinstance(kind, type) and issubclass(kind, AbstractLearner)
        if not name.startswith("Abstract")
    }
    assert DEFENSES.keys() | OTHERS.keys() == made - OF_NETWORKS


@pytest.mark.parametrize("name", DEFENSES | OTHERS)
def test_a_defense_gives_its_learner_another_solver_and_derivative(name):
    defense = OTHERS[name] if name in OTHERS else DEFENSES[name][0]
    method = Newton(max_steps=7), Implicit(Dense())
    other = defense.using(*method)
    assert eqx.tree_equal((other.learner.solver, other.learner.derivative), method)
    back = other.using(defense.solver, defense.derivative)
    (ours, kind), (theirs, same) = (jax.tree.flatten(each) for each in (back, defense))
    assert kind == same
    assert all(a is b for a, b in zip(ours, theirs, strict=True))


class Random(Coded):
    """Does not train without a key."""

    def training(self, data, *, key=None):
        assert key is not None
        return super().training(data, key=key)


@pytest.mark.parametrize("name", DEFENSES | OTHERS)
def test_every_training_of_a_defense_has_a_key(name):
    defense = OTHERS[name] if name in OTHERS else DEFENSES[name][0]
    random = eqx.tree_at(lambda d: d.learner, defense, Random(LEARNER.limit, LEARNER.salt))

    def both(key):
        return random.cold(DATA, key=key), random.fit(DATA, key=key, throw=False).result

    jax.eval_shape(both, KEYS[0])  # traced, and not compiled


NONE = np.arange(N) % 5 == 3
FAR = np.where(NONE[:, None], 30 * X, X), Y
NEAR = np.where(NONE[:, None], np.roll(X, -2, axis=0), X), Y
WRONG = NEAR[0], np.where(NONE, -Y, Y)
"""Rows of no weight that are the furthest of all, copies of others, or these with another label."""


@pytest.mark.parametrize("name", DEFENSES | OTHERS)
def test_rows_of_weight_zero_are_nothing_to_a_defense(name):
    defense = at(OTHERS[name] if name in OTHERS else DEFENSES[name][0], 0)
    fitted = [defense.fit(Data(*rows, 1.0 - NONE)) for rows in (FAR, NEAR, WRONG)]
    for other in fitted[1:]:
        decisions = (of.model.decision(jnp.asarray(X)) for of in (fitted[0], other))
        np.testing.assert_allclose(*decisions, rtol=1e-9, atol=1e-12)
        if "Partition" not in name:
            seen, again = (of.report.data for of in (fitted[0], other))
            np.testing.assert_allclose(again.weight, seen.weight, rtol=1e-9)
            np.testing.assert_array_equal(again.y[~NONE], seen.y[~NONE])


def own_code(weight) -> int:
    training = coded(EVERY).training(Data(X, Y, weight))
    return int(training.result)


def test_every_random_set_counts_also_one_that_does_not_go_on():
    used, restarts = np.ones(N, bool), 4
    defense, count = Trim(LEARNER, 0.2, restarts=restarts), kept_count(used, 0.2)
    least = quota(Y, used, 0.8, defense.balance)
    drawn = drawn_sets(X, Y, used, count, restarts, 0, least)
    codes = told(lambda limit: fails(defense, limit))
    starts = np.array([own_code(keep.astype(float)) for keep in (*drawn, used)])
    # Sums in another program have another rounding.
    assert np.all(np.min(np.abs(starts[:, None] - codes), axis=1) <= 2)
    assert len(set(starts)) == restarts + 1


def test_every_turn_of_a_soft_search_counts():
    defense = OTHERS["SoftTrim"]
    codes = told(lambda limit: fails(defense, limit))
    assert np.min(np.abs(np.array(codes) - own_code(np.full(N, 0.8)))) <= 2
    assert len(codes) > 3


@pytest.mark.parametrize("name", ["MicroModels", "SoftPartition"])
def test_every_part_of_an_ensemble_draws_for_itself(name):
    defense, trainings = DEFENSES[name]
    drawn = eqx.tree_at(
        lambda d: d.learner, defense, Coded(jnp.int32(0), jnp.zeros(()), drawn=True)
    )

    def run(limit):
        return at(drawn, limit).fit(DATA, key=KEYS[0], throw=False).result

    assert len(told(run)) == trainings


def test_failures_of_a_defense_inside_another_count():
    inner, outer = Trim(LEARNER, 0.1), Filter(LEARNER, contamination=0.1)
    trainings = int(inner.inspect(outer.inspect(DATA).data).trainings)
    whole = eqx.tree_at(lambda d: d.learner, outer, inner)

    def run(limit):
        defense = eqx.tree_at(lambda d: d.learner.learner.limit, whole, jnp.int32(limit))
        return defense.fit(DATA, throw=False).result

    assert len(told(run)) == trainings > 1


def test_a_failure_is_raised_and_is_one_of_the_attack():
    defense = Partition(coded(EVERY, told=False), 3)
    with pytest.raises(SolveError, match="max_steps"):
        defense.fit(DATA)
    told = jax.jit(lambda z: compose(defense, REACH, GOAL, DATA).evaluate(z)[1][1].result)
    assert int(told(Z)) == MAX_STEPS


KEYS = jax.random.split(jax.random.key(3), 3)
REACH, GOAL = Insert(np.array([1.0]), Box(-3.0, 3.0)), indiscriminate(X[:9], Y[:9])
Z = jnp.ones((1, D))


def attack(limit, salt=0.0, key=None, told=True):
    return compose(coded(limit, salt, told), REACH, GOAL, DATA, key=key)


OBJECTIVES = {
    "Expected": lambda limit: Expected(attack(limit, key=KEYS[0]), KEYS),
    "Members": lambda limit: Members(lambda salt: attack(limit, salt), jnp.array([0.1, 0.2, 0.4])),
    "Together": lambda limit: Together([attack(limit, salt) for salt in (0.1, 0.2, 0.4)]),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_training_of_an_objective_counts(name):
    @eqx.filter_jit
    def result(limit):
        return OBJECTIVES[name](limit).evaluate(Z)[1][1].result

    assert len(told(lambda limit: result(jnp.int32(limit)))) == 3


HELD, FREE = Data(X[:6], Y[:6]), np.array([0, 3, 4, 7, 9])
FLIPS = {
    "flip_greedy": (lambda learner: flip_greedy(DATA, 1, HELD, learner, rows=FREE), 5),
    "flip_random": (lambda learner: flip_random(KEYS[0], DATA, 2, HELD, learner, rows=FREE), 2),
    "flip_by_hypergradient": (
        lambda learner: flip_by_hypergradient(DATA, 1, HELD, learner, rows=FREE, verify=2),
        3,
    ),
}


@pytest.mark.parametrize("name", FLIPS)
def test_every_training_of_flips_counts(name):
    """Also that of a flip which is tried and not made."""
    flips, trainings = FLIPS[name]
    assert len(told(lambda limit: flips(coded(limit)).result)) == trainings


CLASSES = Data(X, (Y > 0).astype(int))


def lanes_of(limit):
    members = ensemble(coded(limit), DATA, KEYS).result
    judged = victims(attack(limit), Z, CLASSES, AllToOne(0), KEYS)
    return np.stack([members, judged.attacked.result, judged.clean.result])


def test_each_member_and_each_victim_fails_alone():
    every = lanes_of(EVERY)
    assert np.unique(every[1:]).size == every[1:].size
    np.testing.assert_array_equal(every[0], every[2])
    for limit in np.unique(every):
        np.testing.assert_array_equal(lanes_of(limit), np.where(every < limit, every, 0))


def test_a_variance_over_training_sets_has_none_that_failed():
    weights = jnp.asarray(RNG.uniform(0.5, 1.5, (3, N)))
    assert np.isfinite(loss_variability(attack(0, told=False), Z, weights))
    parts = [REACH.inject(Z, Data(X, Y, weight)) for weight in weights]
    codes = [int(coded(EVERY).training(part).result) for part in parts]
    lowest = min(codes) + 3  # sums in another program have another rounding
    with pytest.raises(SolveError):
        loss_variability(attack(lowest, told=False), Z, weights)
