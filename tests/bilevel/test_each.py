"""Solving a stack of problems: as each alone, and its derivatives against central differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from central import direction, slope

from bilevel import Data, SolveError, argmin
from bilevel.learners import SVM, Logistic
from bilevel.results import MAX_STEPS
from bilevel.solvers import Newton
from bilevel.solvers.each import Each, Stack

MEMBERS, N, D = 3, 12, 2
RNG = np.random.default_rng(0)
Y = jnp.asarray(np.where(np.arange(N) % 2, 1.0, -1.0))
X = jnp.asarray(RNG.normal(size=(MEMBERS, N, D))) + 0.4 * Y[None, :, None]
WEIGHT = jnp.asarray(RNG.uniform(0.5, 2, (MEMBERS, N)))
LEARNERS = {"newton": Logistic(0.1, solver=Newton()), "active set": SVM(0.5)}
every_learner = pytest.mark.parametrize(
    "name", ["newton", pytest.param("active set", marks=pytest.mark.slow)]
)


@eqx.filter_jit
def stack(learner, x, weight=WEIGHT):
    return Stack(eqx.filter_vmap(lambda x, w: learner.training(Data(x, Y, w)).problem)(x, weight))


@eqx.filter_jit
def solve(learner, x):
    return argmin(stack(learner, x), solver=Each(learner.solver), throw=False)


def alone(learner, x):
    def one(x, weight):
        return argmin(
            learner.training(Data(x, Y, weight)).problem, solver=learner.solver, throw=False
        ).value

    members = [eqx.filter_jit(one)(x[i], WEIGHT[i]) for i in range(MEMBERS)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)


def assert_same(a, b, rtol=1e-12):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-13), a, b)


@every_learner
def test_each_is_as_alone(name):
    learner = LEARNERS[name]
    solution = solve(learner, X)
    assert_same(solution.value, alone(learner, X))
    assert solution.result.shape == ()
    assert solution.stats["steps"].shape == (MEMBERS,)


def total(learner):
    def decisions(x, weight, value):
        return learner.training(Data(x, Y, weight)).trained(value).model.decision(x)

    def function(x):
        members = eqx.filter_vmap(decisions)(x, WEIGHT, solve(learner, x).value)
        weights = [np.sin(1.0 + np.arange(leaf.size)) for leaf in jax.tree.leaves(members)]
        leaves = jax.tree.leaves(members)
        return sum(jnp.sum(jnp.tanh(a.ravel()) * w) for a, w in zip(leaves, weights, strict=True))

    return function


@every_learner
def test_both_modes_of_differentiation_are_central_differences(name):
    function = total(LEARNERS[name])
    along = direction(X, seed=1)
    both = jax.jit(jax.value_and_grad(function))
    backward = np.sum(both(X)[1] * along)
    forward = jax.jit(lambda x, t: jax.jvp(function, (x,), (t,))[1])(X, along)
    np.testing.assert_allclose(forward, backward, rtol=1e-12)
    expected = slope(lambda x: both(x)[0], X, along, step=5e-4)
    assert abs(expected) > 1e-2
    np.testing.assert_allclose(backward, expected, rtol=1e-8)


@pytest.mark.slow
def test_second_derivatives_and_vmap():
    function = total(LEARNERS["newton"])
    along = direction(X, seed=2)

    def rate(t):
        return jax.jvp(function, (X + t * along,), (along,))[1]

    second = jax.jit(jax.grad(rate))(0.0)
    h, rates = 1e-4, jax.jit(jax.vmap(rate))
    low, high = rates(jnp.array([-h, h]))
    assert abs(float(second)) > 1e-3
    np.testing.assert_allclose(second, (high - low) / (2 * h), rtol=1e-5)


@pytest.mark.slow
def test_on_an_accelerator_it_is_a_vmap_with_the_same_answer(monkeypatch):
    learner = LEARNERS["newton"]
    expected = solve(learner, X).value
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    x = jnp.concatenate([X, X])  # another shape: nothing compiled is used again
    weight = jnp.concatenate([WEIGHT, WEIGHT])
    found = argmin(stack(learner, x, weight), solver=Each(learner.solver)).value
    assert_same(found[:MEMBERS], expected)


def test_one_that_fails_is_told_and_a_warm_start_is_a_stack():
    learner = LEARNERS["newton"]
    good = solve(learner, X)
    again = argmin(stack(learner, X), good.warm, solver=Each(learner.solver))
    assert int(jnp.max(again.stats["steps"])) < int(jnp.min(good.stats["steps"]))
    hasty = Each(Newton(max_steps=2))
    assert int(argmin(stack(learner, X), solver=hasty, throw=False).result) == MAX_STEPS
    with pytest.raises(SolveError, match="max_steps"):
        argmin(stack(learner, X), solver=hasty)


def test_slack_is_of_every_member():
    learner = LEARNERS["active set"]
    problem = stack(learner, X)
    solver = Each(learner.solver)

    @eqx.filter_jit
    def slack(problem):
        point = solver.run(problem, solver.cold(problem))
        return solver.slack(problem, point.unknowns, point.frozen)

    assert slack(problem).shape == (MEMBERS * N,)
    assert solver.symmetric
