"""RONI: the sets that rows are tried with, impacts by hand, and what is rejected."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel import Data
from bilevel.learners import Logistic, Ridge
from bilevel.losses import Squares
from bilevel.results import CONVERGED, MAX_STEPS
from bilevel.solvers import Newton
from defenses import Roni
from defenses._hash import row_hash
from defenses.sanitise._sets import told_apart
from defenses.sanitise.roni import errors

N, D, DRAWS, TRAIN, VALIDATION = 60, 3, 3, 6, 10
RNG = np.random.default_rng(0)
Y = np.where(RNG.random(N) < 0.4, 1.0, -1.0)
X = RNG.normal(size=(N, D)) + 0.8 * Y[:, None]
BAD = np.array([3, 17, 31, 44])
X[BAD], Y[BAD] = -3.0, 1.0  # equal rows that do harm
UNUSED = 9
WEIGHT = np.where(np.arange(N) == UNUSED, 0.0, RNG.uniform(0.5, 2, N))
WEIGHT[BAD] = 1
DATA = Data(X, Y, WEIGHT)


def roni(learner, **settings) -> Roni:
    return Roni(learner, DRAWS, TRAIN, VALIDATION, **settings)


@eqx.filter_jit
def inspect(defense, data):
    return defense.inspect(data)


@eqx.filter_jit
def sets(defense, data, seed=0):
    return defense._others(told_apart(row_hash(data.x, data.y, seed), data.weight > 0), data)


def sets_of_all(defense, data) -> np.ndarray:
    return np.stack([np.asarray(sets(defense, data, seed)) for seed in range(DRAWS)])


def test_sets_are_other_rows_each_once_and_hold_both_classes():
    seen = np.asarray(sets(roni(Ridge()), DATA))
    assert seen.shape == (N, TRAIN + VALIDATION)
    used = np.delete(np.arange(N), UNUSED)
    for i in used:
        assert len(set(seen[i]) | {i}) == TRAIN + VALIDATION + 1
        assert UNUSED not in seen[i]
        assert set(Y[seen[i, :TRAIN]]) == {-1.0, 1.0}
    # next to each other, the equal rows would be tried with each other six times
    assert np.sum(np.isin(seen[BAD, :TRAIN], BAD)) < 4
    times = np.bincount(seen[used].ravel(), minlength=N)
    assert np.std(times[used]) < 2  # every row serves as often, but for exchanges


def test_a_rare_class_is_in_every_set():
    y = np.where(np.isin(np.arange(N), [5, 40, 41]), 1.0, -1.0)
    seen = np.asarray(sets(roni(Ridge()), Data(X, y)))
    for i in range(N):
        assert len(set(seen[i]) | {i}) == TRAIN + VALIDATION + 1
        assert np.sum(y[seen[i, :TRAIN]] > 0) >= 1


@pytest.mark.parametrize("judge", [errors, Squares()], ids=["errors", "squares"])
def test_impacts_are_those_of_training_with_and_without(judge):
    learner = Ridge(0.1)
    defense = roni(learner, judge=judge)
    seen, others = inspect(defense, DATA), sets_of_all(defense, DATA)
    some = np.append(BAD, [0, 1, 2, 20, 40, 59])
    impacts = np.zeros((DRAWS, len(some)))
    fit = eqx.filter_jit(lambda data, x: learner.fit(data, throw=False).model.decision(x))
    for draw, at in np.ndindex(DRAWS, len(some)):
        i = some[at]
        rows, held = others[draw, i, :TRAIN], others[draw, i, TRAIN:]
        losses = []
        for chosen in (rows, np.append(rows, i)):
            f = fit(Data(X[chosen], Y[chosen], WEIGHT[chosen]), DATA.x[held])
            losses.append(np.average(judge(DATA.y[held], f), weights=WEIGHT[held]))
        impacts[draw, at] = losses[1] - losses[0]
    score = impacts.mean(axis=0)
    score[: len(BAD)] = score[: len(BAD)].mean()  # equal rows are judged together
    np.testing.assert_allclose(seen.score[some], score, rtol=1e-8, atol=1e-12)
    np.testing.assert_array_equal(seen.kept[some], score <= 1e-12)
    assert set(np.asarray(seen.kept[some])) == {True, False}
    assert int(seen.trainings) == 2 * DRAWS * N


@pytest.mark.parametrize("learner", [Ridge(0.1), Logistic(0.05)], ids=["ridge", "logistic"])
def test_rows_that_do_harm_go_and_the_order_of_rows_is_nothing(learner):
    clean = np.isin(np.arange(N), BAD, invert=True)
    tolerance = jnp.quantile(
        inspect(roni(learner), eqx.tree_at(lambda d: d.weight, DATA, WEIGHT * clean)).score[
            clean & (WEIGHT > 0)
        ],
        0.9,
    )
    defense = roni(learner, tolerance=tolerance)
    seen = inspect(defense, DATA)
    assert not np.any(np.asarray(seen.kept)[BAD])
    assert np.sum(np.asarray(seen.kept)[clean]) > 0.7 * N
    order = RNG.permutation(N)
    moved = inspect(defense, Data(X[order], Y[order], WEIGHT[order]))
    np.testing.assert_allclose(moved.score, seen.score[order], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(moved.kept, seen.kept[order])


def test_seeds_draw_other_sets():
    one, other = (inspect(roni(Ridge(0.1), seed=seed), DATA).score for seed in (0, 1))
    assert float(jnp.nanmax(jnp.abs(one - other))) > 1e-3


def test_the_derivative_is_that_of_the_learner_on_the_rows_kept():
    learner = Ridge(0.1)
    defense = roni(learner)
    kept = np.asarray(inspect(defense, DATA).kept)
    x_test = jnp.asarray(RNG.normal(size=(5, D)))

    def loss(x, learner, weight):
        data = eqx.tree_at(lambda d: (d.x, d.weight), DATA, (x, weight))
        return jnp.sum(learner.fit(data, throw=False).model.decision(x_test) ** 2)

    defended = eqx.filter_jit(jax.grad(loss))(DATA.x, defense, DATA.weight)
    plain = eqx.filter_jit(jax.grad(loss))(DATA.x, learner, jnp.where(kept, DATA.weight, 0))
    np.testing.assert_allclose(defended, plain, rtol=1e-10)
    np.testing.assert_array_equal(defended[~kept], 0)
    assert float(jnp.max(jnp.abs(defended))) > 1e-3


def test_trainings_that_fail_are_a_failure_of_the_whole():
    seen = inspect(roni(Logistic(0.001, solver=Newton(max_steps=1))), DATA)
    assert int(seen.result) == MAX_STEPS
    assert int(inspect(roni(Logistic(0.001)), DATA).result) == CONVERGED


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Roni(Ridge(), draws=0), "^draws, train, validation: got 0, 20, 50"),
        (lambda: Roni(Ridge(), train=1), "^draws, train, validation: got 5, 1, 50"),
        (lambda: Roni(Ridge()).fit(DATA), r"^weight: got 59 rows .* expected 71 at least"),
        (lambda: roni(Logistic()).fit(Data(X, 2 * Y)), "^y: got labels"),
    ],
)
def test_bad_input_is_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
