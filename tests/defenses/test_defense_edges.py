"""Edges of defenses: blocks that do not fit, sets that stay, rows that were decided before."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from corner import CLEAN, CORNER, INFECTED, SHAPE, TARGET

from attacks import Box
from bilevel import Data, Point
from bilevel.learners import Network, Ridge, Trained, Training
from bilevel.losses import Squares
from bilevel.networks import MLP
from bilevel.solvers import Descent
from defenses import MicroModels, Relabel, _trial
from defenses._trial import trial
from defenses.audit import RestoredTriggers, Tabor
from defenses.purify.inpainter import Inpainter, _painted
from defenses.sanitise._inspection import gaps, gaps_by
from defenses.sanitise.trim import _joined, _split

RNG = np.random.default_rng(0)


def test_an_image_that_blocks_do_not_fill_is_painted_as_if_unknown_pixels_filled_them() -> None:
    """A layer without weights has the bias of each pixel of a block."""
    x, mask = RNG.uniform(size=(2, 5, 6, 2)), RNG.integers(0, 2, (2, 5, 6, 1)) * 1.0
    start = Inpainter(channels=3, layers=1)._start(jax.random.key(0), jnp.asarray(x))
    start = jax.tree.map(lambda leaf: leaf + 0.1 * RNG.normal(size=leaf.shape), start)
    painted = jax.jit(lambda x, mask: _painted(start, 4, x, mask))
    whole = ((0, 0), (0, 3), (0, 2), (0, 0))
    found = painted(np.pad(x, whole), np.pad(mask, whole, constant_values=1))
    np.testing.assert_allclose(painted(x, mask), found[:, :5, :6], atol=1e-12)

    last = {"weight": jnp.zeros((3, 3, 48, 32)), "bias": jnp.arange(32.0)}
    blocks = np.arange(32.0).reshape(4, 4, 2)
    expected = np.tile(blocks, (2, 2, 1))[:5, :6]
    found = _painted([last], 4, jnp.asarray(x), jnp.asarray(mask))
    np.testing.assert_array_equal(found, [expected, expected])


def test_rows_that_were_decided_keep_their_labels_and_others_have_the_new_ones() -> None:
    y = np.where(np.arange(30) % 2, 1.0, -1.0)
    x = RNG.normal(size=(30, 2)) + 3 * y[:, None]
    y[:3] *= -1  # their neighbours disagree
    defense, data = Relabel(Ridge(0.1), 5), Data(x, y)
    trained = defense.training(data)
    settled = defense.pinned(trained)
    decided = np.asarray(trained.report.decided)
    assert 0 < decided.sum() < 30
    seen = settled.inspect(Data(x, -y)).data
    expected = np.where(decided, np.asarray(trained.report.data.y), -y)
    np.testing.assert_array_equal(seen.y, expected)
    assert np.any(expected != -y)


def test_only_a_solver_that_arrives_goes_on_from_the_training_before() -> None:
    """Few steps of a network begin at the same weights each time."""
    x, face, warm = jnp.arange(3.0)
    point = Point(x, face, warm, jnp.int32(0), {"steps": jnp.int32(4)})
    network = Network(MLP((2,), 1), Squares(), solver=Descent(optax.sgd(0.05), 3))
    for learner, warm in ((network, None), (Ridge(0.1), point.warm)):
        begins, rest = _split(learner, point)
        assert begins is warm
        assert rest is not None
        assert (rest.unknowns, rest.frozen, rest.warm) == (point.unknowns, point.frozen, None)
        assert (rest.result, rest.stats) == (point.result, point.stats)
        again = _joined(point.warm, rest)
        assert again is not None
        assert (again.unknowns, again.warm, again.stats) == (0, 2, point.stats)
    assert _split(network, None) == (None, None)
    assert _joined(point.warm, None) is None


class AtSolution(SimpleNamespace):
    """In place of the implicit derivative."""


def point_of(code: int) -> Point:
    return Point(jnp.array(2.0), jnp.array(3.0), None, jnp.int32(code), {})


@pytest.mark.parametrize("codes", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 1, 3)])
def test_a_trial_has_the_worst_code_of_what_came_before_of_the_solve_and_of_the_repair(
    codes, monkeypatch
) -> None:
    monkeypatch.setattr(_trial, "Implicit", AtSolution)
    before, solved, repaired = codes
    asked: list[Any] = []

    def attach(solver: Any, problem: Any, warm: Any) -> tuple[None, Point]:
        asked.append(warm)
        return None, point_of(solved)

    data, problem = Data(np.zeros((2, 1)), np.zeros(2)), SimpleNamespace(functions=dict)
    for derivative, converges, point, warm in (
        (AtSolution, True, point_of(solved), []),
        (AtSolution, True, None, ["warm"]),
        (AtSolution, False, None, [None]),
        (SimpleNamespace, True, point_of(9), ["warm"]),  # of a path the point is another one
    ):

        def training(data: Data, *, key: Any, point: Any = point) -> Training:
            asked.append(key)
            made: Any = lambda value: Trained(value, repaired)  # noqa: E731
            return Training(data, problem, made, result=before, point=point)

        asked.clear()
        solver = SimpleNamespace(converges=converges, value=lambda problem, *given: given)
        learner: Any = SimpleNamespace(
            training=training, solver=solver, derivative=derivative(attach=attach)
        )
        start: Any = ("warm", "key")
        found = trial(learner, data, *start)
        assert (int(found.result), asked) == (max(codes), ["key", *warm])
        assert found.point is not None
        assert found.model == (2, 3)
    learner.training = lambda data, key: Training(data, None, lambda v: Trained(v, 1), result=2)
    found = trial(learner, data, None, None)
    assert (found.model, int(found.result), found.point) == (None, 2, None)


@pytest.mark.parametrize(("share", "explained"), [(0.1, 0.0), (1.0, 1.0)])
def test_as_many_pixels_explain_a_label_as_the_mask_has(share, explained) -> None:
    """Of a tenth of four pixels none is kept, and any pixel of the corner alone is enough."""
    mask = share * jnp.asarray(CORNER.mask, jnp.float32)
    one, shown = jnp.ones(1, jnp.float32), jnp.ones(SHAPE, jnp.float32)
    triggers = RestoredTriggers(
        jnp.int32(TARGET)[None], mask[None], shown[None], 4 * one, one, Box(0.0, 1.0)
    )
    figure = Tabor(alpha=0.0, beta=0.0).figures(INFECTED, CLEAN, triggers)
    np.testing.assert_allclose(figure, [-2 - explained], rtol=1e-6)


def test_gaps_are_distances_from_the_middle_between_kept_and_dropped() -> None:
    score = jnp.array([0.1, 0.5, 2.0, 3.0, 9.0])
    kept, used = jnp.array([1, 1, 0, 0, 0], bool), jnp.array([1, 1, 1, 1, 0], bool)
    np.testing.assert_allclose(gaps(score, kept, used), [1.15, 0.75, 0.75, 1.75, np.inf])
    group = jnp.array([0.0, 1.0, 0.0, 1.0, 0.0])
    by_class = [0.95, 1.25, 0.95, 1.25, np.inf]
    np.testing.assert_allclose(gaps_by(score, kept, used, group), by_class)
    for all_of_one in (kept | True, kept & False):
        assert np.all(np.isinf(gaps(score, all_of_one, used)))


def test_the_margin_of_micro_models_is_the_distance_of_doubt_from_the_threshold() -> None:
    y = np.where(np.arange(30) % 2, 1.0, -1.0)
    data = Data(RNG.normal(size=(30, 2)) + y[:, None], y)
    seen = MicroModels(Ridge(0.1), 4, dispute=0.3, balance=0.0).inspect(data)
    assert seen.margin is not None
    np.testing.assert_allclose(seen.margin, np.abs(np.asarray(seen.score) - 0.3))
