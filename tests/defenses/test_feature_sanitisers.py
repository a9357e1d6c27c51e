"""Clustering, spectral signatures, deep neighbours: on features whose answer is known."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from drawn import drawn
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from attacks import Box, Insert, compose, indiscriminate
from bilevel import Data
from bilevel.learners import (
    AbstractModel,
    Fixed,
    LinearModel,
    Logistic,
    Network,
    NetworkModel,
    Softmax,
)
from bilevel.networks import MLP
from bilevel.results import MAX_STEPS
from bilevel.solvers import Descent, Newton
from defenses import (
    ActivationClustering,
    DeepNeighbours,
    Excluded,
    NearOther,
    Silhouette,
    SmallCluster,
    SpectralSignatures,
)
from defenses.sanitise import _features
from defenses.sanitise._clusters import clusters
from defenses.sanitise._features import Featured

CLASSES, EACH, POISON, F = 3, 30, 5, 6
RNG = np.random.default_rng(0)
CENTRES = 4 * np.eye(F)[:CLASSES]
SIDE = 6 * np.eye(F)[CLASSES]  # where copies lie, beyond the centre of the class they come from


class Centres(AbstractModel):
    """Reads a row as the nearest centre."""

    centres: jax.Array

    def decision(self, x, *, key=None):
        return -jnp.sum((x[:, None] - self.centres[None]) ** 2, axis=-1)


def rows(copies: int = POISON, one: bool = False) -> tuple[Data, np.ndarray]:
    """Three classes, and copies of each one labelled as the next, or all as the last class."""
    rng = np.random.default_rng(1)
    x = np.concatenate([c + 0.5 * rng.normal(size=(EACH, F)) for c in CENTRES])
    y = np.repeat(np.arange(CLASSES), EACH)
    source = (
        rng.integers(0, CLASSES, copies * CLASSES) if one else np.repeat(np.arange(CLASSES), copies)
    )
    more = CENTRES[source] + SIDE + 0.5 * rng.normal(size=(len(source), F))
    labels = np.full(len(source), CLASSES - 1) if one else (source + 1) % CLASSES
    x, y = np.concatenate([x, more]), np.concatenate([y, labels])
    poison = np.arange(len(y)) >= CLASSES * EACH
    order = rng.permutation(len(y))
    return Data(x[order], y[order].astype(np.int32)), poison[order]


DATA, BAD = rows()
FIXED = Fixed(Centres(jnp.asarray(CENTRES)))
HEAD = Softmax(CLASSES, 0.1)


@pytest.mark.parametrize(
    "rule",
    [SmallCluster(), Silhouette(0.2), NearOther()],
    ids=lambda rule: type(rule).__name__,
)
@pytest.mark.parametrize("whiten", [True, False])
def test_clustering_finds_the_copies_of_every_class(rule, whiten) -> None:
    seen = ActivationClustering(FIXED, rule, 3, whiten).inspect(DATA)
    np.testing.assert_array_equal(np.asarray(seen.kept), ~BAD)
    assert int(seen.trainings) == 1
    score = np.asarray(seen.score)
    assert np.min(score[BAD]) > np.max(score[~BAD])
    assert "kept 90 of 105 rows" in seen.message(DATA)


def test_exclusion_trains_without_the_clusters_and_asks_what_they_are_read_as() -> None:
    seen = ActivationClustering(HEAD, Excluded(), 3, whiten=False).inspect(DATA)
    np.testing.assert_array_equal(np.asarray(seen.kept), ~BAD)
    assert int(seen.trainings) == 2
    clean = Data(DATA.x, DATA.y, jnp.where(BAD, 0.0, DATA.weight))
    kept = ActivationClustering(HEAD, Excluded(), 3, whiten=False).inspect(clean).kept
    np.testing.assert_array_equal(np.asarray(kept), ~BAD)


def test_half_a_class_of_poison_is_no_small_cluster() -> None:
    data, bad = rows(EACH // CLASSES, one=True)
    kept = np.asarray(ActivationClustering(FIXED, SmallCluster(), 3).inspect(data).kept)
    flagged = np.asarray(data.y) == CLASSES - 1
    assert np.sum(bad & flagged) == EACH  # as many as clean rows
    assert np.all(kept[flagged])


def test_rows_of_weight_zero_are_no_rows() -> None:
    weight = np.where(np.arange(DATA.rows) % 7 == 0, 0.0, 1.0)
    few = DATA.rows - int(np.sum(weight == 0))
    some = np.flatnonzero(weight)
    far = np.where(weight[:, None] == 0, 30 * DATA.x + 5, DATA.x)
    for defense in (
        ActivationClustering(FIXED, SmallCluster(), 3), SpectralSignatures(FIXED, 0.1),
        DeepNeighbours(FIXED, 7),
    ):  # fmt: skip
        seen = defense.inspect(Data(far, DATA.y, weight))
        alone = defense.inspect(Data(DATA.x[some], DATA.y[some]))
        assert alone.kept.shape == (few,)
        np.testing.assert_array_equal(np.asarray(seen.kept)[some], np.asarray(alone.kept))
        assert not np.any(np.asarray(seen.kept)[weight == 0])


def test_clusters_and_silhouettes_are_those_of_scikit_learn() -> None:
    y = jnp.asarray(DATA.y, float)
    found = clusters(
        Featured(DATA.x, y, DATA.weight > 0, jnp.arange(3.0), FIXED.model, DATA, None), 4, False
    )
    for label in range(CLASSES):
        inside = np.asarray(DATA.y) == label
        z = PCA(4).fit_transform(np.asarray(DATA.x)[inside])
        means = KMeans(2, n_init=20, random_state=0).fit(z)  # pyright: ignore
        ours = np.asarray(found.small)[label][inside]
        assert abs(np.corrcoef(ours, means.labels_)[0, 1]) == pytest.approx(1)
        silhouette = silhouette_score(z, means.labels_)
        assert float(found.silhouette()[label]) == pytest.approx(silhouette, rel=1e-6)


def test_no_start_of_scikit_learn_finds_a_better_split() -> None:
    y, rng = np.repeat(np.arange(3), 25), np.random.default_rng(0)
    for _ in range(4):
        x = rng.normal(size=(75, 4)) + 1.5 * rng.choice(3, (75, 1)) * np.array([1.0, 1, 0, 0])
        data = Data(x, y.astype(np.int32))
        rows = Featured(data.x, jnp.asarray(y, float), data.weight > 0, jnp.arange(3.0),
                        FIXED.model, data, None)  # fmt: skip
        found = clusters(rows, 4, False)
        for label in range(3):
            z = x[y == label]
            ours = np.asarray(found.small)[label][y == label]
            spread = sum(np.sum((z[m] - z[m].mean(axis=0)) ** 2) for m in (ours, ~ours))
            best: Any = KMeans(2, n_init=50, random_state=0).fit(z).inertia_  # pyright: ignore
            assert spread <= best * (1 + 1e-9)


def test_the_spectral_score_is_the_squared_distance_along_the_first_component() -> None:
    seen = SpectralSignatures(FIXED, 0.1).inspect(DATA)
    for label in range(CLASSES):
        inside = np.asarray(DATA.y) == label
        x = np.asarray(DATA.x)[inside]
        along = PCA(1).fit_transform(x)[:, 0] ** 2
        np.testing.assert_allclose(np.asarray(seen.score)[inside], along, rtol=1e-8, atol=1e-9)
        dropped = ~np.asarray(seen.kept)[inside]
        assert dropped.sum() == round(1.5 * 0.1 * inside.sum())
        assert np.min(along[dropped]) > np.max(along[~dropped])
    assert np.all(np.asarray(seen.kept)[BAD] == 0)


def test_deep_neighbours_drop_what_lies_among_another_class() -> None:
    x, y = np.asarray(DATA.x)[~BAD], np.asarray(DATA.y)[~BAD]
    wrong = np.arange(len(y)) % 11 == 0
    data = Data(x, np.where(wrong, (y + 1) % CLASSES, y).astype(np.int32))
    seen = DeepNeighbours(FIXED, 9).inspect(data)
    np.testing.assert_array_equal(np.asarray(seen.kept), ~wrong)
    assert "suspect" not in seen.message(data)
    # a class that lies among another one as a whole keeps its rows, and is named
    lone = Data(x, np.where(y == 2, 0, np.where(wrong & (y == 0), 2, y)).astype(np.int32))
    seen = DeepNeighbours(FIXED, 9).inspect(lone)
    assert np.all(np.asarray(seen.kept)[np.asarray(lone.y) == 2])
    np.testing.assert_array_equal(np.asarray(seen.spared), np.asarray(lone.y) == 2)
    assert "warning: all rows of class 2 are suspect" in seen.message(lone)
    # copies lie among themselves: with few neighbours they vote for each other
    assert np.all(np.asarray(DeepNeighbours(FIXED, 3).inspect(DATA).kept)[BAD])


@pytest.mark.parametrize(
    "make",
    [
        lambda learner: ActivationClustering(learner, components=2),
        lambda learner: SpectralSignatures(learner, 0.1),
        lambda learner: DeepNeighbours(learner, 5),
    ],
    ids=["clustering", "spectral", "neighbours"],
)
def test_an_attack_on_them_is_aware(make) -> None:
    y = np.where(np.arange(40) % 2, 1.0, -1.0)
    data = Data(RNG.normal(size=(40, 2)) + 2 * y[:, None], y)
    learner = make(Logistic(0.1))
    goal = indiscriminate(data.x[:10], y[:10])
    attack = compose(learner, Insert(np.array([1.0]), Box(-4.0, 4.0)), goal, data)
    z = jnp.array([[0.3, -0.2]])
    along, both = np.array([[0.6, 0.8]]), jax.value_and_grad(attack)
    ahead, behind = (both(z + step * along)[0] for step in (1e-5, -1e-5))
    np.testing.assert_allclose(np.sum(both(z)[1] * along), (ahead - behind) / 2e-5, rtol=1e-5)
    fitted = learner.fit(data)
    assert isinstance(fitted.model, LinearModel)
    assert int(fitted.report.trainings) == 1


def test_a_network_is_trained_inspected_and_trained_again() -> None:
    net = Network(MLP((8,), CLASSES), batch=15, solver=Descent(optax.sgd(0.1), 60))
    key = jax.random.key(0)
    data = Data(DATA.x.astype(np.float32), DATA.y)
    fitted = SpectralSignatures(net, 0.1).fit(data, key=key)
    kept = np.asarray(fitted.report.kept)
    again = net.fit(Data(data.x, data.y, kept.astype(np.float32)), key=key)
    for ours, plain in zip(
        jax.tree.leaves(fitted.model.parameters), jax.tree.leaves(again.model.parameters),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(ours, plain, atol=1e-6)


def test_a_training_that_fails_is_a_failure() -> None:
    steep = Logistic(1e-9)
    y = np.where(np.arange(20) % 2, 1.0, -1.0)
    data = Data(y[:, None] + 0.1 * RNG.normal(size=(20, 1)), y)
    failing = steep.using(Newton(max_steps=1), steep.derivative)
    fitted = SpectralSignatures(failing, 0.1).fit(data, throw=False)
    assert int(fitted.result) == MAX_STEPS
    assert int(SpectralSignatures(failing, 0.1).inspect(data).result) == MAX_STEPS


def test_what_they_cannot_work_on_is_said() -> None:
    one = Data(DATA.x, np.zeros(DATA.rows, np.int32))
    with pytest.raises(ValueError, match="class 0 alone, expected two classes"):
        SpectralSignatures(FIXED).fit(one)
    few = Data(DATA.x[:4], np.array([0, 0, 0, 1], np.int32))
    with pytest.raises(ValueError, match="got 1 rows of the class 1, expected 4"):
        ActivationClustering(FIXED).fit(few)
    with pytest.raises(ValueError, match=r"rule: got 'size', expected SmallCluster"):
        ActivationClustering(FIXED, "size")  # pyright: ignore
    with pytest.raises(ValueError, match="contamination"):
        SpectralSignatures(FIXED, 1.5)
    with pytest.raises(ValueError, match="k: got 0"):
        DeepNeighbours(FIXED, 0)


def test_features_of_many_rows_are_those_of_their_blocks(monkeypatch) -> None:
    net = MLP((5,), CLASSES)
    model = NetworkModel(drawn(net, (F,)), net)
    monkeypatch.setattr(_features, "TOGETHER", 16)
    assert len(DATA.x) % 16
    found = jax.jit(lambda x: _features._features(model, x))(DATA.x)
    np.testing.assert_allclose(found, model.features(DATA.x), rtol=1e-12)
