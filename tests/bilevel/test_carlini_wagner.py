"""The loss of Carlini & Wagner: values, its floor, where it has no derivative, sentences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel.losses import CarliniWagner

F = jnp.asarray([[3.0, 1.0, 2.5], [0.0, 4.0, 1.0], [1.0, 1.0, -2.0]])
Y = jnp.asarray([1, 1, 2])


def values(*margins):
    """The losses of these margins, as one program."""
    return jax.jit(lambda: [CarliniWagner(margin)(Y, F) for margin in margins])()


def test_it_is_the_lead_of_the_best_other_class_down_to_the_margin():
    np.testing.assert_allclose(jax.jit(CarliniWagner())(Y, F), [2.0, 0.0, 3.0])
    two, nine = values(2.0, 9.0)
    np.testing.assert_allclose(two, [2.0, -2.0, 3.0])
    np.testing.assert_allclose(nine, [2.0, -3.0, 3.0])
    slope = jax.jit(jax.grad(lambda f: jnp.sum(CarliniWagner(2.0)(Y[:2], f))))(F[:2])
    np.testing.assert_array_equal(slope, [[1, -1, 0], [0, 0, 0]])
    alone = jax.jit(lambda f: CarliniWagner(9.0)(Y[:1], f))(F[:1, :2])
    np.testing.assert_allclose(alone, [2.0])


def test_kinks_are_the_margin_and_ties_of_other_classes():
    np.testing.assert_allclose(np.asarray(values(3.0)[0]) + 3, [5.0, 0.0, 6.0])
    three, near = jax.jit(
        lambda: [CarliniWagner(3.0).kinks(Y, F), CarliniWagner(2.5).kinks(Y[1:2], F[1:2])]
    )()
    np.testing.assert_allclose(three, [0.5, 0.0, 0.0])
    np.testing.assert_allclose(near, [0.5])


def test_what_it_cannot_take_is_a_sentence():
    with pytest.raises(ValueError, match=r"^margin: got -1"):
        CarliniWagner(-1)
    with pytest.raises(ValueError, match=r"^y: got labels"):
        CarliniWagner().check(jnp.asarray([0.5, 1.0]))
