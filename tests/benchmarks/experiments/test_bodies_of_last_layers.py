"""Changes of single training images beneath a frozen network, and pairs of targets and classes."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import looped, put, said, tells

from benchmarks import pretraining
from benchmarks.experiments.classifiers import targeted_mnist
from benchmarks.experiments.targeted import _pairs, last_layer, metapoison
from benchmarks.pretraining import Images
from benchmarks.report import UsageError
from bilevel import Data

pytestmark = pytest.mark.stand_ins
BOX = ("box", 0.0, 1.0)
KEY = jax.random.key(8)


def numbered(start: int, counts: dict[int, int]) -> Images:
    """Images whose only pixel is a number of their own."""
    y = np.repeat([*counts], [*counts.values()])
    return Images(np.arange(start, start + len(y), dtype=float)[:, None], y.astype(np.int32))


def test_a_head_is_judged_on_all_test_images_and_attacked_at_some_it_reads_right(
    monkeypatch,
) -> None:
    train, test = numbered(0, {4: 9, 9: 12, 3: 5}), numbered(100, {3: 4, 4: 6, 9: 5})
    put(monkeypatch, last_layer, images=lambda data: {"mnist": (train, test)}[data])
    options = last_layer.Options(train=8, targets=3, l2=0.125)
    given: list[Any] = []
    both, tests = train.of(9, 4), test.of(9, 4)
    rng = np.random.default_rng(0)
    rows, order = rng.permutation(21)[:8], rng.permutation(11)
    misread = tests.x[order[:2], 0]
    known = dict(zip(tests.x[:, 0], np.where(tests.y == 9, 1, -1), strict=True))
    known |= {v: -known[v] for v in misread}

    def on_features(network: Any, learner: Any) -> Any:
        assert (network["w"].dtype, network["n"].dtype, learner) == (float, int, ("l", 0.125))

        def fit(data: Data) -> Any:
            given.append(data)
            read = lambda x: np.array([known[v] for v in x[:, 0]])  # noqa: E731
            return SimpleNamespace(model=SimpleNamespace(predict=read))

        return SimpleNamespace(fit=fit)

    leaves = {"w": jnp.ones(2, jnp.float32), "n": jnp.ones(2, int)}
    put(monkeypatch, last_layer, OnFeatures=on_features, Logistic=tells("l"),
        pretrained=lambda of: SimpleNamespace(model=leaves))  # fmt: skip
    of = last_layer.case(options)
    y = np.where(both.y == 9, 1, -1)
    assert said(given[0].x, given[0].y) == said(both.x[rows], y[rows])
    assert said(of.train.x, of.train.y) == said(both.x[rows], y[rows])
    kept = order[2:5]
    assert said(of.targets.x, of.targets.y) == said(
        tests.x[kept], np.where(tests.y[kept] == 9, 1, -1)
    )
    assert of.test_err == pytest.approx(2 / 11)


def test_the_strongest_rows_have_the_largest_slopes_times_their_room(monkeypatch) -> None:
    x = jnp.asarray([0.5, 0.985, 0.005, 0.3]).reshape(4, 1, 1, 1)
    slopes = jnp.asarray([1.0, 5.0, -9.0, -3.0]).reshape(4, 1, 1, 1)
    of: Any = SimpleNamespace(head="head", train=Data(x, jnp.ones(4)))

    def compose(head: str, reach: Any, goal: str, data: Data) -> Any:
        assert (head, said(reach), goal, data is of.train) == (
            "head", said(("perturb", [0, 1, 2, 3], BOX)), "goal", True,
        )  # fmt: skip
        return SimpleNamespace(evaluate=lambda z: (jnp.sum(slopes * z), None))

    put(monkeypatch, last_layer, compose=compose, Perturb=tells("perturb"), Box=tells("box"))
    options = last_layer.Options(changed=3)
    rows, slope = last_layer.strongest(options, of, "goal", 25.5)  # pyright: ignore
    assert rows.tolist() == [3, 0, 1]  # 3 and 1 times a tenth, 5 * 0.015, 9 * 0.005
    np.testing.assert_allclose(slope, slopes)


def test_influence_moves_weight_from_rows_to_their_copies(monkeypatch) -> None:
    x, y = jnp.arange(4.0)[:, None], jnp.array([1.0, -1.0, 1.0, -1.0])
    of: Any = SimpleNamespace(head="head", train=Data(x, y))
    z = jnp.array([[8.0], [9.0]])

    def compose(head: str, reach: Any, goal: str, data: Data) -> Any:
        assert (head, said(reach), goal) == ("head", said(("perturb", [0], BOX)), "goal")
        score = jnp.sum(data.weight * (data.x[:, 0] ** 2 + data.y))
        return SimpleNamespace(evaluate=lambda at: (score + at[0, 0], None))

    put(monkeypatch, last_layer, compose=compose, Perturb=tells("perturb"), Box=tells("box"))
    found = last_layer.swapped(of, "goal", jnp.array([1, 2]), z)  # pyright: ignore
    assert float(found) == pytest.approx(64 + 81 - 1 - 4)


def test_changed_images_lie_near_themselves(monkeypatch) -> None:
    x = jnp.arange(4.0)[:, None]
    put(monkeypatch, last_layer, LinfBall=tells("ball"), Box=tells("box"), compose=tells("attack"),
        half_grey=tells("half"), Perturb=tells("perturb"))  # fmt: skip
    of: Any = SimpleNamespace(head="head", train=SimpleNamespace(x=x))
    rows = jnp.array([2, 0])
    for level, near in ((0.5, ("half", x[rows])), (8.0, ("ball", x[rows], 8 / 255, BOX))):
        found = last_layer.attack(of, "goal", rows, level)  # pyright: ignore
        _, head, reach, goal, data = found  # pyright: ignore
        assert (head, said(reach), goal, data is of.train) == (
            "head", said(("perturb", rows, near)), "goal", True,
        )  # fmt: skip


def test_pairs_are_digits_that_all_read_right_and_their_noise_is_their_own(monkeypatch) -> None:
    of: Any = SimpleNamespace(
        test=Data(jnp.arange(3.0)[:, None], jnp.array([1, 2, 3])), train="train",
        clean=SimpleNamespace(model="clean"),
    )  # fmt: skip
    put(
        monkeypatch, _pairs, predictions=lambda model, x: jnp.array([[1, 2, 9], [1, 8, 3]]),
        near=lambda setting, data, rows: SimpleNamespace(
            noise=lambda key: jnp.asarray(said(setting, data, rows, key))
        ), batch=looped,
    )  # fmt: skip
    with pytest.raises(UsageError, match="--pairs: got 2, expected at most 1, the digits"):
        _pairs.pairs(metapoison.Options(pairs=2), of, 0)
    keys, rows = jax.random.split(KEY, 2), jnp.array([[1, 2], [3, 4]])
    chosen: Any = SimpleNamespace(keys=keys, rows=rows)
    found = _pairs.shaken("setting", of, chosen)  # pyright: ignore
    assert found.tolist() == [said("setting", "train", rows[i], keys[i]) for i in (0, 1)]


def test_digits_have_one_part_each(monkeypatch) -> None:
    digits = SimpleNamespace(images=np.arange(10)[:, None], labels=np.arange(10) + 20)
    put(monkeypatch, targeted_mnist, mnist=lambda: digits)
    options = targeted_mnist.Options(train=4, validation=3)
    order = np.random.default_rng(6).permutation(10)
    found = targeted_mnist.parts(options, 6)
    assert [said(part) for part in found] == [
        said((rows[:, None] / 255, rows + 20.0)) for rows in np.split(order, [4, 7])
    ]


def test_the_first_digits_of_each_class_are_test_digits(monkeypatch) -> None:
    y = np.array([3, 1, 3, 3, 1, 7, 3])
    np.testing.assert_array_equal(pretraining.rank_in_class(y), [0, 0, 1, 2, 1, 0, 3])
    assert pretraining.rank_in_class(y[:0]).size == 0
    labels = np.repeat([0, 1, 2], [5, 3, 2])
    digits = SimpleNamespace(images=np.arange(10)[:, None] * np.ones(784, int), labels=labels)
    put(monkeypatch, pretraining, mnist=lambda: digits, TEST=2)
    train, test = pretraining.images.__wrapped__("mnist")
    order = np.random.default_rng(0).permutation(10)
    first = np.concatenate([order[labels[order] == k][:2] for k in range(3)])
    for part, rows in ((test, first), (train, np.setdiff1d(order, first))):
        rows = order[np.isin(order, rows)]
        np.testing.assert_allclose(part.x[:, 0, 0, 0] * 255, rows, rtol=1e-6)
        assert part.x.shape == (len(rows), 28, 28, 1)
        assert (part.x.dtype, part.y.tolist()) == (np.float32, labels[rows].tolist())
