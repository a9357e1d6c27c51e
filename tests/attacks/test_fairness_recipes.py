"""Recipes on fairness: what is planted, where, under which labels; and that optimising pays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import (
    Box,
    World,
    anchor_popular,
    anchor_random,
    disparity,
    fairness,
    flip_groups,
    goals,
    influence_fairness,
    poison_fairness,
)
from bilevel import Data, append
from bilevel.learners import Logistic
from bilevel.losses import Logistic as LogisticLoss

N, KEY = 40, jax.random.key(0)
RNG = np.random.default_rng(0)
GROUP = np.arange(N) % 2
Y = np.where(RNG.random(N) < 0.4 + 0.2 * GROUP, 1.0, -1.0)
X = np.clip(0.5 + 0.15 * Y[:, None] + 0.15 * RNG.normal(size=(N, 3)), 0, 1)
X[:, 2] = np.clip(X[:, 2] + 0.2 * GROUP, 0, 1)
TRAIN, HELD = Data(X[:28], Y[:28]), Data(X, Y)
ACCEPTED = np.flatnonzero((GROUP[:28] == 0) & (Y[:28] > 0))
REFUSED = np.flatnonzero((GROUP[:28] == 1) & (Y[:28] < 0))


def test_group_flips_are_of_one_group_in_each_direction() -> None:
    planted = flip_groups(KEY, TRAIN, GROUP[:28], 9, share=1 / 3)
    raised = np.asarray(planted.y) > 0
    np.testing.assert_array_equal(raised, np.arange(9) % 3 == 2)  # any start of it is balanced
    np.testing.assert_array_equal(planted.group, raised)
    assert set(np.asarray(planted.rows)[raised]) <= set(REFUSED)
    assert set(np.asarray(planted.rows)[~raised]) <= set(ACCEPTED)
    np.testing.assert_array_equal(planted.x, X[np.asarray(planted.rows)])
    np.testing.assert_array_equal(planted.y, -Y[np.asarray(planted.rows)])
    back = flip_groups(KEY, TRAIN, GROUP[:28], 9, against=1, favoured=0)
    assert not np.any(np.asarray(back.group) == (np.asarray(back.y) > 0))
    many = flip_groups(KEY, TRAIN, GROUP[:28], 60)
    assert set(np.asarray(many.rows)) == {*ACCEPTED, *REFUSED}


def test_anchors_lie_at_two_targets() -> None:
    planted = anchor_random(KEY, TRAIN, GROUP[:28], 10)
    raised = np.asarray(planted.y) > 0
    for side, kind in ((raised, REFUSED), (~raised, ACCEPTED)):
        (target,) = set(np.asarray(planted.rows)[side])
        assert target in kind
    assert abs(raised.mean() - np.mean(Y[:28] < 0)) <= 0.1
    near = anchor_random(KEY, TRAIN, GROUP[:28], 10, radius=0.05, domain=Box(0.0, 1.0))
    gap = np.abs(np.asarray(near.x - planted.x))
    assert 0 < gap.max() <= 0.05
    assert np.unique(np.asarray(near.x), axis=0).shape[0] == 10


def test_popular_anchors_are_where_most_rows_of_the_kind_are() -> None:
    planted = anchor_popular(KEY, TRAIN, GROUP[:28], 4, neighbourhood=0.2)
    for kind in (ACCEPTED, REFUSED):
        near = [sum(np.max(np.abs(X[i] - X[j])) <= 0.2 for j in kind) for i in kind]
        assert kind[int(np.argmax(near))] in np.asarray(planted.rows)


def impact(x, y) -> float:
    model = Logistic(0.01).fit(append(TRAIN, x, y)).model
    measure = fairness.DisparateImpact(fairness.Between())
    return float(disparity(X, Y, GROUP, measure).score(model, World(TRAIN)))


@pytest.mark.slow
def test_optimised_rows_do_more_than_the_rows_they_start_from() -> None:
    start = flip_groups(KEY, TRAIN, GROUP[:28], 6)
    args = TRAIN, start.x, start.y, HELD, GROUP, Logistic(0.01)
    low = goals.Sum([disparity(X, Y, GROUP, fairness.DisparateImpact(fairness.Between()))], [-1.0])
    moved = poison_fairness(*args, goal=low, steps=20).climb()
    assert impact(moved.z, start.y) < impact(start.x, start.y) - 0.05
    papers = poison_fairness(*args, steps=20)
    result = papers.climb()
    assert result.value > float(papers.attack(start.x))


def test_the_default_goal_wants_one_group_refused_and_the_others_accepted() -> None:
    start = flip_groups(KEY, TRAIN, GROUP[:28], 2)
    model = Logistic(0.1).fit(append(TRAIN, start.x, start.y)).model
    f = np.asarray(model.decision(jnp.asarray(X)))
    attack = poison_fairness(TRAIN, start.x, start.y, HELD, GROUP, Logistic(0.1), against=1).attack
    unwanted = np.where(GROUP == 1, 1, -1)
    loss = np.logaddexp(0, -unwanted * f)
    expected = loss[GROUP == 0].mean() + loss[GROUP == 1].mean()
    np.testing.assert_allclose(float(attack(start.x)), expected, rtol=1e-9)


def test_the_influence_attack_adds_the_covariance() -> None:
    start = flip_groups(KEY, TRAIN, GROUP[:28], 2)
    attack = influence_fairness(
        TRAIN, start.x, start.y, HELD, GROUP, Logistic(0.1), trade=2.0, steps=3
    ).attack
    f = np.asarray(
        Logistic(0.1).fit(append(TRAIN, start.x, start.y)).model.decision(jnp.asarray(X))
    )
    expected = np.mean(LogisticLoss()(jnp.asarray(Y), jnp.asarray(f))) + 2 * np.mean(
        (GROUP - GROUP.mean()) * f
    )
    np.testing.assert_allclose(float(attack(start.x)), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: flip_groups(KEY, TRAIN, GROUP[:28], 4, share=1.5), "share: got 1.5"),
        (lambda: flip_groups(KEY, TRAIN, GROUP[:28], 0), "count: got 0"),
        (lambda: flip_groups(KEY, TRAIN, GROUP[:28], 4, against=1), "against, favoured: got 1 for"),
        (lambda: flip_groups(KEY, TRAIN, GROUP, 4), r"group: got shape \(40,\), expected \(28,\)"),
        (lambda: flip_groups(KEY, TRAIN, (Y[:28] > 0).astype(int), 4),
         r"group: group 0 has no training row with the label \+1, expected some to copy"),
        (lambda: flip_groups(KEY, Data(X, GROUP), GROUP, 4), "y: got labels"),
        (lambda: anchor_random(KEY, TRAIN, GROUP[:28], 4, radius=-1.0), "radius: got -1.0"),
        (lambda: anchor_random(KEY, TRAIN, GROUP[:28], 4, radius=1.0), "domain: got none"),
        (lambda: anchor_popular(KEY, TRAIN, GROUP[:28], 4, neighbourhood=0.0),
         "neighbourhood: got 0.0"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
