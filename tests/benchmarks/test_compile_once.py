"""Whoever composes an attack again, on other data of the same shapes, waits for no compiler."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attacks import Box, Insert, compose, indiscriminate
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


@pytest.mark.parametrize("name", CASES)
def test_a_second_and_a_third_study_compile_nothing(name: str) -> None:
    with counted() as first:
        study(name, seed=0)
    with counted() as second:
        study(name, seed=0)
    with counted() as third:
        study(name, seed=1)
    assert first.programs > 0
    assert (second.programs, third.programs) == (0, 0)
