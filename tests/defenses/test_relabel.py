"""Sanitised labels against scikit-learn's neighbours, and aware attackers against brute force."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from attacks import FlipLabels, World, flip_greedy, indiscriminate
from bilevel import Data
from bilevel._rounding import Noise, rounded
from bilevel.learners import SVM, Logistic, Ridge
from bilevel.losses import Logistic as LogisticLoss
from defenses import Relabel, SoftRelabel
from defenses.sanitise import _votes
from defenses.sanitise._quotas import by_quota

N, D, K = 24, 3, 4
RNG = np.random.default_rng(0)
Y = np.where(np.arange(N) % 2, 1.0, -1.0)
X = RNG.normal(size=(N, D)) + 0.9 * Y[:, None]
TRAIN, ONES = Data(X, Y), jnp.ones(N)
SIDES = np.where(np.arange(40) % 2, 1.0, -1.0)
HELD_OUT = Data(RNG.normal(size=(40, D)) + 0.9 * SIDES[:, None], SIDES)
GOAL = indiscriminate(HELD_OUT.x, HELD_OUT.y, LogisticLoss())
LEARNER = Ridge(0.1)
PUBLISHED = {"agreement": 0.5, "balance": 0.0}


@eqx.filter_jit
def labels(defense, data):
    return defense.inspect(data).data.y


@eqx.filter_jit
def soft(defense, data):
    return defense.inspect(data)


@eqx.filter_jit
def value(defense, data):
    return GOAL.score(defense.fit(data, throw=False).model, World(data))


def voted(x, y, k, agreement, tie):
    """One row after the other, by scikit-learn's neighbours."""
    near = NearestNeighbors(n_neighbors=k).fit(x).kneighbors(return_distance=False)
    new = y.copy()
    for i, others in enumerate(near):
        positive = np.sum(y[others] > 0)
        winner = np.sign(2 * positive - k) or tie or y[i]
        if max(positive, k - positive) / k >= agreement:
            new[i] = winner
    return new


@pytest.mark.parametrize("agreement", [0.5, 0.75, 1.0])
@pytest.mark.parametrize("tie", [-1.0, 0.0, 1.0])
def test_labels_are_those_of_a_vote(agreement, tie):
    y = np.where(RNG.random(N) < 0.25, -Y, Y)
    seen = np.asarray(labels(Relabel(LEARNER, K, agreement, tie, balance=0), Data(X, y)))
    np.testing.assert_array_equal(seen, voted(X, y, K, agreement, tie))
    assert 0 < np.sum(seen != y) < N


def test_equal_rows_of_both_labels_and_any_order():
    """Twelve places, two rows at each, so that distances tie everywhere."""
    x = np.repeat(RNG.integers(0, 3, size=(12, D)).astype(float), 2, axis=0)
    order = RNG.permutation(N)
    seen = np.asarray(labels(Relabel(LEARNER, K, **PUBLISHED), Data(x, Y)))
    again = np.asarray(labels(Relabel(LEARNER, K, **PUBLISHED), Data(x[order], Y[order])))
    np.testing.assert_array_equal(again, seen[order])
    score = Relabel(LEARNER, K, **PUBLISHED).inspect(Data(x, Y)).score
    moved = Relabel(LEARNER, K, **PUBLISHED).inspect(Data(x[order], Y[order])).score
    np.testing.assert_allclose(moved, score[order], rtol=1e-12)


def test_distances_that_differ_by_rounding_tie():
    """Whole numbers, and the same rows in units in which hardly a distance is exact."""
    x = np.random.default_rng(1).integers(0, 3, size=(N, D)).astype(float)
    defense = Relabel(LEARNER, K, **PUBLISHED)
    seen = np.asarray(labels(defense, Data(x, Y)))
    np.testing.assert_array_equal(labels(defense, Data(0.1 * x + 1 / 3, Y)), seen)


def test_equal_votes_keep_their_label_by_quota_in_any_order():
    """Twelve places, two rows at each: many rows have the same share of votes against them."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.integers(0, 2, size=(12, D)).astype(float), 2, axis=0)
    y = np.where(rng.random(N) < 0.4, -Y, Y)
    defense = Relabel(LEARNER, K, 0.5, balance=0.95)
    seen, free = (
        np.asarray(labels(d, Data(x, y))) for d in (defense, Relabel(LEARNER, K, **PUBLISHED))
    )
    assert 0 < np.sum(seen != y) < np.sum(free != y)  # the quota decides
    for order in (np.arange(N)[::-1], rng.permutation(N)):
        np.testing.assert_array_equal(labels(defense, Data(x[order], y[order])), seen[order])


def test_rows_of_weight_zero_have_no_vote():
    weight = np.where(np.arange(N) < 16, 1.0, 0.0)
    seen = labels(Relabel(LEARNER, K, **PUBLISHED), Data(X, Y, weight))[:16]
    np.testing.assert_array_equal(seen, voted(X[:16], Y[:16], K, 0.5, 0))


@pytest.mark.parametrize("soft", [False, True])
def test_a_whole_flip_by_weights_is_the_flip(soft):
    """A flip as `FlipLabels` mixes it, by a second row, is that of the label."""
    defense = SoftRelabel(LEARNER, K) if soft else Relabel(LEARNER, K)
    reach = FlipLabels(np.arange(N), 4)
    z = jnp.zeros(N).at[jnp.asarray([1, 6, 7, 20])].set(1)
    flipped = value(defense, reach.flipped(z, TRAIN))
    np.testing.assert_allclose(value(defense, reach.mix(z, TRAIN)), flipped, rtol=1e-12)
    assert abs(float(value(defense, TRAIN)) - float(flipped)) > 1e-3


@pytest.mark.slow
def test_attackers_who_know_retrain_on_the_vote():
    """Greedy flips: the best of all in the first round, the plain learner on sanitised labels."""
    defense = Relabel(LEARNER, K, **PUBLISHED)
    flips = flip_greedy(TRAIN, 3, HELD_OUT, defense)
    tried = []
    for i in range(N):
        y = Y.copy()
        y[i] *= -1
        tried.append(float(value(LEARNER, Data(X, voted(X, y, K, 0.5, 0)))))
    np.testing.assert_allclose(flips.values[0], max(tried), rtol=1e-10)
    sanitised = labels(defense, flips.flip(TRAIN))
    np.testing.assert_allclose(flips.values[-1], value(LEARNER, Data(X, sanitised)), rtol=1e-10)
    unaware = flip_greedy(TRAIN, 3, HELD_OUT, LEARNER).flip(TRAIN)
    assert float(flips.values[-1]) > float(value(defense, unaware))


def test_what_a_learner_knows_of_the_labels_is_not_used():
    y = Y.copy()
    y[[0, 1, 2]] *= -1
    defense, data = Relabel(SVM(0.5), K, **PUBLISHED), Data(X, y)
    x = jnp.asarray(HELD_OUT.x)
    prepared = defense.prepare(data).fit(data).model.decision(x)
    plain = SVM(0.5).fit(Data(X, voted(X, y, K, 0.5, 0))).model.decision(x)
    np.testing.assert_allclose(prepared, plain, rtol=1e-10)


def central(function, at, along, h=1e-4):
    moved = [float(function(at + k * h * along)) for k in (-2, -1, 1, 2)]
    return (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * h)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("leaf", ["x", "weight"])
def test_the_derivative_in_rows_and_weights(soft, leaf):
    """Weights of whole rows: the k-th nearest is the same for small changes of them."""
    learner = Logistic(0.05)
    defense = SoftRelabel(learner, 2 * K + 1) if soft else Relabel(learner, 2 * K + 1)
    at = {"x": jnp.asarray(X), "weight": jnp.asarray(RNG.uniform(0.9, 1.4, N))}

    def loss(moved):
        return value(defense, Data(**(at | {leaf: moved}), y=Y))

    both = jax.jit(jax.value_and_grad(loss))
    along = RNG.normal(size=at[leaf].shape) / np.sqrt(at[leaf].size)
    expected = central(lambda moved: both(moved)[0], np.asarray(at[leaf]), along)
    assert abs(expected) > 1e-5
    np.testing.assert_allclose(np.sum(both(at[leaf])[1] * along), expected, rtol=1e-8)


def test_votes_have_a_derivative_in_labels_only_if_soft():
    @eqx.filter_jit
    @jax.value_and_grad
    def both(y, defense):
        return value(defense, eqx.tree_at(lambda d: d.y, TRAIN, y))

    along = RNG.normal(size=N)
    soft = SoftRelabel(Logistic(0.05), K)
    expected = central(lambda y: both(jnp.asarray(y), soft)[0], np.asarray(TRAIN.y), along)
    assert abs(expected) > 1e-3
    got = np.sum(both(TRAIN.y, soft)[1] * along)
    np.testing.assert_allclose(got, expected, rtol=1e-8)
    hard = both(TRAIN.y, Relabel(Logistic(0.05), K, 0.5, tie=1.0, balance=0))[1]
    np.testing.assert_array_equal(hard, 0)


def test_a_row_counts_by_the_lead_of_its_label():
    """Of k = 4 votes; half of one goes to the label that wins a tie, or to the row's own."""
    agreement = 0.75
    y = np.where(RNG.random(N) < 0.25, -Y, Y)
    near = NearestNeighbors(n_neighbors=K).fit(X).kneighbors(return_distance=False)
    lead = np.mean(y[near], axis=1)
    for tie in (0.0, -1.0):
        seen = SoftRelabel(LEARNER, K, agreement, tie, balance=0).inspect(Data(X, y)).data
        balance = lead + (2 * agreement - 1) * y + 0.5 / K * (tie or y)
        np.testing.assert_allclose(seen.weight, np.abs(balance), rtol=1e-12)
        np.testing.assert_array_equal(seen.y, np.where(balance < 0, -1, 1))


def test_tallies_are_those_of_all_pairs_whatever_the_blocks(monkeypatch):
    ballots = jnp.asarray(RNG.normal(size=(N, 2)))

    def tallied():
        def total(b):
            return jnp.sum(_votes.tallies(jnp.asarray(X), ONES, K, b) ** 2)

        return jax.jit(jax.value_and_grad(total))(ballots)

    whole = tallied()
    monkeypatch.setattr(_votes, "PAIRS", 5 * N)
    for one, other in zip(tallied(), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    numpy = _votes.tallies(X, np.ones(N), K, np.asarray(ballots))
    np.testing.assert_allclose(np.sum(numpy**2), whole[0], rtol=1e-12)


@pytest.mark.parametrize("defense", [Relabel(LEARNER), SoftRelabel(LEARNER)])
def test_votes_of_many_rows_need_little_memory(defense):
    """10,000 rows: all pairs would be 800 MB; with the derivative in the weights."""
    shapes = jax.ShapeDtypeStruct((10_000, 2), float), *[jax.ShapeDtypeStruct((10_000,), float)] * 2

    def lead(x, y, weight):
        return jnp.sum(defense.inspect(Data(x, y, weight)).data.weight ** 2)

    needed = jax.jit(jax.grad(lead, argnums=2)).lower(*shapes).compile().memory_analysis()
    assert needed is not None
    assert needed.temp_size_in_bytes < 100e6


def test_it_maps_over_data_sets():
    defense = Relabel(LEARNER, K, **PUBLISHED)
    signs = jnp.asarray(np.where(RNG.random((3, N)) < 0.2, -Y, Y))
    both = jax.jit(jax.vmap(lambda y: defense.inspect(Data(X, y)).data.y))(signs)
    for y, seen in zip(signs, both, strict=True):
        np.testing.assert_array_equal(seen, voted(X, np.asarray(y), K, 0.5, 0))


def test_it_says_how_many_labels_it_changed():
    y = Y.copy()
    y[:3] *= -1
    seen = Relabel(LEARNER, K, **PUBLISHED).inspect(Data(X, y))
    changed = int(np.sum(voted(X, y, K, 0.5, 0) != y))
    assert f"relabelled {changed}" in seen.message(Data(X, y))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Relabel(LEARNER, k=0), "^k: got 0"),
        (lambda: Relabel(LEARNER, agreement=0.0), r"^agreement: got 0.0, .* votes in \(0, 1\]"),
        (lambda: SoftRelabel(LEARNER, tie=2.0), "^tie: got 2.0"),
    ],
)
def test_bad_input_is_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_certificate_that_rounds_sums_coarsely_moves_no_row():
    """Rows at a radius or at a floor are compared with sums of their own distance or score: half
    of the votes changed, and bounds of `SoftRelabel` were 1e9 times the error.
    """
    noise = Noise(jnp.uint32(1), jnp.asarray(1024 * np.finfo(float).eps))
    x, weight = jnp.asarray(RNG.normal(size=(12, 2))), jnp.ones(12)
    near = _votes.nearest(x, weight, 3)
    assert int(jnp.sum(near)) == 36
    found = rounded(lambda x: _votes.nearest(x, weight, 3), x, noise)
    np.testing.assert_array_equal(found, near)

    score = jnp.linspace(0.1, 0.9, 12)
    group, kept = jnp.repeat(jnp.asarray([-1.0, 1.0]), 6), jnp.arange(12) < 6
    kept_by_quota = by_quota(score, kept, weight > 0, group, 0.5)
    assert int(jnp.sum(kept_by_quota)) == 9
    found = rounded(lambda s: by_quota(s, kept, weight > 0, group, 0.5), score, noise)
    np.testing.assert_array_equal(found, kept_by_quota)


def test_rows_of_weight_zero_fill_no_quota_of_a_soft_vote():
    """All neighbours contradict two rows, which their quota keeps: whatever labels have the rows
    that do not count.
    """
    x = np.concatenate([0.3 * RNG.normal(size=(20, 2)), [[0.9, 0.0], [3.0, 0.0]]])
    x = np.concatenate([x, 0.3 * RNG.normal(size=(4, 2))])
    y = np.concatenate([np.ones(20), -np.ones(2)])
    weight = np.append(np.ones(22), np.zeros(4))
    found = [
        soft(SoftRelabel(LEARNER, 5), Data(x, np.append(y, unused * np.ones(4)), weight))
        for unused in (1.0, -1.0)
    ]
    for seen in found:
        np.testing.assert_array_equal(seen.data.y[:22], y)
        np.testing.assert_allclose(seen.data.weight, found[0].data.weight, rtol=1e-12)
        np.testing.assert_array_equal(seen.data.weight[22:], 0)
    assert float(found[0].data.weight[20]) == pytest.approx(0.1)
