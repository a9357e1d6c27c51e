"""Whoever composes an attack again, on other data of the same shapes, waits for no compiler."""

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attacks import Box, Insert, L1Ball, L2Ball, compose, flip_by_hypergradient, indiscriminate
from benchmarks.compile_events import counted
from bilevel import Data, certify, losses, maximize
from bilevel.learners import SVM, Lasso, Ridge

CASES = {
    "svm": (lambda: SVM(1.0), losses.Hinge),
    "ridge": (lambda: Ridge(1e-2), losses.Squares),
    "lasso": (lambda: Lasso(1e-2), losses.Squares),
}


def study(name: str, seed: int) -> None:
    """Gradient, ascent and certificate of an attack; everything is made anew, as in a notebook."""
    rng = np.random.default_rng(seed)
    x, (learner, loss) = rng.uniform(size=(14, 3)), CASES[name]
    y = np.where(x.sum(1) > np.median(x.sum(1)), 1.0, -1.0)
    goal = indiscriminate(x[8:], y[8:], loss())
    attack = compose(learner(), Insert([1.0, -1.0], Box(0.0, 1.0)), goal, Data(x[:8], y[:8]))
    start = jnp.asarray(rng.uniform(size=(2, 3)))
    jax.grad(attack)(start)
    sgd = optax.sgd(0.1, momentum=0.5)
    maximize(attack, start, steps=3, optimizer=sgd, record=lambda step: (step.value, step.z))
    certify(attack, start)


def flips(seed: int) -> None:
    """Labels flipped, ranked by hypergradient and verified."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(size=(14, 3)), np.where(np.arange(14) % 2, 1.0, -1.0)
    flip_by_hypergradient(Data(x[:8], y[:8]), 2, Data(x[8:], y[8:]), Ridge(1e-2), verify=2)


def project(ball: type[L1Ball] | type[L2Ball], seed: int) -> None:
    """Rows projected, outside of any program."""
    z = jnp.asarray(np.random.default_rng(seed).uniform(size=(2, 5)))
    ball(jnp.zeros((2, 5)), 0.1 + 0.1 * seed, Box(-1.0, 1.0)).project(z)


def compiled(function: Callable[..., None], *arguments) -> tuple[bool, int, int]:
    """Whether the first call compiles; what the second and one on other data compile or load."""
    counts = []
    for seed in (0, 0, 1):
        with counted() as count:
            function(*arguments, seed=seed)
        counts.append(count.programs)
    return counts[0] > 0, counts[1], counts[2]


@pytest.mark.parametrize("name", ["svm", "ridge", pytest.param("lasso", marks=pytest.mark.slow)])
def test_a_second_and_a_third_study_compile_nothing(name: str) -> None:
    assert compiled(study, name) == (True, 0, 0)


def test_flips_of_other_rows_compile_nothing() -> None:
    assert compiled(flips) == (True, 0, 0)


@pytest.mark.skipif("CHECK_TYPES" in os.environ, reason="checked functions are traced anew")
@pytest.mark.parametrize("ball", [L1Ball, L2Ball])
def test_projections_onto_another_ball_compile_nothing(ball) -> None:
    assert compiled(project, ball) == (True, 0, 0)
