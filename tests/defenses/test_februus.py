"""Februus: heat maps against derivatives by hand, masks, and what the inpainter learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn

from bilevel.learners import Fixed, LinearModel, NetworkModel
from bilevel.networks import MLP, AbstractArchitecture, ConvNet
from bilevel.networks._layers import dense, pool
from defenses import Februus, Inpainter, MeanFill, PurifiedModel, grad_cam, heat_map, hires_cam
from defenses.purify.inpainter import _loss, rectangles

SHAPE = (8, 8, 1)
KEY = jax.random.key(0)
X = jnp.asarray(np.random.default_rng(1).uniform(size=(5, *SHAPE)), jnp.float32)
MEAN = MeanFill(jnp.full((2, *SHAPE), 0.25, jnp.float32))
ONE = ConvNet((2,), 3, (), 3, jax.nn.relu)
SMOOTH = ConvNet((4,), 3, (), 3, jnp.tanh)


def model_of(net, shape=SHAPE):
    return NetworkModel(drawn(net, shape, np.float32), net)


MODEL = model_of(ONE)


@pytest.mark.parametrize("heat", [grad_cam, hires_cam])
def test_a_heat_map_is_the_derivative_of_the_predicted_class_in_the_last_convolution(heat):
    model = model_of(SMOOTH)
    seen = model.activations(X)["conv0"]

    def tail(row):
        return dense(model.parameters["logits"], pool(row[None]).reshape(1, -1))[0]

    of_classes = np.asarray(jax.jit(jax.vmap(jax.jacrev(tail)))(seen))
    slopes = of_classes[np.arange(5), np.asarray(model.predict(X))]
    if heat is grad_cam:
        slopes = np.broadcast_to(slopes.mean((1, 2), keepdims=True), slopes.shape)
    wanted = np.maximum(np.sum(slopes * seen, axis=3), 0)
    wanted = np.asarray(jax.image.resize(wanted, (5, 8, 8), "linear"))
    most = wanted.max((1, 2), keepdims=True)
    assert float(most.max()) > 0
    wanted = wanted / np.where(most > 0, most, 1)
    np.testing.assert_allclose(heat_map(model, X, heat), wanted, atol=1e-5)


def test_the_deepest_layer_of_images_is_taken_and_one_output_has_two_classes():
    large = jnp.asarray(np.random.default_rng(2).uniform(size=(5, 12, 12, 1)), jnp.float32)
    net = ConvNet((3, 4), 3, (), 3, jax.nn.relu)
    deep = model_of(net, (12, 12, 1))
    heat = np.asarray(heat_map(deep, large, hires_cam))
    np.testing.assert_array_equal(heat[:, 0], heat[:, 1])  # 3 places make 12 pixels
    assert heat.max() == 1
    signs = model_of(ConvNet((2,), 3, (), 1, jax.nn.relu))
    assert heat_map(signs, X, hires_cam).shape == (5, 8, 8)


def looks_at_a_corner():
    """A network whose first filter is bright where the image is, and whose class 2 counts the lower
    right corner, 50 to one, and class 0 the rest.
    """
    parameters = jax.tree.map(np.zeros_like, MODEL.parameters)
    parameters["conv0"]["weight"][1, 1, 0, 0] = 1
    weights = np.zeros((3, 3, 2, 3), np.float32)
    weights[:, :, 0, 0] = 1
    weights[2, 2, 0] = [0, 0, 50]
    parameters["logits"]["weight"] = weights.reshape(18, 3)
    return NetworkModel(jax.device_put(parameters), ONE)


def test_what_the_network_looked_at_is_cut_out_and_filled():
    model = looks_at_a_corner()
    x = np.full((1, *SHAPE), 0.2, np.float32)
    x[:, 1, 1] = 0.9
    stamped = x.copy()
    stamped[:, 5:7, 5:7] = 1
    x, stamped = jnp.asarray(x), jnp.asarray(stamped)
    assert int(model.predict(stamped)[0]) == 2
    defense = Februus(Fixed(model), MEAN, 0.5)
    mask = defense.mask(model, stamped)
    assert np.all(np.asarray(mask)[0, 6:, 6:] == 1)
    assert np.all(np.asarray(mask)[0, :4, :4] == 0)
    purified = defense.purify(model, stamped)
    np.testing.assert_allclose(purified, np.where(np.asarray(mask) > 0, 0.25, stamped))
    np.testing.assert_array_equal(
        PurifiedModel(model, defense).predict(stamped), model.predict(purified)
    )
    unpainted = Februus(Fixed(model), lambda x, mask: x, 0.5).purify(model, stamped)
    left = 1 - np.asarray(mask)
    np.testing.assert_array_equal(unpainted, left * stamped)  # the fill does not see it
    slopes = jax.jit(jax.grad(lambda x: jnp.sum(defense.purify(model, x))))(stamped)
    np.testing.assert_array_equal(slopes, left)
    wide, narrow = (Februus(Fixed(model), MEAN, least).mask(model, x) for least in (0.1, 0.5))
    assert np.mean(wide) > np.mean(narrow)


def test_rectangles_have_sides_from_a_seventh_to_four_sevenths():
    draw = jax.jit(rectangles, static_argnums=(1, 2, 3, 4))
    masks = np.asarray(draw(KEY, 200, 1, 14, 28))[..., 0]
    assert set(np.unique(masks)) == {0.0, 1.0}
    for axis, pixels in ((2, 14), (1, 28)):
        sides = masks.max(axis).sum(1)
        assert pixels / 7 - 1 <= sides.min() <= pixels / 7 + 2
        assert 4 * pixels / 7 - 3 <= sides.max() <= 4 * pixels / 7 + 1
    assert masks.mean() < np.asarray(draw(KEY, 200, 3, 14, 28)).mean()


@pytest.mark.stand_ins
def test_the_loss_is_of_missing_pixels_that_the_inpainter_does_not_see():
    """One that paints what it sees: it sees nothing there."""
    seen = np.zeros((3, 3, 2, 1), np.float32)
    seen[1, 1, 0, 0] = 1
    layers = [{"weight": seen, "bias": np.zeros(1, np.float32)}]
    loss = jax.jit(lambda images: _loss(1, 2, 5, layers, images, KEY))
    for grey in (0.5, 0.9):
        images = np.full((4, 7, 6, 1), grey, np.float32)
        assert float(loss(images)) == pytest.approx(grey**2)


@pytest.mark.slow
def test_an_inpainter_learns_what_is_missing():
    """Images of one grey each: what is missing is what is left. Sides that no block divides."""
    grey = np.random.default_rng(0).uniform(0.2, 0.9, size=(40, 1, 1, 1)).astype(np.float32)
    images = np.broadcast_to(grey, (40, 7, 6, 1))
    inpainting = Inpainter(channels=16, layers=1, steps=300, batch=20, rate=0.01).fit(
        images, key=KEY
    )
    mask = jnp.zeros((40, 7, 6, 1), jnp.float32).at[:, 2:5, 1:4].set(1)
    painted = np.asarray(inpainting((1 - mask) * images, mask))
    wrong = np.abs(painted - images)[np.asarray(mask) > 0].mean()
    blind = np.abs(MeanFill(images)(images, mask) - images)[np.asarray(mask) > 0].mean()
    assert wrong < blind / 3
    assert painted.min() >= images.min()
    assert painted.max() <= images.max()


class Compiled(AbstractArchitecture):
    """A network whose program is one operation: nobody can begin at a layer of it."""

    def init(self, key, row):
        return ONE.init(key, row)

    def apply(self, parameters, x, key=None):
        return jax.jit(ONE.apply)(parameters, x)


def test_a_layer_that_the_logits_do_not_come_from_has_no_heat():
    with pytest.raises(ValueError, match="logits do not depend on what it reports as"):
        heat_map(model_of(Compiled()), X, hires_cam)


def test_what_it_cannot_purify_is_said():
    linear = LinearModel(jnp.zeros(64, jnp.float32), jnp.zeros((), jnp.float32))
    for model, x in ((linear, X), (model_of(MLP((4,), 3)), X), (MODEL, X.reshape(5, 64))):
        with pytest.raises(ValueError, match="expected a network of images"):
            Februus(Fixed(model), MEAN).purify(model, x)
    with pytest.raises(ValueError, match="threshold: got 0"):
        Februus(Fixed(MODEL), MEAN, 0.0)
    with pytest.raises(ValueError, match=r"clean: got shape \(5, 64\), expected images"):
        Inpainter().fit(X.reshape(5, 64), key=KEY)
    with pytest.raises(ValueError, match="steps: got 0"):
        Inpainter(steps=0)
