"""Parts of the fuzz and of the race: how tables are drawn, slack of the exact SVM, the core."""

import os

import equinox as eqx
import jax.extend
import numpy as np
import pytest

from benchmarks.experiments.hypergradients.hypergradient_peers import one_core
from benchmarks.fuzz.exact.sanitised import trimmed
from benchmarks.fuzz.exact.svm import linear, svm
from benchmarks.fuzz.penalised import PENALISED
from benchmarks.fuzz.tables import FAMILIES
from bilevel import argmin
from bilevel.results import CONVERGED
from bilevel.solvers import FISTA


def strength(drawn, plain):
    del plain
    return drawn.strength


def scale(drawn, plain):
    return drawn.x[0, 0] / plain.x[0, 0]


def shift(drawn, plain):
    return drawn.x[0, 0] - plain.x[0, 0]


RANGES = {
    "plain": (strength, -1, 1), "weak": (strength, -6, -2), "strong": (strength, 2, 6),
    "mixed-scales": (scale, -4, 4), "small": (scale, -4, -1), "saturated": (scale, 0.5, 1.2),
    "offset": (shift, 1, 6),
}  # fmt: skip
"""What a family draws, and the logarithms of the least and of the largest."""


@pytest.mark.parametrize("family", RANGES)
def test_every_decade_of_a_range_is_as_likely(family) -> None:
    of, low, high = RANGES[family]
    tables = [
        [FAMILIES[name](np.random.default_rng(seed)) for name in (family, "plain")]
        for seed in range(200)
    ]
    places = np.sort([(np.log10(of(*pair)) - low) / (high - low) for pair in tables])
    assert -1e-9 < places[0] < 0.05 < 0.95 < places[-1] < 1 + 1e-9
    np.testing.assert_allclose(places[[50, 100, 150]], [0.25, 0.5, 0.75], atol=0.12)
    for drawn, plain in tables[:3]:
        np.testing.assert_array_equal(drawn.y, plain.y)
        if of is not strength:  # rows to validate on are moved alike
            at = of(drawn, plain)
            moved = plain.x_val[:, 0] + at if of is shift else plain.x_val[:, 0] * at
            np.testing.assert_allclose(drawn.x_val[:, 0], moved, rtol=1e-9)


def test_rows_of_no_weight_have_no_slack_of_their_own() -> None:
    """Two rows on the margin, and one on the wrong side of it that does not count."""
    x, y = np.array([[1.0], [-1.0], [0.9], [3.0]]), np.array([1.0, -1.0, -1.0, 1.0])
    lower, upper = np.array([False, False, True, True]), np.zeros(4, bool)
    there, gone = (svm(linear, x, y, np.array([1.0, 1, w, 1]), 5.0, lower, upper) for w in (1, 0))
    assert float(there.slack) < -0.1
    assert float(gone.slack) > 0.05
    np.testing.assert_allclose(np.asarray(gone.decision(x), float), x[:, 0], atol=1e-12)


def test_the_race_is_run_on_the_last_core_unless_another_is_named(monkeypatch) -> None:
    pinned = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 2, 7}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, of: pinned.append(of), raising=False)
    monkeypatch.setattr(jax.extend.backend, "clear_backends", lambda: None)
    for core, used in ((None, {7}), (2, {2})):
        with one_core(core):
            assert pinned == [used]
        assert pinned == [used, {4, 2, 7}]
        pinned.clear()


def test_a_direction_without_curvature_takes_no_step_off_its_face() -> None:
    """A column and its complement: Newton's step went anywhere along what they share, off the face
    on which FISTA stood, and the solve ended at its last step.
    """
    solve = eqx.filter_jit(
        lambda problem: argmin(problem, solver=FISTA(max_steps=600), throw=False)
    )
    for number in (2, 4, 8):
        table = FAMILIES["one-hot"](np.random.default_rng([12, number, *b"one-hot"]))
        objective, z = PENALISED["lasso-fista"].pose(table)
        found = solve(objective.pose(z).problem)
        assert int(found.result) == CONVERGED
        w = np.asarray(found.value)
        np.testing.assert_allclose(w[::2], -w[1::2], atol=1e-3 * np.abs(w).max())


def test_the_share_kept_by_trim_is_of_the_rows_that_count() -> None:
    """Of eight rows two weigh nothing: of the six others a third goes, the two of largest score."""
    score, weight = np.arange(8.0), np.array([1.0, 0, 2, 1, 1, 0, 1, 1])
    kept = np.array([1, 0, 1, 1, 1, 0, 0, 0], bool)
    assert trimmed(score, score / 8, weight, kept, 1 / 3)
    for other in (6, 0):  # one more, one less
        changed = kept.copy()
        changed[other] ^= True
        assert not trimmed(score, score / 8, weight, changed, 1 / 3)
