"""TABOR: its terms and its comparison on a linear model where they can be counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corner import CLEAN, CORNER, COUNTS, HONEST, INFECTED, SHAPE, TARGET

from attacks import Box
from bilevel import Data
from bilevel.learners import AbstractModel
from defenses.audit import RestoredTriggers, Tabor, TaborTerms, TriggerSearch, overlap

X = np.asarray(CLEAN.x)
KEY = jax.random.key(0)
SEARCH = TriggerSearch(rounds=30, rows=35)
MASK = jnp.asarray(CORNER.mask, jnp.float32)
PATTERN = jnp.full(SHAPE, 0.5, jnp.float32)
NONE = {name: 0.0 for name in vars(TaborTerms())}
LABEL = jnp.int32(TARGET)


def mean_loss(y, x):
    """By hand: the mean of -log of softmax at y."""
    f = np.asarray(x, float).reshape(len(x), -1) @ np.asarray(COUNTS.weight, float).T
    of_label = np.take_along_axis(f, np.broadcast_to(y, len(x))[:, None], axis=1)[:, 0]
    return np.mean(np.log(np.sum(np.exp(f), axis=1)) - of_label)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mask", 8.0),  # four pixels of one, and their squares
        ("outside", 32 * 0.75),  # the other 32 of a half
        ("rough", 4.0),  # the corner has four neighbours
        ("rough_outside", 4 * 0.25),
        ("blocking", mean_loss(CLEAN.y, CLEAN.x)),  # the corner of clean rows is black
        ("overlaying", mean_loss(LABEL, 0.5 * np.asarray(CORNER.mask)[None])),
    ],
)
def test_each_term_is_what_it_is_called(name, value):
    penalty = Tabor(terms=TaborTerms(**NONE | {name: 1.0})).penalty()
    np.testing.assert_allclose(
        penalty(INFECTED, MASK, PATTERN, CLEAN, LABEL), value, rtol=1e-5, atol=1e-6
    )


def test_covered_pixels_have_the_lowest_value_of_the_range():
    """Rows one above those that the model knows: what the mask leaves is not zero but one."""
    below = np.ones(SHAPE, np.float32)
    below[:3] = 0  # a mask over pixels of some classes
    moved = Data(X + 1, CLEAN.y)
    penalty = Tabor(terms=TaborTerms(**NONE | {"blocking": 1.0}), domain=Box(1.0, 2.0)).penalty()
    seen = mean_loss(CLEAN.y, (1 - below)[None] * X + 1)
    found = penalty(INFECTED, jnp.asarray(below), PATTERN, moved, LABEL)
    np.testing.assert_allclose(found, seen, rtol=1e-5)


class Grey(AbstractModel):
    """The same model, of the mean of the channels."""

    def decision(self, x, *, key=None):
        return INFECTED.decision(jnp.mean(x, axis=-1, keepdims=True))


def test_a_colour_image_has_the_figure_of_its_grey_copy():
    one, figures = jnp.ones(1, jnp.float32), []
    for model, channels in ((INFECTED, 1), (Grey(), 3)):
        shape = (*SHAPE[:2], channels)
        pattern = jnp.broadcast_to(PATTERN, shape)[None]
        x = np.broadcast_to(X, (CLEAN.rows, *shape))
        triggers = RestoredTriggers(LABEL[None], MASK[None], pattern, 4 * one, one, Box(0.0, 1.0))
        audit = Tabor(alpha=2.0, beta=3.0)
        figures.append(float(audit.figures(model, Data(x, CLEAN.y), triggers)[0]))
    assert figures[0] == pytest.approx(figures[1], rel=1e-5)


def test_triggers_are_compared_by_size_roughness_and_what_they_do():
    ones, one = jnp.ones(SHAPE, jnp.float32), jnp.ones(1, jnp.float32)
    triggers = RestoredTriggers(LABEL[None], MASK[None], ones[None], 4 * one, one, Box(0.0, 1.0))
    figure = Tabor(alpha=2.0, beta=3.0).figures(INFECTED, CLEAN, triggers)
    # Success, accuracy without the corner, and the corner alone explains the label: three ones.
    np.testing.assert_allclose(figure, 2 * 4 / 36 + 3 * 4 / 60 - 3, rtol=1e-5)
    of_honest = Tabor(alpha=2.0, beta=3.0).figures(HONEST, CLEAN, triggers)
    assert float(of_honest[0]) > float(figure[0]) + 0.5  # nothing there explains the label


def test_the_backdoor_is_found_and_its_mask():
    found = Tabor(search=SEARCH).restore(INFECTED, CLEAN, TARGET, key=KEY)
    assert float(found.success[0]) > 0.95
    assert float(overlap(found.mask[0], MASK).precision) > 0.9


def test_tables_and_weights_out_of_range_are_said():
    rows = Data(CLEAN.x.reshape(70, -1), CLEAN.y)
    with pytest.raises(ValueError, match=r"clean: got rows of shape \(36,\), expected images"):
        Tabor(search=SEARCH).examine(INFECTED, rows, key=KEY)
    with pytest.raises(ValueError, match="rough: got -1"):
        TaborTerms(rough=-1.0)
