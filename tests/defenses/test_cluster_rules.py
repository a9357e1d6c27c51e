"""Which small clusters are poison, by clusters that are made up."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel import Data
from bilevel.learners import AbstractModel, Fixed
from defenses import ActivationClustering, NearOther, SmallCluster
from defenses.sanitise import activation_clustering
from defenses.sanitise._clusters import Clusters
from defenses.sanitise._features import Featured
from defenses.sanitise.cluster_rules import Excluded, _kept, _means

CLASSES = 3


class Said(AbstractModel):
    """Reads a row as what stands in it."""

    def decision(self, x, *, key=None):
        return x


class Recorded(Fixed):
    """A learner whose training says by its code how many rows it was given."""

    def fit(self, data, warm=None, *, key=None, throw=True):
        fitted = super().fit(data, warm, key=key, throw=throw)
        rows = jnp.sum(data.weight > 0).astype(jnp.int32)
        return eqx.tree_at(lambda fitted: fitted.result, fitted, rows)


def case(own: int, other: int, third: int, large: int = 12):
    """(rows, clusters): the small cluster of class 0 has rows that are read as it, as the class 1
    and as the class 2; the other classes have none. There are 50 rows in all.
    """
    last = 50 - 2 * large - own - other - third
    read = np.repeat([0, 0, 1, 2, 1, 2], [large, own, other, third, large, last])
    y = np.repeat([0, 1, 2], [large + own + other + third, large, last])
    small = np.zeros((CLASSES, len(y)), bool)
    small[0, large : large + own + other + third] = True
    members = y[None] == np.arange(CLASSES)[:, None]
    x = jnp.asarray(np.eye(CLASSES)[read])
    data = Data(x, y.astype(np.int32))
    rows = Featured(
        x, jnp.asarray(y, float), jnp.ones(len(y), bool), jnp.arange(3.0), Said(), data, None
    )
    reduced = jnp.zeros((CLASSES, len(y), 1))
    return rows, Clusters(jnp.asarray(small), jnp.asarray(members & ~small), reduced, x[:, 0])


@pytest.mark.parametrize(
    ("own", "other", "third", "ratio", "poison"),
    [
        (4, 3, 2, 1.0, False),  # of the others the most frequent one counts
        (3, 4, 0, 1.0, True),
        (3, 0, 4, 1.0, True),
        (3, 3, 0, 1.0, False),
        (4, 3, 0, 1.5, True),
        (3, 4, 0, 0.5, False),
    ],
)
def test_excluded_counts_what_the_small_cluster_is_read_as(own, other, third, ratio, poison):
    rows, found = case(own, other, third)
    suspect, code = Excluded(ratio).suspicious(found, rows, Recorded(Said()))
    assert list(np.asarray(suspect)) == [poison, False, False]
    assert int(code) == 50 - own - other - third  # the rows outside of the small clusters


def test_a_small_cluster_is_one_below_the_limit_and_a_near_one_nearer_to_another_class():
    for own, poison in ((5, True), (8, False)):  # of 17 and of 20 rows: 29 and 40 %
        rows, found = case(own, 0, 0)
        suspect, _ = SmallCluster(0.35).suspicious(found, rows, Fixed(Said()))
        assert bool(suspect[0]) == poison
        np.testing.assert_allclose(found.share()[0], own / (12 + own))
    for own, other, poison in ((4, 3, False), (3, 4, True)):
        rows, found = case(own, other, 0)
        suspect, _ = NearOther().suspicious(found, rows, Fixed(Said()))
        assert list(np.asarray(suspect)) == [poison, False, False]


def test_a_mean_is_over_the_rows_of_a_cluster():
    x = jnp.asarray([[1.0, 2.0], [3.0, 6.0], [5.0, 7.0]])
    masks = jnp.asarray([[True, True, False], [False, False, True], [False, False, False]])
    np.testing.assert_array_equal(_means(x, masks), [[2, 4], [5, 7], [0, 0]])


@pytest.mark.parametrize(
    ("left", "whole"),
    [
        ([2.0, 0, 0, 3], False),  # both classes of which there are rows have one
        ([0.0, 0, 0, 3], True),
        ([2.0, 1, 0, 0], True),
        ([2.0, 1, 4, 3], False),
    ],
)
def test_all_rows_come_back_if_a_class_that_has_any_would_have_none(left, whole):
    """The third class has no row."""
    x, y, weight = jnp.zeros((4, 1)), jnp.array([0, 0, 1, 1]), jnp.array([2.0, 1, 4, 3])
    data = Data(x, y, weight)
    used, model = weight > 0, Said()
    rows = Featured(x, y.astype(float), used, jnp.arange(3.0), model, data, None)
    kept = _kept(Data(x, y, jnp.array(left)), rows)
    np.testing.assert_array_equal(kept.weight, weight if whole else left)


def test_clusters_are_of_as_many_components_and_as_white_as_is_asked_for(monkeypatch):
    asked = []
    rows, found = case(3, 4, 0)

    def clusters(rows, components, whiten):
        asked.append((rows, components, whiten))
        return found

    monkeypatch.setattr(activation_clustering, "clusters", clusters)
    learner = Recorded(Said())
    for whiten, components in ((True, 4), (False, 2)):
        judge = ActivationClustering(learner, Excluded(), components, whiten)
        assert (judge.components, judge.whiten) == (components, whiten)
        judged = judge.judge(rows)
        assert asked.pop() == (rows, components, whiten)
        np.testing.assert_array_equal(judged.suspect, found.small[0])
        assert judged.score is found.score
        assert (judged.trainings, int(judged.result)) == (1, 43)
    usual = ActivationClustering(learner)
    assert (usual.components, usual.whiten, usual.rule) == (10, True, SmallCluster())
