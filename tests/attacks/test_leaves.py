"""Leaves of a composed attack are what they seem: derivatives in them are those of differences,
and replacing one gives the attack that would be composed with it.
"""

import dataclasses
import functools

import equinox as eqx
import jax
import numpy as np
import pytest

from attacks import Box, Insert, compose, indiscriminate
from bilevel import Data, certify, maximize
from bilevel.derivatives import Implicit
from bilevel.learners import SVM, Logistic, Ridge, kernels
from bilevel.linear import Dense
from bilevel.losses import Logistic as LogisticLoss
from bilevel.solvers import Newton

RNG = np.random.default_rng(5)
N, D = 16, 3
Y = np.where(np.arange(N) % 2, 1, -1)
X = RNG.normal(size=(N, D)) + 0.6 * Y[:, None]
DATA = Data(X, Y, RNG.uniform(0.5, 1.5, N))
SIDES = np.where(np.arange(10) % 2, 1, -1)
GOAL = indiscriminate(RNG.normal(size=(10, D)) + 0.6 * SIDES[:, None], SIDES, LogisticLoss())
REACH = Insert([1, -1], Box(-4.0, 4.0))
Z = np.array([X[0] + 0.3, X[3] - 0.2])
WIDE_X = RNG.normal(size=(6, 9)) + 0.5 * Y[:6, None]
WIDE = Data(WIDE_X, Y[:6])
WIDE_GOAL = indiscriminate(RNG.normal(size=(10, 9)), SIDES, LogisticLoss())
ATTACKS = {
    "linear": lambda: compose(SVM(0.05), REACH, GOAL, DATA),
    "rbf": lambda: compose(SVM(0.5, kernels.RBF(0.3)), REACH, GOAL, DATA),
    "polynomial": lambda: compose(SVM(0.8, kernels.Polynomial(3, 0.3, 1.0)), REACH, GOAL, DATA),
    "ridge": lambda: compose(Ridge(0.2), REACH, GOAL, DATA),
    "wide logistic": lambda: compose(Logistic(0.2), REACH, WIDE_GOAL, WIDE),
}
LEAVES = {
    ("linear", "C"): lambda a: a.learner.C,
    ("rbf", "gamma"): lambda a: a.learner.kernel.gamma,
    ("polynomial", "degree"): lambda a: a.learner.kernel.degree,
    ("polynomial", "coef0"): lambda a: a.learner.kernel.coef0,
    ("ridge", "l2"): lambda a: a.learner.l2,
    **{(name, "clean rows"): lambda a: a.data.x for name in ATTACKS},
    **{(name, "weights"): lambda a: a.data.weight for name in ("linear", "ridge")},
    ("rbf", "validation rows"): lambda a: a.goal.x,
    ("wide logistic", "poison weights"): lambda a: a.reach.weight,
}


@functools.cache
def attack_at(name):
    """An attack, and a place in its domain."""
    return ATTACKS[name](), WIDE_X[:2] + 0.3 if name == "wide logistic" else Z


@eqx.filter_jit
def value_and_slopes(attack, wheres, z):
    """The value and the gradients in all leaves, as one program."""

    def score(leaves):
        moved = eqx.tree_at(lambda a: [where(a) for where in wheres], attack, leaves)
        return moved.evaluate(z)[0]

    return jax.value_and_grad(score)([where(attack) for where in wheres])


def named(name):
    return {leaf: where for (of, leaf), where in LEAVES.items() if of == name}


@pytest.mark.parametrize("name", ATTACKS)
def test_derivatives_in_leaves_are_those_of_differences(name):
    (attack, z), wheres = attack_at(name), named(name)
    wanted = tuple(wheres.values())
    found = value_and_slopes(attack, wanted, z)[1]
    rng = np.random.default_rng(7)
    for (leaf, where), ours in zip(wheres.items(), found, strict=True):
        at = where(attack)
        along = np.asarray(rng.choice([-1.0, 1.0], at.shape))  # no small steps, all noise
        h = 4e-5

        def at_step(t, where=where, at=at, along=along):
            there = jax.device_put(np.asarray(at) + t * along)
            return value_and_slopes(eqx.tree_at(where, attack, there), wanted, z)[0]

        near, far = (at_step(t) - at_step(-t) for t in (h, 2 * h))
        expected = float(8 * near - far) / (12 * h)
        assert abs(expected) > 1e-5, leaf
        np.testing.assert_allclose(np.sum(ours * along), expected, rtol=1e-8, err_msg=leaf)


@pytest.mark.parametrize(("name", "leaf"), LEAVES)
def test_an_attack_with_another_leaf_is_the_attack_composed_with_it(name, leaf):
    (attack, z), where = attack_at(name), LEAVES[name, leaf]
    if leaf == "degree":
        other = where(attack) + 1
    else:
        other = where(attack) * RNG.uniform(1.05, 1.2, where(attack).shape)
    moved = eqx.tree_at(where, attack, other)
    anew = compose(moved.learner, moved.reach, moved.goal, moved.data)
    (ours, slope), (theirs, expected) = (jax.value_and_grad(a)(z) for a in (moved, anew))
    assert abs(float(ours) - float(jax.value_and_grad(attack)(z)[0])) > 1e-6
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    np.testing.assert_allclose(slope, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.slow
def test_whatever_climbs_or_certifies_sees_the_replaced_leaf():
    attack, z = attack_at("wide logistic")
    where = LEAVES["wide logistic", "clean rows"]
    moved = eqx.tree_at(where, attack, attack.data.x + 0.3)
    anew = compose(moved.learner, moved.reach, moved.goal, moved.data)
    np.testing.assert_allclose(certify(moved, z).gradient, certify(anew, z).gradient, rtol=1e-9)
    ours, theirs = (maximize(a, z, steps=5) for a in (moved, anew))
    np.testing.assert_allclose(ours.history, theirs.history, rtol=1e-9)


def arrays(tree):
    """Which arrays, not what they hold."""
    return {id(leaf) for leaf in jax.tree.leaves(tree) if eqx.is_array(leaf)}


KEY, METHOD = jax.random.key(2), (Newton(max_steps=7), Implicit(Dense()))
CHANGES = {
    "using": lambda attack, z: attack.using(*METHOD),
    "keyed": lambda attack, z: attack.keyed(KEY),
    "prepared": lambda attack, z: attack.prepared(),
    "pinned": lambda attack, z: attack.pinned(z),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_attack_keeps_all_else(name):
    attack, z = attack_at("ridge")
    found = []
    if name != "keyed":
        attack = dataclasses.replace(attack, key=KEY)
    jax.eval_shape(lambda z: found.append(CHANGES[name](attack, z)), z)  # compiles nothing
    (changed,) = found
    assert changed.key is KEY
    for part in ("reach", "data", "goal", "learner"):
        assert arrays(getattr(attack, part)) <= arrays(getattr(changed, part)), part
    if name == "keyed":
        assert changed.memo is attack.memo
    if name == "using":
        assert eqx.tree_equal((changed.solver, changed.derivative), METHOD)


def test_what_was_prepared_is_used_while_nothing_was_replaced():
    attack, _ = attack_at("rbf")  # a linear kernel on so few features prepares nothing

    def known(attack):
        learner = attack.prepared().learner
        assert isinstance(learner, SVM)
        return learner.known is not None

    assert known(attack)
    assert known(eqx.tree_at(lambda a: a.data.weight, attack, DATA.weight * 2))
    assert not known(eqx.tree_at(lambda a: a.data.x, attack, DATA.x + 0))
