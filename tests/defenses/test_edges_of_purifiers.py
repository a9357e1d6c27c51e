"""Edges of what works on finished models: steps, ranges, thresholds and sentences."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import Box
from bilevel import Data
from bilevel.learners import Ridge
from defenses import FewerLevels
from defenses.audit._checks import classes_of, require_range
from defenses.models import Plain
from defenses.purify import Februus, februus
from defenses.purify.inpainter import Inpainter, Inpainting
from defenses.purify.strip import ScreenedModel
from defenses.repair.implicit_unlearning import Ball, _ascended

RNG = np.random.default_rng(11)


def test_a_step_of_the_ascent_is_of_the_weighted_loss_less_the_penalty_inside_the_ball() -> None:
    architecture: Any = SimpleNamespace(
        apply=lambda parameters, x: SimpleNamespace(logits=x @ parameters)
    )
    x, w = RNG.normal(size=(4, 2)), np.array([0.4, -1.0])
    y, weight = np.array([1.0, 0, 2, 1]), np.array([1.0, 3, 0, 2])
    shift = np.array([0.3, -0.2])
    slope = (weight @ ((x + shift) @ w - y)) / weight.sum() * w - 2 * 0.7 * shift

    def loss(y, f):
        return 0.5 * (f - y) ** 2

    for radius, size in ((np.inf, None), (0.1, 0.1)):
        ball = Ball(radius, 0.7, 0.25)
        found = _ascended(
            jnp.asarray(shift), (ball, architecture, jnp.asarray(w), Data(x, y, weight), loss)
        )
        expected = shift + 0.25 * slope
        expected *= 1 if size is None else size / np.linalg.norm(expected)
        np.testing.assert_allclose(found, expected)


def test_entropy_is_the_mean_in_nats_over_overlays_of_their_share() -> None:
    rows, over = RNG.normal(size=(5, 3)), RNG.normal(size=(2, 3))
    model = ScreenedModel(Plain(lambda x: 3 * x), jnp.asarray(over), 0.3, jnp.asarray(0.6))
    entropies = []
    for overlay in over:
        p = np.exp(3 * (0.7 * rows + 0.3 * overlay))
        p /= p.sum(axis=1, keepdims=True)
        entropies.append(-np.sum(p * np.log(p), axis=1))
    expected = np.mean(entropies, axis=0)
    np.testing.assert_allclose(model.entropy(jnp.asarray(rows)), expected)
    np.testing.assert_array_equal(model.refuses(jnp.asarray(rows)), expected < 0.6)
    f = model.decision(jnp.asarray(rows))
    np.testing.assert_allclose(f[:, 3] - 3 * rows.max(axis=1), 0.6 - expected)


@pytest.mark.parametrize(("threshold", "cut"), [(1.0, 2), (0.5, 4), (0.51, 3), (1e-9, 5)])
def test_pixels_as_hot_as_the_threshold_are_cut_out(threshold, cut, monkeypatch) -> None:
    """The hottest ones always are; the others stay as they are."""
    heat = np.array([[[0.5, 1.0, 0.0], [0.75, 1.0, 1e-3]]])
    monkeypatch.setattr(februus, "heat_map", lambda model, x, heat: jnp.asarray(heat))
    defense = Februus(Ridge(), lambda x, mask: 9 + 0 * x, threshold, heat)  # pyright: ignore
    x = jnp.asarray(RNG.uniform(0.1, 1, (1, 2, 3, 2)))
    model: Any = "model"
    mask = np.asarray(defense.mask(model, x))
    np.testing.assert_array_equal(mask[..., 0], heat >= threshold)
    assert (mask.sum(), mask.shape, mask.dtype) == (cut, (1, 2, 3, 1), x.dtype)
    painted = defense.purify(model, x)
    np.testing.assert_allclose(painted, np.where(mask > 0, 9, x))


def test_what_rows_and_ranges_are_wrong_is_said_by_their_numbers() -> None:
    domain, x = Box(0.0, 1.0), jnp.array([[0.5, -0.25], [1.5, 0.2]])
    require_range(jnp.array([[0.0, 1.0]]), domain)
    with pytest.raises(ValueError, match=r"values from -0.25 to 1.5, 0.5 outside"):
        require_range(x, domain)
    with pytest.raises(ValueError, match=r"^domain: is unbounded"):
        require_range(x, Box(0.0, np.inf))
    three, one = Plain(lambda x: jnp.concatenate([x, x[:, :1]], axis=1)), Plain(lambda x: x[:, 0])
    assert classes_of(three, Data(x, np.array([0, 2])), 3) == 3
    assert classes_of(one, Data(x, np.array([-1.0, 1])), 2) == 2
    for model, y, least, sentence in (
        (three, [0, 3], 3, r"got labels \[3\], expected class numbers 0 to 2"),
        (one, [0.0, 1.0], 2, r"got labels \[0.\], expected -1 and \+1"),
        (three, [2, 2], 3, r"all rows have the label 2,"),
        (one, [-1.0, 1.0], 3, r"got one of 2 classes, expected 3"),
    ):
        with pytest.raises(ValueError, match=sentence):
            classes_of(model, Data(x, np.array(y)), least)


def test_levels_are_of_values_from_zero_to_one() -> None:
    nothing: Any = None
    x = jnp.array([[-3.0, 0.1, 0.2, 0.5, 0.9, 7.0]])
    found = FewerLevels(nothing, 2).purify(nothing, x)
    np.testing.assert_allclose(found, np.array([[0, 0, 1, 2, 3, 3]]) / 3)


def test_an_inpainter_starts_at_two_over_its_inputs_and_stays_in_the_range_of_its_images() -> None:
    layers = Inpainter(block=2, channels=32, layers=2)._start(
        jax.random.key(0), jnp.zeros((1, 4, 4, 3))
    )
    assert [layer["weight"].shape for layer in layers] == [
        (3, 3, 16, 32), (3, 3, 32, 32), (3, 3, 32, 12)
    ]  # fmt: skip
    for layer in layers:
        inputs = 9 * layer["weight"].shape[2]
        np.testing.assert_allclose(np.var(layer["weight"]), 2 / inputs, rtol=0.1)
    last = {"weight": jnp.zeros((3, 3, 2, 1)), "bias": jnp.zeros(1)}
    x, mask = jnp.zeros((1, 2, 2, 1)), jnp.ones((1, 2, 2, 1))
    for bias, expected in ((-9.0, -0.5), (9.0, 2.0), (1.5, 1.5)):
        parameters = [{**last, "bias": jnp.full(1, bias)}]
        painted = Inpainting(parameters, jnp.asarray(-0.5), jnp.asarray(2.0), 1)(x, mask)
        np.testing.assert_array_equal(painted, np.full((1, 2, 2, 1), expected))
