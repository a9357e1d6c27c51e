"""Edges of networks and adapters: a forward pass by hand, channels, and what modules report."""

import sys
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel._solver import Point
from bilevel.adapters import Equinox, Linen, Nnx, Optimistix
from bilevel.adapters._foreign import AbstractForeign
from bilevel.networks import Channels, ConvNet, Masked, ResNet, lenet, small, wide
from bilevel.problems import Smooth
from bilevel.solvers.smooth._smooth import AbstractSmoothSolver

RNG = np.random.default_rng(3)
KEY = jax.random.key(5)


def given_biases(parameters):
    """The parameters with random numbers in place of zeros, as NumPy arrays."""
    return jax.tree.map(
        lambda leaf: RNG.normal(size=leaf.shape) if leaf.ndim == 1 else np.asarray(leaf),
        parameters,
    )


def row_of(x):
    return jax.ShapeDtypeStruct(x.shape[1:], x.dtype)


def affine(of, x):
    return x @ of["weight"] + of["bias"]


def convolved(of, x, stride=1, padding=0):
    a, b, _, _ = of["weight"].shape
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(x, (a, b), (1, 2))[:, ::stride, ::stride]
    return np.einsum("nhwcab,abcf->nhwf", patches, of["weight"]) + of["bias"]


def test_a_convolutional_network_is_what_it_says() -> None:
    net, x = ConvNet((2,), 2, (3,), 2, jnp.tanh), RNG.normal(size=(2, 8, 6, 1))
    p = given_biases(net.init(KEY, row_of(x)))
    made = np.tanh(convolved(p["conv0"], x))  # (7, 5): the last ones are left out
    means = made[:, :6, :4].reshape(2, 3, 2, 2, 2, 2).mean((2, 4)).reshape(2, -1)
    hidden = np.tanh(affine(p["dense0"], means))
    found = jax.jit(net.apply)(p, x)
    np.testing.assert_allclose(found.logits, affine(p["logits"], hidden), rtol=1e-12)
    np.testing.assert_allclose(found.activations["conv0"], made, rtol=1e-12)
    np.testing.assert_allclose(found.activations["dense0"], hidden, rtol=1e-12)


def test_networks_by_name() -> None:
    def told(net):
        return (net.channels, net.kernel, net.hidden, net.outputs, net.activation, net.stride)

    assert told(lenet(3, jnp.sin)) == ((16, 32), 5, (512,), 3, jnp.sin, 1)
    assert told(wide(3, jnp.sin)) == ((32, 64), 3, (128,), 3, jnp.sin, 1)
    assert told(small(3, jnp.sin)) == ((8, 16), 5, (32,), 3, jnp.sin, 2)
    fewer = ConvNet((2,), 3, (), 1, jnp.tanh, stride=3)
    row = jax.ShapeDtypeStruct((8, 9, 1), jnp.float64)
    at = jax.ShapeDtypeStruct((1, *row.shape), row.dtype)
    shapes = jax.eval_shape(lambda key, x: fewer.apply(fewer.init(key, row), x), KEY, at)
    assert shapes.activations["conv0"].shape == (1, 2, 3, 2)  # no pool behind a stride


def test_a_residual_network_is_what_it_says() -> None:
    """A network of one block without a skip of its own, and a block with one."""
    net, x = ResNet((2,), 1, 2, 3, jnp.tanh), RNG.normal(size=(2, 4, 4, 1))
    p = given_biases(net.init(KEY, row_of(x)))
    wider = ResNet((2, 4), 2, 2, 3, jnp.tanh)
    deep = jax.eval_shape(lambda key: wider.init(key, row_of(x)), KEY)
    assert ["skip" in deep[f"block{i}"] for i in range(4)] == [False, False, True, False]
    assert [wider._stride(i) for i in range(4)] == [1, 1, 2, 1]

    def conv(of, x, **options):
        weight = of["weight"] - of["weight"].mean((0, 1, 2))
        inputs = weight.size / weight.shape[-1]
        spread = np.sqrt(inputs * np.mean(weight**2, (0, 1, 2)) + 1e-4)
        return convolved(of | {"weight": weight / spread}, x, **options)

    def active(x):
        """Groups of one channel, or of two."""
        parts = x.reshape(*x.shape[:3], 2, -1)
        parts = parts - parts.mean((1, 2, 4), keepdims=True)
        parts = parts / np.sqrt(np.mean(parts**2, (1, 2, 4), keepdims=True) + 1e-5)
        return np.tanh(parts.reshape(x.shape))

    def block(of, x, stride, skip):
        between = conv(of["first"], active(x), stride=stride, padding=1)
        return conv(of["second"], active(between), padding=1) + skip

    stem = conv(p["stem"], x, padding=1)
    end = block(p["block0"], stem, 1, stem)
    of = {
        name: {"weight": RNG.normal(size=shape), "bias": RNG.normal(size=4)}
        for name, shape in (
            ("first", (3, 3, 2, 4)), ("second", (3, 3, 4, 4)), ("skip", (1, 1, 2, 4)),
        )
    }  # fmt: skip
    found, other = jax.jit(lambda p, of, x, at: (net.apply(p, x), wider._block(of, at, 2)))(
        p, of, x, stem
    )
    np.testing.assert_allclose(found.activations["block0"], end, rtol=1e-9, atol=1e-12)
    logits = affine(p["logits"], active(end).mean((1, 2)))
    np.testing.assert_allclose(found.logits, logits, rtol=1e-9)
    skip = conv(of["skip"], active(stem), stride=2)
    np.testing.assert_allclose(other, block(of, stem, 2, skip), rtol=1e-9, atol=1e-12)


def test_channels_of_a_layer() -> None:
    one, two = (
        jnp.asarray(RNG.normal(size=(3, 2, 2, 4))),
        jnp.asarray(RNG.normal(size=(3, 4, 2, 2))),
    )
    outputs = {"one": one, "two": two, "flat": jnp.ones((3, 5))}
    assert Channels().name(outputs) == "two"
    assert Channels().name({"a": outputs["flat"], "b": outputs["flat"]}) == "b"
    with pytest.raises(ValueError, match=r"expected one of the layers, of .* reports none$"):
        Channels("a").name({})
    weight = jnp.array([1.0, 0.0, 3.0])
    for channels, sizes in (
        (Channels("one"), np.abs(one).mean((1, 2))),
        (Channels("two", axis=0), np.abs(two).mean((2, 3))),
    ):
        np.testing.assert_allclose(channels.activity(outputs, weight), weight @ sizes / 4)
    assert Channels().along(jnp.ones(()), jnp.ones(4)) is None
    kept, parameters = jnp.array([1.0, 0.0]), {"a": {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}}
    masks = Channels().masks("a", parameters | {"b": jnp.ones(2)}, kept)
    np.testing.assert_array_equal(masks["a"]["w"], [[1, 0]])
    assert masks["b"].shape == ()
    some = Channels().masks("a", {"a": {"w": jnp.ones((2, 3)), "b": jnp.ones(2)}}, kept)
    assert some["a"]["w"].shape == ()  # another layer's channels
    with pytest.raises(ValueError, match="no array of 'a' has 3 channels along axis -1"):
        Channels().masks("a", parameters, jnp.ones(3))


@pytest.mark.stand_ins
def test_a_masked_network_is_masked_from_its_start_and_draws() -> None:
    def apply(parameters, x, key=None):
        return parameters["w"], key

    architecture: Any = SimpleNamespace(
        apply=apply, init=lambda key, row: {"w": jnp.ones(2, jnp.float32)}
    )
    masked = Masked(architecture, {"w": jnp.array([1.0, 0.0])})
    row: Any = None
    np.testing.assert_array_equal(masked.init(KEY, row)["w"], [1, 0])
    w, key = masked.apply({"w": jnp.full(2, 3, jnp.float32)}, jnp.ones((1, 2)), KEY)  # pyright: ignore
    np.testing.assert_array_equal(w, np.array([3, 0], np.float32))
    assert w.dtype == np.float32
    assert key is KEY


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x)


class Nested(nn.Module):
    """Its logits are those of its last layer; it sows on demand, in two calls."""

    sown: bool = False

    @nn.compact
    def __call__(self, x, train):
        self.param("trained", lambda key: jnp.asarray(float(train)))
        inner = Inner(name="inner")(x)
        if self.sown:
            self.sow("intermediates", "kept", inner)
        return nn.Dense(1, name="last")(inner)


@pytest.mark.parametrize(("sown", "names"), [(False, ["inner", "inner/Dense_0"]), (True, ["kept"])])
def test_layers_of_a_module_that_does_not_report_them(sown, names) -> None:
    net, row = Linen(Nested(sown)), jax.ShapeDtypeStruct((2,), jnp.float32)
    parameters = net.init(KEY, row)
    assert parameters["trained"] == 0
    outputs = net.apply(parameters, jnp.ones((4, 2), jnp.float32))
    assert sorted(outputs.activations) == names
    assert outputs.logits.shape == (4,)  # of one unit


def test_a_module_is_made_with_the_key_of_the_training() -> None:
    row = jax.ShapeDtypeStruct((2,), jnp.float32)
    for net in (
        Equinox(lambda key: eqx.nn.Linear(2, 1, key=key)),
        Nnx(lambda rngs: sys.modules["flax.nnx"].Linear(2, 1, rngs=rngs)),
    ):
        first, again, other = (
            np.asarray(jax.tree.leaves(net.init(jax.random.key(n), row))[-1]) for n in (0, 0, 1)
        )
        np.testing.assert_array_equal(first, again)
        assert not np.any(first == other)


def test_flax_comes_with_the_networks(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "flax", None)
    with pytest.raises(ImportError, match=r"pip install bilevel\[networks\]"):
        Nnx(lambda rngs: rngs).init(KEY, jax.ShapeDtypeStruct((2,), jnp.float32))


class Elsewhere(AbstractForeign):
    """Goes to 3 in seven steps."""

    name: str = "stub"
    settings: dict = eqx.field(default_factory=dict)
    finish: AbstractSmoothSolver | None = None

    def reach(self, problem, start):
        return jnp.full_like(start, 3.0), jnp.asarray(True), jnp.int32(7)


@pytest.mark.stand_ins
def test_a_foreign_answer_is_where_the_next_solve_begins() -> None:
    problem = Smooth(lambda w, _: jnp.sum(w**2), jnp.zeros(2))
    point = Elsewhere().run(problem, problem.start)
    np.testing.assert_array_equal(point.warm, [3, 3])
    np.testing.assert_allclose(point.stats["residual"], 6 * 2**0.5)
    last: Any = SimpleNamespace(
        run=lambda problem, w: Point(2 * w, None, w, jnp.int32(9), {"steps": 1})
    )
    finished = Elsewhere(finish=last).run(problem, problem.start)
    np.testing.assert_array_equal(finished.unknowns, [6, 6])
    assert (finished.stats["steps"], finished.stats["foreign_steps"]) == (1, 7)


def test_optimistix_has_the_steps_that_are_given(monkeypatch) -> None:
    optimistix = pytest.importorskip("optimistix")

    def minimise(function, solver, start, args, *, max_steps, throw):
        assert not throw
        result = optimistix.RESULTS.successful
        return SimpleNamespace(value=start, result=result, stats={"num_steps": max_steps})

    monkeypatch.setattr("optimistix.minimise", minimise)
    problem = Smooth(lambda w, _: jnp.sum(w**2), jnp.zeros(2))
    solver = Optimistix("BFGS", {"rtol": 1e-3, "atol": 1e-3}, max_steps=9)
    assert int(solver.reach(problem, problem.start)[2]) == 9
