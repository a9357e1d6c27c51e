"""Edges of defenses: units, rounds, what is counted, the sizes of what is drawn."""

import re
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from attacks.recipes._planted import Kinds
from bilevel import Data
from bilevel.learners import SVM, Fixed, LinearModel
from bilevel.losses import Squares
from defenses import (
    ConfidentLearning,
    Filter,
    MicroModels,
    Partition,
    Relabel,
    Roni,
    Unlearn,
)
from defenses.audit.neural_cleanse import NeuralCleanse
from defenses.data_audit import charts, page
from defenses.data_audit.attacker import flips
from defenses.data_audit.indicators import _separation
from defenses.data_audit.ingest import ingest
from defenses.data_audit.match import match
from defenses.models import Plain
from defenses.sanitise._quotas import Quota
from defenses.sanitise._selection import soft_lowest

RNG = np.random.default_rng(4)


def test_the_size_of_a_mask_is_the_sum_over_its_pixels() -> None:
    nothing: Any = None
    mask = jnp.asarray(RNG.uniform(size=(4, 5, 1)))
    area = NeuralCleanse(nothing, nothing).penalty()(nothing, mask, nothing, nothing, nothing)
    np.testing.assert_allclose(area, np.sum(mask))


def test_each_round_of_flips_has_the_derivative_at_the_labels_so_far() -> None:
    """Gains that turn round once the first row is taken."""

    def at(taken):
        return np.array([9.0, 5, 4, 1, 2]) if not taken.any() else np.array([9.0, 1, 2, 5, 4])

    influence: Any = SimpleNamespace(
        at=at, rows=SimpleNamespace(y=np.zeros(5)), other_label=np.ones(5)
    )
    ways = ((1, 3), 2), ((3,), 3), ((3,), 1)
    found: Any = [flips(influence, *way) for way in ways]
    by_one, in_rounds, whole = found
    assert [poison.changed[0].tolist() for poison in by_one] == [[0], [0, 3, 4]]
    assert in_rounds[0].changed[0].tolist() == [0, 3, 4]
    assert whole[0].changed[0].tolist() == [0, 1, 2]


def test_charts_are_as_high_as_what_is_drawn_in_them() -> None:
    def heights(svg: str) -> tuple[float, float]:
        height = float(re.findall(r'viewBox="0 0 [0-9.]+ ([0-9.]+)"', svg)[0])
        return height, max(float(y) for y in re.findall(r' y2?="([-0-9.]+)"', svg))

    for count in (1, 9):
        row: Any = SimpleNamespace(name="none", clean=0.1, found=0.3, adaptive=0.2)
        height, lowest = heights(charts.defense_chart([row] * count))
        assert lowest < height < lowest + 20
    budgets: Any = [SimpleNamespace(share=s, found=s, random=s / 2, certified=None) for s in (1, 2)]
    height, lowest = heights(charts.damage_chart(budgets, 0.1))
    assert lowest < height < lowest + 20


def test_the_separation_of_classes_does_not_depend_on_units() -> None:
    """Two clouds of deviation 2 along the line between them, 12 apart."""
    along = np.array([0.6, 0.8])
    side = np.array([-0.8, 0.6])
    steps, wide = np.resize([-2.0, 2.0], 40), np.repeat([-30.0, 30.0], 20)
    cloud = steps[:, None] * along + wide[:, None] * side
    x, y = np.concatenate([cloud, cloud + 12 * along]), np.repeat([0, 1], 40)
    for unit in (1.0, 1e-3):
        found: Any = _separation(unit * x, y)
        np.testing.assert_allclose(found.value, 6)
    far = np.concatenate([x, cloud + 90 * side]), np.repeat([0, 1, 2], 40)
    found: Any = _separation(*far)
    np.testing.assert_allclose(found.value, 90 / 30)  # of the nearest by spread


def test_reasons_are_words_and_numbers_are_numbers() -> None:
    def row(exact, why) -> Any:
        return SimpleNamespace(number=7, value=0.5, exact=exact, why=why, cells={"a": 1.0, "b": 2})

    for exact in (None, 0.25):
        with_reason = page._rows([row(exact, "an outlier")], "score", True)
        named = re.findall(r"<t[hd] class=name>([^<]*)<", with_reason)
        assert named == ["why", "an outlier"]
        assert "class=name" not in page._rows([row(exact, "")], "score", True)


def test_a_numpy_function_gets_rows_of_its_own_rank_in_a_batch() -> None:
    def total(x):
        return np.asarray(x).reshape(len(x), -1).sum(axis=1) if x.ndim == 2 else x["no such rank"]

    batch = jnp.asarray(RNG.normal(size=(3, 4, 2)))
    found = jax.jit(jax.vmap(Plain(total).decision))(batch)
    np.testing.assert_allclose(found, batch.sum(axis=2))


def test_a_threshold_is_differentiated_over_the_rows_that_it_holds() -> None:
    """The quota of the second class holds its shares up: theirs do not move with the others."""
    score = jnp.asarray([0.2, 0.5, 1.0, 1.5, 30.0, 40.0, 50.0])
    group, weight = jnp.asarray([0.0, 0, 0, 0, 1, 1, 1]), jnp.asarray([1.0, 2, 1, 1, 1, 0.5, 1])
    quota = Quota(jnp.where(group == 1, 1.5, 0.0), group)

    @jax.jit
    def shares(score):
        return soft_lowest(score, weight, jnp.asarray(4.0), 2.0, quota)

    base = shares(score)
    np.testing.assert_allclose(weight[group == 1] @ base[group == 1], 1.5, rtol=1e-9)
    np.testing.assert_allclose(weight @ base, 4, rtol=1e-9)
    jacobian = jax.jit(jax.jacfwd(shares))(score)
    for k in range(7):
        h = 1e-5 * float(score[k])
        up, down = (shares(score.at[k].add(sign * h)) for sign in (1, -1))
        np.testing.assert_allclose(jacobian[:, k], (up - down) / (2 * h), atol=1e-7)


def test_copies_for_a_group_begin_with_the_first_of_each_list() -> None:
    """Three of ten in a hundred rows are of the second list; each list begins anew at its end."""
    train = Data(np.arange(8.0)[:, None], np.resize([1.0, -1.0], 8))
    kinds = Kinds(train, np.repeat([0, 1], 4), 0, 1)
    lists: Any = kinds.accepted, kinds.refused
    planted = kinds.planted(7, 0.4, *lists)
    assert kinds.accepted.tolist() == [0, 2]
    assert kinds.refused.tolist() == [5, 7]
    np.testing.assert_array_equal(planted.rows, [0, 2, 5, 0, 7, 2, 0])
    np.testing.assert_array_equal(planted.y, -train.y[planted.rows])


def test_columns_repeat_one_another_only_if_all_of_their_rows_do() -> None:
    """They agree in their first fifty rows, or in all."""
    a = np.arange(120.0) % 7
    frame = pd.DataFrame({"a": a, "b": a, "c": np.where(np.arange(120) < 60, a, -a)})
    frame["y"] = np.resize(["in", "out"], 120)
    notes = [note for note in ingest(frame, "y").notes if "repeats" in note]
    assert notes == ["Column 'b' repeats 'a': both were kept."]


def test_judges_of_an_svm_have_its_loss_however_many_rows() -> None:
    small: Any = match("svm", "classes", 2, (100, 4)).twin()
    large: Any = match("svm", "classes", 2, (100_000, 4)).twin()
    assert (type(small).__name__, small.kernel) == ("SVC", "linear")
    assert (type(large).__name__, large.loss, large.penalty) == ("LinearSVC", "hinge", "l2")
    assert small.C == large.C == 1


def test_what_deals_or_folds_rows_trains_a_learner_that_knows_none() -> None:
    """The rows that it trains on do not begin with those that an attack holds fixed."""
    known = Data(RNG.normal(size=(9, 2)), np.resize([1.0, -1.0], 9))
    svm = SVM()
    for made in (
        MicroModels(svm, 3), Partition(svm, 3), ConfidentLearning(svm, 3), Relabel(svm), Roni(svm)
    ):  # fmt: skip
        assert made.prepare(known) is made
    prepared: Any = Filter(svm).prepare(known)
    assert prepared.learner is not svm


def test_a_trigger_that_has_more_than_a_row_is_refused() -> None:
    """Also one of as many axes: three channels for a grey image."""
    clean = Data(np.zeros((4, 5, 5, 1)), np.zeros(4, np.int32))
    for mask, pattern, wrong in (
        (np.ones((5, 5, 3)), np.ones(()), r"mask: got shape \(5, 5, 3\)"),
        (np.ones((5, 1, 1)), np.ones((5, 5, 2)), r"pattern: got shape \(5, 5, 2\)"),
        (np.ones((5, 5)), np.ones(()), r"mask: got shape \(5, 5\)"),
    ):
        model = Fixed(LinearModel(jnp.ones(25), jnp.zeros(())), Squares())
        with pytest.raises(ValueError, match=wrong):
            Unlearn(model, clean, mask, pattern).check(clean)
