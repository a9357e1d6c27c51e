"""Edges of sanitisers: margins, ties, weights and rows that do not count, on tiny arrays."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel import Data
from defenses import _arguments
from defenses._held_out import HeldOut
from defenses.ensemble.votes import SoftVotingModel, VotingModel
from defenses.models import Plain
from defenses.sanitise._clusters import Clusters, _silhouette
from defenses.sanitise._dispute import mean_dispute, wrong_side
from defenses.sanitise._features import AbstractFeatureSanitiser, count
from defenses.sanitise._groups import members, require_labels
from defenses.sanitise._message import sentence
from defenses.sanitise._quotas import Quota, by_quota, first_of, floor_scores, quota
from defenses.sanitise._selection import first_lowest, kept_count, level, lowest, no_worse
from defenses.sanitise._votes import elected, nearest, shares
from defenses.sanitise.cluster_rules import NearOther
from defenses.sanitise.confident_learning import _distances, off_diagonal, one_hot_of
from defenses.sanitise.duplicates import first_copies
from defenses.sanitise.roni import errors, mean_impact
from defenses.sanitise.sever import least_along, round_share
from defenses.sanitise.trim import drawn_sets, promising
from defenses.scores import Distance, Neighbours, Residual, Slab

RNG = np.random.default_rng(8)


def test_doubts_are_as_far_as_a_threshold_or_a_rival_of_rows_that_count() -> None:
    own = np.eye(3)[[0, 0, 1, 1, 2, 2, 0]]
    used = np.array([1, 1, 1, 1, 1, 1, 0], bool)
    p = RNG.dirichlet(np.ones(3), 7)
    y, sure = own @ np.arange(3.0), np.array([1, 0, 1, 1, 0, 1, 1], bool)
    limit = np.array([p[used & (y == k), k].mean() for k in range(3)])
    top = np.sort(p, axis=1)
    expected = np.minimum(np.abs(p - limit).min(axis=1), top[:, -1] - top[:, -2])
    for rival in range(3):
        score = p[:, rival] - np.sum(own * p, axis=1)
        for label in range(3):
            inside = used & (y == label)
            kept, gone = score[inside & sure], score[inside & ~sure]
            if rival != label and kept.size and gone.size:
                middle = 0.5 * (kept.max() + gone.min())
                cut = np.where(inside, np.abs(score - middle), np.inf)
                expected = np.minimum(expected, cut)
    found = _distances(*map(jnp.asarray, (p, own, used, y, sure)))
    np.testing.assert_allclose(found[:6], expected[:6])


def test_thresholds_are_means_over_rows_that_count() -> None:
    p = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9], [0.01, 0.99]])
    own, used = np.eye(2)[[0, 0, 0, 1, 1, 0]], np.array([1, 1, 1, 1, 1, 0], bool)
    pruned, score = off_diagonal(p, own, used, np.arange(6))
    # Row 1 reaches no threshold (.533 and .8), row 2 that of the other class: of three rows one and
    # a half are doubted, which is rounded down.
    np.testing.assert_array_equal(pruned, [0, 0, 1, 0, 0, 0])
    np.testing.assert_allclose(score[:5], [-0.8, 0, 0.6, -0.4, -0.8])
    np.testing.assert_array_equal(one_hot_of(jnp.array([-1.0, 1, 1]), 2), [[1, 0], [0, 1], [0, 1]])
    np.testing.assert_array_equal(one_hot_of(jnp.array([2.0, 0]), 3), [[0, 0, 1], [1, 0, 0]])


def test_doubts_of_others_are_averaged_and_a_decision_of_zero_is_no() -> None:
    doubts = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    other = np.array([[0, 1, 0], [1, 1, 0], [1, 0, 0]], bool)
    np.testing.assert_allclose(mean_dispute(doubts, other), [0.5, 0.5, 0])
    y, f = jnp.array([-1.0, 1, 1, -1]), jnp.array([0.0, 0, 2, 3])
    np.testing.assert_array_equal(wrong_side(y, f), [0, 1, 0, 1])
    np.testing.assert_array_equal(errors(y, f), [1, 1, 0, 1])


def test_impacts_of_equal_rows_are_averaged_over_trials_that_were_made() -> None:
    impacts = np.array([[1.0, 2, 4, 8], [3.0, 5, 7, 9]])
    hashes = np.array([9, 3, 9, 1], np.uint32)
    made = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], bool)
    np.testing.assert_allclose(mean_impact(impacts, made, hashes), [8 / 3, 2, 8 / 3, 0])
    used = np.array([1, 1, 0, 1], bool)
    np.testing.assert_allclose(mean_impact(impacts, used, hashes), [2, 3.5, 2, 8.5])


def test_projections_are_in_units_of_the_largest_that_is_left() -> None:
    score, keep = np.array([4.0, 1, 9, 2, 50]), np.array([1, 1, 1, 1, 0], bool)
    least = quota(np.zeros(5), keep, 0.5, 0.8)
    left, along = least_along(score, keep, 2, np.arange(5), least)
    np.testing.assert_array_equal(left, [0, 1, 0, 1, 0])
    np.testing.assert_allclose(along[:4], [2, 0.5, 4.5, 1])
    np.testing.assert_array_equal(least_along(0 * score, keep, 2, np.arange(5), least)[1], 0)
    np.testing.assert_allclose([round_share(0.2, 4, k) for k in range(4)], [0.05, 0.1, 0.15, 0.2])


def test_a_quarter_of_the_restarts_goes_on_and_each_seed_draws_sets_of_its_own() -> None:
    losses = np.array([3.0, 1, np.nan, 2, 5, 4, 0.5, 9])
    np.testing.assert_array_equal(promising(losses), [6, 1])
    np.testing.assert_array_equal(promising(losses[:2]), [1])
    x, y, used = RNG.normal(size=(20, 2)), np.arange(20.0), np.arange(20) != 4
    first, second = (drawn_sets(x, y, used, 9, 3, seed) for seed in (0, 1))
    assert first.shape == (3, 20)
    assert np.all(first.sum(axis=1) == 9)
    assert not first[:, 4].any()
    assert not any(np.array_equal(a, b) for a in first for b in second)


def test_cells_are_of_the_spread_of_rows_that_count() -> None:
    x = np.array([[0.0, 5], [0.2, 5], [3.9, 5], [4.0, 5], [1000.0, 5], [0.2, 5]])
    y, used = np.array([1.0, 1, 1, 1, 1, 0]), np.array([1, 1, 1, 1, 0, 1], bool)
    # A deviation of 1.9 is rounded down to 1: cells of a half.
    keep, many = first_copies(x, y, used, 1, 0.5)
    np.testing.assert_array_equal(many[used], [2, 2, 2, 2, 1])
    assert keep[:2].sum() == keep[2:4].sum() == 1
    assert keep[5]
    assert not keep[4]
    keep, many = first_copies(x, y, used, 2, 0.01)
    np.testing.assert_array_equal(many[used], 1)
    np.testing.assert_array_equal(keep, used)


def test_a_quota_is_of_the_share_that_the_others_keep() -> None:
    group = np.array([0.0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    used = np.ones(11, bool)
    kept = np.array([1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0], bool)
    score = np.array([0.0, 1, 2, 3, 9, 0, 7, 5, 6, 4, 8])
    # Others keep 1/6, 4/7 and 5/9: of 5, 4 and 2 rows at least 1, ceil(1.83) and 1.
    floor = floor_scores(score, kept, used, group, 0.8)
    np.testing.assert_array_equal(floor, np.repeat([-np.inf, 5, 4], [5, 4, 2]))
    found = by_quota(score, kept, used, group, 0.8)
    np.testing.assert_array_equal(np.flatnonzero(found), [0, 1, 2, 3, 5, 7, 9])
    few = used & (np.arange(11) != 9)
    np.testing.assert_array_equal(floor_scores(score, kept, few, group, 0.8)[9:], 8)
    np.testing.assert_array_equal(first_of(group, few), np.repeat([0, 5, 9], [5, 4, 2]))
    least = quota(group, used, 0.5, 0.8).least
    expected = [np.ceil(0.4 * n / (1 - 0.2 * n / 11)) for n in (5, 4, 2)]
    np.testing.assert_array_equal(least, np.repeat(expected, [5, 4, 2]))


def test_rounding_and_rows_that_are_no_numbers_do_not_decide() -> None:
    score = np.array([1.0, np.nan, 3.0, 1.0 + 1e-15, -1e-15, np.inf])
    np.testing.assert_array_equal(level(score)[[0, 3, 4]], level(score)[[3, 0, 4]])
    assert level(score)[4] == 0
    assert level(np.zeros(2)).tolist() == [0, 0]
    among = np.array([1, 1, 1, 0, 1, 1], bool)
    np.testing.assert_array_equal(lowest(score, among, 3), [1, 0, 1, 0, 1, 0])
    tied = lowest(np.zeros(4), np.array([1, 1, 0, 1], bool), 2, np.array([5, 1, 0, 3]))
    np.testing.assert_array_equal(tied, [0, 1, 0, 1])
    assert [int(kept_count(np.ones(n, bool), 0.3)) for n in (1, 5, 10)] == [1, 4, 7]
    assert int(kept_count(np.ones(2, bool), 0.9)) == 1
    limit = np.array([0.3, 0.3 + 1e-15, 0.3 + 1e-13, np.nan])
    found = no_worse(limit, 0.3, np.array([1, 1, 1, 1], bool))
    np.testing.assert_array_equal(found, [1, 1, 0, 1])


def _one_by_one(score, among, tie, group, least, count):
    """(rows taken by the quotas, all rows taken): the rows in order, each by hand."""
    worth = np.where(np.isnan(score), np.inf, score)
    rows = [i for i in sorted(range(len(score)), key=lambda i: (worth[i], tie[i], i)) if among[i]]
    first = [i for i in rows if [j for j in rows if group[j] == group[i]].index(i) < least[i]]
    rest = [i for i in rows if i not in first]
    return np.sort(first), np.sort(first + rest[: max(0, count - len(first))])


@pytest.mark.parametrize("space", [np, jnp])
def test_rows_are_taken_as_if_one_by_one(space: Any) -> None:
    def take(score, among, count, tie, group, least):
        quotas = Quota(least, group)
        first = first_lowest(score, among, tie, quotas)
        return first, lowest(score, among, count, tie, quotas), lowest(score, among, count)

    taken = jax.jit(take) if space is jnp else take
    rng = np.random.default_rng(4)
    for case in range(60):
        score = rng.choice([0.0, 1, 2, 3, np.nan, np.inf, -np.inf], 12)
        among, tie = rng.uniform(size=12) < 0.8, rng.integers(0, 3, 12).astype(np.uint32)
        group = rng.integers(0, 3, 12).astype(float)
        # Of no row, of some, and of more rows than a class has or than are wanted.
        least = rng.integers(0, 6, 3).astype(np.int32)[group.astype(int)]
        count = int(rng.integers(0, 13))
        found = taken(score, among, count, tie, group, least)
        by_hand = (
            *_one_by_one(score, among, tie, group, least, count),
            _one_by_one(score, among, 0 * tie, group, 0 * least, count)[1],
        )
        for one, rows in zip(found, by_hand, strict=True):
            np.testing.assert_array_equal(np.flatnonzero(one), rows, f"case {case}")


def test_neighbours_are_as_many_as_weigh_k_and_ties_are_won_by_a_label() -> None:
    x, weight = np.array([[0.0], [1], [2.5], [4.5], [20]]), np.array([1.0, 2, 0.5, 1, 3])
    np.testing.assert_array_equal(
        nearest(x, weight, 3),
        [[0, 1, 1, 1, 0], [1, 0, 1, 1, 1], [0, 1, 0, 1, 0], [1, 1, 1, 0, 0], [0, 1, 1, 1, 0]],
    )
    np.testing.assert_array_equal(nearest(x, weight, 9)[0], [0, 1, 1, 1, 1])  # all others
    labels = np.eye(2)[[0, 1, 1, 0, 0]]
    share = shares(x, weight, 3, labels)
    np.testing.assert_allclose(share[0], [1 / 3.5, 2.5 / 3.5])
    np.testing.assert_array_equal(shares(x, 0 * weight, 3, labels), 0)
    even = np.array([[0.5, 0.5], [0.5, 0.5], [0.4, 0.6]])
    winner, enough = elected(even, np.eye(2)[[0, 1, 0]], 0.5 + 1e-7)
    np.testing.assert_array_equal(winner, [0, 1, 1])
    assert enough.all()
    assert not elected(even, np.eye(2)[[0, 1, 0]], 0.61)[1].any()


def test_scores_are_of_weighted_means_and_of_other_classes() -> None:
    x = RNG.normal(size=(6, 3)) + 2
    inside, outside = np.array([1.0, 2, 1, 0, 0, 0]), np.array([0, 0, 0, 3.0, 1, 1])
    centre, other = (np.average(x, axis=0, weights=w) for w in (inside, outside))
    for xp in (np, jnp):
        rows = map(xp.asarray, (x, inside, outside))
        given = tuple(rows)
        np.testing.assert_allclose(Distance()(*given), ((x - centre) ** 2).sum(axis=1))
        np.testing.assert_allclose(Slab()(*given), np.abs((x - centre) @ (centre - other)))
        np.testing.assert_array_equal(Slab()(given[0], given[1], 0 * given[2]), 0)
        second = [np.sort(((x[:3] - row) ** 2).sum(axis=1)) for row in x]
        expected = [near[2 if k < 3 else 1] for k, near in enumerate(second)]
        np.testing.assert_allclose(Neighbours(2)(*given), expected)
    plane = np.array([[3.0, 0, 0], [0, 2, 0], [1, 1, 5], [0, 0, 7]])
    whole = np.array([1.0, 1, 0, 0]), np.array([0.0, 0, 1, 1])
    np.testing.assert_allclose(Residual(0.6)(plane, *whole), [0, 4, 26, 49], atol=1e-12)
    np.testing.assert_allclose(Residual(0.7)(plane, *whole), [0, 0, 25, 49], atol=1e-12)
    heavy = whole[0] * np.array([1, 9, 0, 0])
    np.testing.assert_allclose(Residual(0.6)(plane, heavy, whole[1]), [9, 0, 26, 49], atol=1e-12)


def test_a_cluster_without_rows_is_a_half_and_a_row_alone_has_no_silhouette() -> None:
    small = jnp.array([[1, 0, 0, 0], [0, 0, 0, 0]], bool)
    large = jnp.array([[0, 1, 1, 0], [0, 0, 0, 0]], bool)
    z = jnp.array([[0.0], [3.0], [4.0], [99.0]])
    found = Clusters(small, large, jnp.stack([z, z]), jnp.zeros(4))
    np.testing.assert_allclose(found.share(), [1 / 3, 0.5])
    expected = (0 + (3 - 1) / 3 + (4 - 1) / 4) / 3
    np.testing.assert_allclose(_silhouette(z, small[0], large[0]), expected)
    nothing: Any = None
    rows: Any = SimpleNamespace(features=jnp.array([[0.0], [3.0], [4.0], [0.5]]))
    for third, near in ((3, [True, False, False]), (None, [False, False, False])):
        large = jnp.asarray(np.arange(4)[None] == np.array([[1], [2], [third or -1]]))
        small = jnp.asarray(np.arange(4)[None] == np.array([[0], [-1], [-1]]))
        clusters: Any = SimpleNamespace(small=small, large=large)
        flagged, code = NearOther().suspicious(clusters, rows, nothing)
        assert (flagged.tolist(), code) == (near, 0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_rows_are_counted_in_the_precision_of_others_and_none_is_one(dtype) -> None:
    for mask, many in (([False] * 3, 1), ([True, False, False], 1), ([True] * 3, 3)):
        found = count(jnp.array(mask), jnp.zeros(1, dtype))
        assert (float(found), found.dtype) == (many, dtype)
    z, none = jnp.array([[0.0], [3.0], [4.0]], dtype), jnp.zeros(3, bool)
    for large, value in ((jnp.array([False, True, True]), -1), (none, 0)):
        assert float(_silhouette(z, none, large)) == value  # no other cluster is at hand


def test_votes_of_zero_are_for_the_first_class_and_a_tie_is_its_least_lead() -> None:
    shift = jnp.array([0.0, 1.0, -1.0, 2.0])

    def member(shift):
        return Plain(lambda x: x[:, 0] + shift)

    models: Any = SimpleNamespace(decisions=lambda x: shift[:, None] + x[:, 0][None])
    x = jnp.array([[0.0], [0.5], [-9.0]])
    np.testing.assert_array_equal(VotingModel.votes(models, x), [[2, 1, 4], [2, 3, 0]])
    np.testing.assert_allclose(VotingModel.decision(models, x), [-0.25, 0.5, -1])
    models.temperature = 2.0
    expected = np.tanh((shift[:, None] + x[:, 0][None]) / 2).mean(axis=0)
    np.testing.assert_allclose(SoftVotingModel.decision(models, x), expected)
    np.testing.assert_allclose(member(1.0).decision(x), [1, 1.5, -8])


def test_the_sentence_names_the_class_that_loses_and_the_smallest_gap() -> None:
    group = np.array(["a"] * 4 + ["b"] * 4)
    kept = np.array([1, 1, 1, 0, 1, 1, 0, 0], bool)
    score = np.array([1.0, 2, 2, 9, 1, 4, 5, 7])
    none, used = np.zeros(8, bool), np.ones(8, bool)
    text = sentence(used, kept, none, score, group, 3, ["b", "c"])
    assert "75 % of class a, 50 % of class b); 3 trainings" in text
    assert "scores 1.25 times the most suspect one kept of its class: no gap" in text
    assert "warning: all rows of class b, c are suspect; they were kept" in text
    assert "warning: class b loses more than the others" in text
    far = sentence(used, kept, none, np.where(kept, score, 6.0), group, 3)
    assert "scores 1.5 times" in far
    assert "no gap" not in far
    assert "all rows" not in far
    without = sentence(used, kept, none, np.where(group == "b", np.nan, score), group, 3)
    assert "scores 4.5 times" in without


def test_arguments_end_where_their_sentences_say() -> None:
    bad: Any = (
        (lambda v: _arguments.share_argument("share", v), (-0.1, 1, None, "x", float("nan"))),
        (lambda v: _arguments.positive_argument("size", v), (0, -1, None, float("nan"))),
        (_arguments.balance_argument, (-0.1, 1.01, None)),
        (_arguments.dispute_argument, (-0.1, 1, None)),
        (_arguments.agreement_argument, (0, 1.01, None)),
    )
    good = ((0, 0.5), (1e-9, 7), (0, 1), (0, 0.99), (0.01, 1))
    for (check, wrong), right in zip(bad, good, strict=True):
        assert [check(value) for value in right] == list(right)
        for value in wrong:
            with pytest.raises(ValueError, match=r"^(share|size|balance|dispute|agreement): got "):
                check(value)


def test_a_harm_is_said_from_one_standard_error_on_and_of_the_defense_asked_for() -> None:
    losses = np.array([np.full(100, 0.5), np.zeros(100), np.full(100, 0.5)])
    losses[2, :3] = [1.0, 1.0, 0.6]  # 1.7 standard errors
    losses[2, 3:5] = 0.4
    held = HeldOut(losses, np.full(100, 0.01))
    assert held.told(0) == "held-out loss 0, undefended 0.5"
    rise = losses[2] - 0.5
    errors = rise.mean() / np.sqrt(np.sum((0.01 * (rise - rise.mean())) ** 2))
    assert 1 < errors < 1.5
    assert held.told(1) == "held-out loss 0.509, undefended 0.5: this made it worse"


def test_classes_that_are_too_small_are_named_and_labels_have_members() -> None:
    y = np.repeat([0.0, 1, 2, 2], [5, 3, 4, 1])
    check = AbstractFeatureSanitiser.check
    any_: Any = SimpleNamespace(learner=SimpleNamespace(check=lambda data: None))
    with pytest.raises(ValueError, match=r"got 3 rows of the class 1, expected 4 at least"):
        check(any_, Data(np.zeros((13, 1)), y))
    weight = np.where(y == 1, 0.0, 1.0)
    check(any_, Data(np.zeros((13, 1)), y, weight))
    with pytest.raises(ValueError, match=r"rows of the class 2 alone"):
        check(any_, Data(np.zeros((13, 1)), y, np.where(y == 2, 1.0, 0.0)))
    data = Data(np.zeros((3, 1)), np.array([1.0, -1, 1]))
    found = np.array(members((1.0, -1.0), data))
    np.testing.assert_array_equal(found, [[1, 0, 1], [0, 1, 0]])
    assert np.array(members((), data)).tolist() == [[True] * 3]
    require_labels((), data)
    with pytest.raises(ValueError, match=r"got \(1.0, 2.0\), but a row has the label -1"):
        require_labels((1.0, 2.0), data)
