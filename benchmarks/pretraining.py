"""Networks trained on eight classes of images, for attacks on what is trained on them afterwards.

The two other classes are the attacker's: images of one are moved, a test image of the other is to
be read as the first.
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import numpy as np
import optax

from benchmarks.data import cifar10, mnist
from benchmarks.options import Count, Positive, check, refuse
from bilevel import Data
from bilevel.learners import AbstractDeepModel, Network
from bilevel.networks import ConvNet
from bilevel.solvers import Descent

Source = Literal["mnist", "cifar"]
TEST = 100
"""Test digits of each class; the 400 others are training digits. CIFAR-10 has its own."""


class Images(NamedTuple):
    """Images (n, height, width, channels) in [0, 1] and their classes."""

    x: np.ndarray
    y: np.ndarray

    def take(self, rows: np.ndarray) -> "Images":
        """Those with these numbers."""
        return Images(self.x[rows], self.y[rows])

    def of(self, *classes: int) -> "Images":
        """Those of some classes."""
        return self.take(np.flatnonzero(np.isin(self.y, classes)))


@functools.cache
def images(source: Source) -> tuple[Images, Images]:
    """Training and test images."""
    if source == "cifar":
        train, test = cifar10()
        return _floating(train.x, train.y), _floating(test.x, test.y)
    digits = mnist()
    order = np.random.default_rng(0).permutation(len(digits.labels))
    x, y = digits.images[order].reshape(-1, 28, 28, 1), digits.labels[order]
    rank = rank_in_class(y)
    return _floating(x[rank >= TEST], y[rank >= TEST]), _floating(x[rank < TEST], y[rank < TEST])


def rank_in_class(y: np.ndarray) -> np.ndarray:
    """Of each image, how many of its class come before it."""
    rank = np.empty(len(y), int)
    for number in np.unique(y):
        rank[y == number] = np.arange(np.sum(y == number))
    return rank


def _floating(x: np.ndarray, y: np.ndarray) -> Images:
    return Images((x / 255.0).astype(np.float32), y.astype(np.int32))


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """Images, classes, and the training of the networks. CIFAR-10's frogs are 6, its ships 8."""

    data: Source = "mnist"
    """5,000 digits of a package, or CIFAR-10, from the folder BILEVEL_DATA if that is set."""
    base: int = 9
    """Class of the images that are moved; their labels stay."""
    target: int = 4
    """Class of the test images that are to be read as the base class."""
    passes: Count = 8
    """Passes of the networks over the eight other classes; 20 for CIFAR-10."""
    l2: Positive = 1e-3
    """Penalty of the head."""

    def __post_init__(self):
        check(self)
        if not (0 <= self.base <= 9 and 0 <= self.target <= 9):
            refuse("target", self.target, f"two classes from 0 to 9; the base is {self.base}")
        if self.base == self.target:
            refuse("target", self.target, "another class than --base: it is read as that already")


WIDE = ConvNet((32, 64), 5, (128,), 8, jax.nn.relu, stride=2)
OTHER = ConvNet((48, 96), 3, (96,), 8, jax.nn.relu, stride=2)
"""Another architecture."""


class Pretrained(NamedTuple):
    """A network, and its test error on the eight classes."""

    model: AbstractDeepModel
    test_err: float


def pretrained(of: Pretraining, architecture: ConvNet = WIDE, seed: int = 0) -> Pretrained:
    """The network after its training on the eight other classes; each is trained once."""
    names = (field.name for field in dataclasses.fields(Pretraining))
    alone = Pretraining(**{name: getattr(of, name) for name in names})
    return _pretrained(alone, architecture, seed)


@functools.lru_cache(16)
def _pretrained(of: Pretraining, architecture: ConvNet, seed: int) -> Pretrained:
    train, test = (part.of(*others(of)) for part in images(of.data))
    steps = of.passes * (len(train.y) // 64)
    rate = optax.cosine_decay_schedule(0.05, steps)
    solver = Descent(optax.sgd(rate, momentum=0.9), steps)
    augment = _mirrored if of.data == "cifar" else None
    learner = Network(architecture, l2=5e-4, batch=64, augment=augment, solver=solver)
    data = Data(train.x, np.searchsorted(others(of), train.y).astype(np.int32))
    model = learner.fit(data, key=jax.random.key(seed)).model
    assert isinstance(model, AbstractDeepModel)
    wrong = np.asarray(model.predict(test.x)) != np.searchsorted(others(of), test.y)
    return Pretrained(model, float(np.mean(wrong)))


def others(of: Pretraining) -> np.ndarray:
    """The eight classes that are not the attacker's."""
    return np.setdiff1d(np.arange(10), (of.base, of.target))


def _mirrored(key: jax.Array, x: jax.Array) -> jax.Array:
    """Half of the images mirrored."""
    half = jax.random.bernoulli(key, shape=(len(x), 1, 1, 1))
    return jax.numpy.where(half, x[:, :, ::-1], x)
