"""Outlier filters: scores, in NumPy and in JAX, hard and soft."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from bilevel import Data
from bilevel.learners import Logistic
from defenses import Filter, SoftFilter, scores
from defenses.sanitise.scores import neighbours

N, D = 30, 4
RNG = np.random.default_rng(0)
Y = np.where(np.arange(N) % 3 == 0, 1.0, -1.0)
X = RNG.normal(size=(N, D)) + Y[:, None]
OWN = np.where(Y > 0, 1.0, 0.0)
ALL = [scores.Distance(), scores.Slab(), scores.Residual(0.9), scores.Neighbours(3)]


@pytest.mark.parametrize("score", ALL)
def test_numpy_and_jax_agree(score):
    ours = jax.jit(score)(jnp.asarray(X), jnp.asarray(OWN), jnp.asarray(1 - OWN))
    plain = score(X, OWN, 1 - OWN)
    assert isinstance(plain, np.ndarray)
    np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("score", ALL)
def test_the_soft_filter_scores_as_the_hard_one(score):
    data = Data(X, Y, RNG.uniform(0.5, 1.5, N))
    hard, soft = (
        kind(Logistic(0.1), score, 0.2).inspect(data).score for kind in (Filter, SoftFilter)
    )
    np.testing.assert_allclose(soft, hard, rtol=1e-12)


def test_scores_are_what_they_say():
    a, b = X[Y > 0], X[Y < 0]
    line = a.mean(0) - b.mean(0)
    np.testing.assert_allclose(ALL[0](X, OWN, 1 - OWN)[Y > 0], ((a - a.mean(0)) ** 2).sum(1))
    np.testing.assert_allclose(
        ALL[1](X, OWN, 1 - OWN)[Y > 0], np.abs((a - a.mean(0)) @ line), rtol=1e-9
    )
    _, s, v = np.linalg.svd(a)
    k = 1 + int(np.sum(np.cumsum(s**2) / np.sum(s**2) < 0.9))
    left = a - a @ v[:k].T @ v[:k]
    np.testing.assert_allclose(ALL[2](X, OWN, 1 - OWN)[Y > 0], (left**2).sum(1), rtol=1e-8)
    apart, _ = NearestNeighbors(n_neighbors=4).fit(a).kneighbors(a)
    np.testing.assert_allclose(ALL[3](X, OWN, 1 - OWN)[Y > 0], apart[:, 3] ** 2, rtol=1e-9)


def test_neighbours_are_those_of_all_pairs_whatever_the_blocks(monkeypatch):
    """Ties, a class of two rows, and the derivative, too."""
    x, score = np.concatenate([X, X[:4]]), scores.Neighbours(3)
    apart = np.sum((x[:, None] - x[None, :]) ** 2, axis=2)
    np.fill_diagonal(apart, np.inf)

    def both(x, inside):
        return jax.value_and_grad(lambda x: jnp.sum(score(x, inside, 1 - inside) ** 2))(x)

    slopes = []
    for pairs in (2**19, 100):
        monkeypatch.setattr(neighbours, "PAIRS", pairs)
        compiled = jax.jit(both)
        for two in (False, True):
            inside = np.isin(np.arange(N + 4), [0, 3]) * 1.0 if two else np.append(OWN, OWN[:4])
            near = np.sort(np.where(inside[None, :] > 0, apart, np.inf), axis=1)[:, :3]
            expected = np.max(np.where(np.isfinite(near), near, 0), axis=1)
            np.testing.assert_allclose(score(x, inside, 1 - inside), expected, atol=1e-12)
            total, slope = compiled(jnp.asarray(x), jnp.asarray(inside))
            np.testing.assert_allclose(total, np.sum(expected**2), rtol=1e-10)
            slopes.append(slope)
    np.testing.assert_allclose(slopes[:2], slopes[2:], rtol=1e-9, atol=1e-12)


def test_neighbours_of_many_rows_need_little_memory():
    """6,000 rows: all pairs would be 288 MB."""
    rows = jax.ShapeDtypeStruct((6000, 2), jnp.float64), *[jax.ShapeDtypeStruct((6000,), float)] * 2
    needed = jax.jit(scores.Neighbours()).lower(*rows).compile().memory_analysis()
    assert needed is not None
    assert needed.temp_size_in_bytes < 40e6


@pytest.mark.parametrize("score", ALL)
def test_the_furthest_of_each_class_are_dropped(score):
    seen = Filter(Logistic(0.1), score, 0.2).inspect(Data(X, Y))
    for label in (-1, 1):
        inside = np.equal(Y, label)
        kept = np.asarray(seen.kept)[inside]
        assert kept.sum() == round(0.8 * inside.sum())
        values = np.asarray(seen.score)[inside]
        assert values[kept].max() <= values[~kept].min()


def test_rows_that_do_not_count_take_no_place_among_those_kept():
    """Eight near the centre of each class weigh nothing: of the eight others two are dropped."""
    x = np.repeat(np.r_[np.arange(1.0, 9), np.full(8, 4.5)], 2)[:, None] * [1.0, 0.5]
    weight = np.repeat(np.repeat([1.0, 0.0], 8), 2)
    data = Data(x, np.tile([1.0, -1], 16), weight)
    seen = Filter(Logistic(0.1), contamination=0.25).inspect(data)
    np.testing.assert_array_equal(seen.kept[weight == 0], False)
    # The farthest from 4.5: one and eight.
    np.testing.assert_array_equal(np.flatnonzero(~np.asarray(seen.kept[:16])), [0, 1, 14, 15])


@pytest.mark.parametrize("score", ALL)
def test_the_soft_filter_has_the_exact_gradient(score):
    defense = SoftFilter(Logistic(0.1), score, 0.2)

    @jax.jit
    @jax.value_and_grad
    def both(x):
        f = defense.fit(Data(x, Y), throw=False).model.decision(jnp.asarray(X))
        return jnp.mean(jnp.logaddexp(0, -jnp.asarray(Y) * f))

    towards = np.random.default_rng(1).normal(size=X.shape)
    ours = float(np.sum(both(X)[1] * towards))
    near, far = (
        float(both(X + t * towards)[0] - both(X - t * towards)[0]) / (2 * t) for t in (1e-4, 2e-4)
    )
    np.testing.assert_allclose(ours, (4 * near - far) / 3, rtol=1e-7)
    shares = defense.inspect(Data(X, Y)).data.weight
    np.testing.assert_allclose(jnp.sum(shares), 0.8 * N, rtol=1e-9)


def test_a_class_of_few_rows_is_not_dropped_whole():
    y = np.where(np.arange(N) < 4, 1.0, -1.0)
    for order in (np.arange(N), np.arange(N)[::-1]):
        seen = Filter(Logistic(0.1), scores.Neighbours(5), 0.05).inspect(Data(X[order], y[order]))
        assert int(jnp.sum(seen.kept[y[order] > 0])) == 4


@pytest.mark.parametrize("score", ALL)
def test_equal_scores_are_told_apart_by_content_not_by_order(score):
    y, defense = np.concatenate([Y, Y]), Filter(Logistic(0.1), score, 0.25)
    for shift in (0, 1 / 3):  # with it, a sum of the rows rounds in another way in each order
        x = np.concatenate([X, -X]) + shift
        kept = defense.inspect(Data(x, y)).kept
        for seed in range(5, 10):
            order = np.random.default_rng(seed).permutation(2 * N)
            again = defense.inspect(Data(x[order], y[order])).kept
            np.testing.assert_array_equal(again, kept[order])


def test_empty_columns_and_empty_classes_leave_derivatives_finite():
    x = np.concatenate([X, np.zeros((N, 2))], axis=1)
    defense = SoftFilter(Logistic(0.1), scores.Residual(0.9), 0.2, classes=(-1.0, 1.0, 2.0))

    @jax.jit
    @jax.value_and_grad
    def both(x):
        return jnp.sum(defense.inspect(Data(x, Y)).data.weight ** 2)

    towards = np.random.default_rng(2).normal(size=x.shape)
    towards[:, D:] = 0
    ours = float(np.sum(both(x)[1] * towards))
    near, far = (
        float(both(x + t * towards)[0] - both(x - t * towards)[0]) / (2 * t) for t in (1e-4, 2e-4)
    )
    np.testing.assert_allclose(ours, (4 * near - far) / 3, rtol=1e-7)


def test_the_certificate_sees_the_threshold():
    margin = Filter(Logistic(0.1), ALL[0], 0.2).inspect(Data(X, Y)).margin
    assert margin is not None
    assert margin.shape == (N,)
    assert np.all(np.isfinite(margin))


def test_one_class_alone_has_no_slab():
    assert not np.any(scores.Slab()(X, np.ones(N), np.zeros(N)))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: Filter(Logistic(1.0), 0.2),  # pyright: ignore[reportArgumentType]
            r"^score: got 0.2, expected scores.Distance\(\), Slab",
        ),
        (lambda: scores.Neighbours(0), r"^k: got 0"),
        (lambda: scores.Residual(1.0), r"^spectrum: got 1.0"),
        (
            lambda: Filter(Logistic(1.0), scores.Distance()).check(Data(X, X[:, 0])),
            r"^classes: got \(-1.0, 1.0\), but a row has the label",
        ),
        (lambda: Filter(Logistic(1.0), scores.Distance(), 1.5), r"^contamination: got 1.5"),
        (lambda: SoftFilter(Logistic(1.0), scores.Distance(), 0.1, 0), r"^sharpness: got 0"),
    ],
)
def test_bad_input_is_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
