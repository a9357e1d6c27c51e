"""Networks with a backdoor and without: what the defenses of this family are tried on."""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attacks import AbstractLabelMap, AllToNext, AllToOne, Stamp, stamp
from attacks.triggers import AbstractTrigger, blended, corner_pattern, square
from benchmarks.data import mnist, mnist_full
from bilevel import Data
from bilevel.learners import AbstractDeepModel, AbstractModel, Network
from bilevel.networks import wide
from bilevel.solvers import Descent

LabelMap = Literal["one", "next"]
Trigger = Literal["pattern", "square", "blended"]
SHAPE = (28, 28, 1)
TRAIN, CLEAN = 3600, 400
"""Training digits, and clean digits of the defender; the others of 5,000 are test digits."""
TEST = 5000
"""Test digits of the official ones; the others, less the defender's, are trained on."""
BATCH, TARGET, DISTANCE = 50, 7, 4
"""The network does not see the last two pixels of a row or column."""


@dataclasses.dataclass(frozen=True)
class Infection:
    """A backdoor in MNIST digits.

    - `map`: all digits become `TARGET`, or each becomes the next.
    - `trigger`: four pixels near the corner, a white square of `size` pixels, or noise mixed in.
    - `share`: stamped copies, in units of the clean training digits.
    - `passes`: passes of the training over the rows.
    - `full`: of the official digits, in place of the 5,000 that come with a package.
    """

    map: LabelMap = "one"
    trigger: Trigger = "pattern"
    size: int = 4
    share: float = 0.1
    passes: int = 15
    full: bool = False


class Case(NamedTuple):
    """One split of the digits, as images (28, 28, 1) in [0, 1].

    - `train`: the clean training rows; `poisoned`: with the stamped copies behind them.
    - `poison` (n,): which of `poisoned` are copies.
    - `clean`: rows that the defender knows to be clean.
    - `test`; `shown`: the same test images with the trigger.
    """

    train: Data
    poisoned: Data
    poison: np.ndarray
    clean: Data
    test: Data
    shown: jax.Array
    labels: AbstractLabelMap
    reach: Stamp


def trigger(of: Infection) -> AbstractTrigger:
    """The trigger of an infection."""
    if of.trigger == "square":
        return square(SHAPE, of.size, distance=DISTANCE)
    if of.trigger == "blended":
        return blended(np.random.default_rng(0).uniform(size=SHAPE), 0.2)
    return corner_pattern(SHAPE, distance=DISTANCE)


@functools.lru_cache(4)
def case(of: Infection, seed: int) -> Case:
    """The rows of a split drawn by `seed`, and the copies drawn by it."""
    digits = mnist_full() if of.full else mnist()
    order = np.random.default_rng(seed).permutation(len(digits.labels))
    x = (digits.images[order] / 255.0).astype(np.float32).reshape(-1, *SHAPE)
    y = digits.labels[order].astype(np.int32)
    train = len(y) - CLEAN - TEST if of.full else TRAIN
    ends = (train, train + CLEAN)
    parts = zip(np.split(x, ends), np.split(y, ends), strict=True)
    train, clean, test = (Data(*rows) for rows in parts)
    labels = AllToOne(TARGET) if of.map == "one" else AllToNext(10)
    reach = stamp(jax.random.key(seed), trigger(of), train, of.share, labels)
    z = reach.example(train)
    poisoned, shown = reach.inject(z, train), reach.present(z, test.x)
    poison = np.arange(poisoned.rows) >= train.rows
    return Case(train, poisoned, poison, clean, test, shown, labels, reach)


def network(rows: int, passes: int) -> Network:
    """The victim: 64 channels in the last convolution, momentum and mini-batches."""
    solver = Descent(optax.sgd(0.05, momentum=0.9), passes * (rows // BATCH))
    return Network(wide(), l2=1e-4, batch=BATCH, solver=solver)


@functools.lru_cache(16)
def victim(of: Infection, seed: int, infected: bool = True) -> AbstractDeepModel:
    """A network trained on the poisoned rows of a split or, as the control, on the clean ones."""
    rows = case(of, seed)
    return trained(rows.poisoned if infected else rows.train, of.passes, seed)


def trained(data: Data, passes: int, seed: int) -> AbstractDeepModel:
    """A network trained on these rows, from initial weights of the seed."""
    model = network(data.rows, passes).fit(data, key=jax.random.key(seed)).model
    assert isinstance(model, AbstractDeepModel)
    return model


class Figures(NamedTuple):
    """Shares of test rows.

    - `accuracy`: of clean test rows that are read correctly.
    - `success`: of stamped rows that are read as the attacker wants, of those that the trigger is
      for and that the same model gets right without it.
    - `recovered`: of stamped rows that the trigger is for, read as what they show.
    """

    accuracy: float
    success: float
    recovered: float


def figures(model: AbstractModel, of: Case) -> Figures:
    """What a model does on the test rows, without and with the trigger."""
    y = of.test.y
    plain, stamped = model.predict(of.test.x), model.predict(of.shown)
    right, meant = plain == y, of.labels.applies(y)
    reached = of.labels.reached(y, stamped)
    return Figures(
        float(jnp.mean(right)),
        float(jnp.sum(reached & right & meant) / jnp.sum(right & meant)),
        float(jnp.sum((stamped == y) & meant) / jnp.sum(meant)),
    )
