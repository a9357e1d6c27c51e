"""The loss of Carlini & Wagner: values, its floor, where it has no derivative, sentences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel.losses import CarliniWagner

F = jnp.asarray([[3.0, 1.0, 2.5], [0.0, 4.0, 1.0], [1.0, 1.0, -2.0]])
Y = jnp.asarray([1, 1, 2])


def test_it_is_the_lead_of_the_best_other_class_down_to_the_margin():
    np.testing.assert_allclose(CarliniWagner()(Y, F), [2.0, 0.0, 3.0])
    np.testing.assert_allclose(CarliniWagner(2.0)(Y, F), [2.0, -2.0, 3.0])
    np.testing.assert_allclose(CarliniWagner(9.0)(Y, F), [2.0, -3.0, 3.0])
    slope = jax.grad(lambda f: jnp.sum(CarliniWagner(2.0)(Y[:2], f)))(F[:2])
    np.testing.assert_array_equal(slope, [[1, -1, 0], [0, 0, 0]])
    np.testing.assert_allclose(CarliniWagner(9.0)(jnp.asarray([1]), F[:1, :2]), [2.0])


def test_kinks_are_the_margin_and_ties_of_other_classes():
    np.testing.assert_allclose(CarliniWagner(3.0)(Y, F) + 3, [5.0, 0.0, 6.0])
    np.testing.assert_allclose(CarliniWagner(3.0).kinks(Y, F), [0.5, 0.0, 0.0])
    np.testing.assert_allclose(CarliniWagner(2.5).kinks(Y[1:2], F[1:2]), [0.5])


def test_what_it_cannot_take_is_a_sentence():
    with pytest.raises(ValueError, match=r"^margin: got -1"):
        CarliniWagner(-1)
    with pytest.raises(ValueError, match=r"^y: got labels"):
        CarliniWagner().check(jnp.asarray([0.5, 1.0]))
