"""Functions that cannot be traced, or differentiated, or that fail: a sentence, or NaN."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel import Data, SolveError, argmin, certify, maximize
from bilevel.learners import Ridge
from bilevel.problems import Smooth
from bilevel.solvers import Newton

Z = jnp.ones(3)


def length(w: Any, args: Any = None) -> Any:
    return np.linalg.norm(w)


def total(z: Any) -> Any:
    return float(jnp.sum(z))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: maximize(length, Z), "reads the numbers of its arguments"),
        (lambda: maximize(total, Z), "reads the numbers of its arguments"),
        (lambda: certify(lambda z: jnp.sum(np.asarray(z)), Z), "reads the numbers"),
        (
            lambda: argmin(Smooth(length, Z), solver=Newton()),
            "reads the numbers",
        ),
        (lambda: argmin(Smooth(lambda w, a: w**2, Z), solver=Newton()), "must return one floating"),
        (lambda: argmin(Smooth(lambda w, a: None, Z), solver=Newton()), "must return one floating"),  # pyright: ignore
    ],
)
def test_functions_that_jax_cannot_trace_or_differentiate_are_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_an_invalid_strength_inside_a_function_is_no_number():
    """With `throw` a sentence at run time, without it NaN."""
    learner = eqx.tree_at(lambda ridge: ridge.l2, Ridge(1.0), jnp.asarray(-1.0))
    x, y = jnp.asarray([[0.0], [1.0], [3.0]]), jnp.asarray([1.0, -1.0, 1.0])

    def weight(z, throw):
        return jnp.sum(learner.fit(Data(x + z[None], y), throw=throw).model.w)

    with pytest.raises(SolveError, match="a strength of the learner is out of range"):
        certify(lambda z: weight(z, True), jnp.zeros(1))
    found = certify(lambda z: weight(z, False), jnp.zeros(1))
    assert np.isnan(float(found.value))
    assert not float(found.error_bound) < np.inf


@pytest.mark.parametrize("rows", [10, 100_000])
def test_rows_that_are_changed_later_are_not_those_of_the_data(rows):
    """A NumPy array may share its memory with an array of JAX, if it begins at a good place."""
    for place in range(8):
        x = np.zeros(rows + 8)[place : place + rows]
        data = Data(x[:, None], x)
        x[:] = 1
        np.testing.assert_array_equal(data.x, 0)
        np.testing.assert_array_equal(data.y, 0)
