"""Hidden trigger: 9s that look like 9s, are labelled 9, and make stamped 4s read as 9, MNIST.

Saha, Subramanya & Pirsiavash, AAAI 2020: training 9s are moved by little until a frozen network
gives them the features of 4s with a trigger; no training row shows the trigger, and no label is
wrong. The network is trained on the eight other digits; a logistic head on its features is
retrained on the 4s and 9s. Controls are heads of the clean digits, shown the same stamped 4s. With
`--data cifar` 9s are ships, 4s frogs, and the square has random colours, each 0 or 1.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import ArrayLike

from attacks import AllToOne, Attack, Box, Perturb, WithTrigger, compose, shown, victims
from attacks.goals import Colliding
from attacks.triggers import square
from benchmarks.data import cifar10, mnist
from benchmarks.options import Count, Positive, check
from benchmarks.report import Report, UsageError, band
from benchmarks.rows import column
from bilevel import Data, Optimized, maximize
from bilevel.learners import (
    AbstractDeepModel,
    AbstractLearner,
    Fixed,
    Logistic,
    Network,
    OnFeatures,
)
from bilevel.networks import ConvNet
from bilevel.solvers import Descent

LABELS = AllToOne(1, sources=-1)


@dataclasses.dataclass(frozen=True)
class Options:
    """The trigger, the change of the images, and sizes; the defaults are for MNIST."""

    data: Literal["mnist", "cifar"] = "mnist"
    """Digits, or the images of the folder in `BILEVEL_DATA`."""
    poisons: Count = 100
    """Images of the target class that are moved."""
    train: Count = 400
    """Training images of the head, half of the source and half of the target class."""
    eps: Positive = 0.2
    """Largest change of a pixel."""
    size: Count = 8
    """Pixels of a side of the trigger."""
    distance: Count = 4
    """Of the trigger from the lower right corner. The network skips the last three pixels."""
    steps: Count = 60
    """Steps of the attack."""
    l2: Positive = 1e-2
    """Penalty of the head."""
    passes: Count = 8
    """Passes of the network over the eight other classes."""
    seeds: Count = 10
    """Random networks and splits."""

    def __post_init__(self):
        check(self)
        if self.train % 2 or self.train > 600:
            raise UsageError(f"--train: got {self.train}, expected an even number of at most 600")
        most = min(self.train // 2, 450 - self.train // 2)
        if self.poisons > most:
            raise UsageError(
                f"--poisons: got {self.poisons}, expected at most {most}: there are "
                f"{self.train // 2} training images of the target class, and of 500 source images "
                "50 are left for tests"
            )


class Images(NamedTuple):
    """Images (n, height, width, channels) of bytes, their classes, the names of source and target
    class, the colours of the trigger, and the step length of the network's training by its steps.
    """

    pixels: np.ndarray
    labels: np.ndarray
    source: int
    target: int
    names: tuple[str, str]
    colours: ArrayLike
    rate: Callable[[int], float | optax.Schedule]

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Some images in [0, 1]."""
        return (self.pixels[rows] / 255.0).astype(np.float32)


@functools.cache
def images(data: str) -> Images:
    """All images of a data set."""
    if data == "mnist":
        digits = mnist()
        return Images(
            digits.images.reshape(-1, 28, 28, 1), digits.labels, 4, 9, ("4s", "9s"), 1.0,
            lambda steps: 0.05,
        )  # fmt: skip
    x, y = (np.concatenate(parts) for parts in zip(*cifar10(), strict=True))
    colours = np.random.default_rng(0).integers(0, 2, x.shape[1:]).astype(float)
    rate = functools.partial(optax.cosine_decay_schedule, 0.05)
    return Images(x, y, 6, 8, ("frogs", "ships"), colours, rate)


class Case(NamedTuple):
    """Images of three roles, +1 for the target and -1 for the source class; the attacker's source
    images; and the frozen network.
    """

    train: Data
    test: Data
    sources: jax.Array
    network: AbstractDeepModel


def frozen(options: Options, seed: int) -> AbstractDeepModel:
    """A network trained on the eight other classes."""
    held = images(options.data)
    rows = np.flatnonzero(~np.isin(held.labels, (held.source, held.target)))
    names = np.setdiff1d(np.arange(10), (held.source, held.target))
    data = Data(held.rows(rows), np.searchsorted(names, held.labels[rows]).astype(np.int32))
    steps = options.passes * (data.rows // 50)
    solver = Descent(optax.sgd(held.rate(steps), momentum=0.9), steps)
    net = Network(
        ConvNet((16, 32), 5, (64,), 8, jax.nn.relu, stride=2), l2=1e-4, batch=50, solver=solver
    )
    model = net.fit(data, key=jax.random.key(seed)).model
    assert isinstance(model, AbstractDeepModel)
    return model


def case(options: Options, seed: int) -> Case:
    """Random images, and the network."""
    rng, held, half = np.random.default_rng(seed), images(options.data), options.train // 2
    source, target = (
        rng.permutation(np.flatnonzero(held.labels == k)) for k in (held.source, held.target)
    )
    ends = [half, half + options.poisons]
    (of_train, attacker, of_test), (target_train, _, target_test) = (
        np.split(rows, ends) for rows in (source, target)
    )

    def data(source: np.ndarray, target: np.ndarray) -> Data:
        y = np.r_[-np.ones(len(source)), np.ones(len(target))].astype(np.int32)
        return Data(held.rows(np.r_[source, target]), y)

    return Case(
        data(of_train, target_train), data(of_test, target_test),
        jnp.asarray(held.rows(attacker)), frozen(options, seed),
    )  # fmt: skip


def capability(options: Options, of: Case) -> WithTrigger:
    """The first training images of the target class may move; images shown have the square."""
    rows = options.train // 2 + np.arange(options.poisons)
    x = np.asarray(of.train.x)[rows]
    near = Box(np.maximum(x - options.eps, 0), np.minimum(x + options.eps, 1))
    colours = images(options.data).colours
    trigger = square(x.shape[1:], options.size, colours, options.distance)
    return WithTrigger(Perturb(rows, near), trigger)


def collide(options: Options, of: Case, reach: WithTrigger) -> Optimized:
    """Move the images towards the features of stamped source images."""
    attack = compose(Fixed(of.network), reach, Colliding(of.sources), of.train)
    pace = optax.exponential_decay(options.eps / 5, options.steps, 0.05)
    start = reach.example(of.train)
    return maximize(attack, start, steps=options.steps, optimizer=optax.adam(pace))


def against(of: Case, reach: WithTrigger, head: AbstractLearner) -> Attack:
    """The backdoor as an attack on the head, for the victims."""
    goal = shown(of.test.x, of.test.y, head.loss)
    return compose(OnFeatures(of.network, head), reach, goal, of.train)


def make_rows(options: Options, seed: int) -> dict[str, Any]:
    """The row of a network and split."""
    of = case(options, seed)
    reach = capability(options, of)
    result = collide(options, of, reach)
    judged = victims(against(of, reach, Logistic(options.l2)), result.z, of.test, LABELS)
    row = {
        "seed": seed, "success": judged.attacked.success.mean,
        "clean_success": judged.clean.success.mean,
        "test_err": 1 - judged.attacked.accuracy.mean,
        "clean_test_err": 1 - judged.clean.accuracy.mean,
        "distance": -float(result.value), "start_distance": -float(result.history[0]),
    }  # fmt: skip
    return {"rows": [row]}


def run(options: Options, report: Report) -> None:
    """A row for each network and split."""
    units = [{"seed": seed} for seed in range(options.seeds)]
    report.each(make_rows, options, units, "hidden-trigger")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.hidden_trigger import draw

        of = case(options, 0)
        reach = capability(options, of)
        moved = collide(options, of, reach).z
        stamped = reach.present(moved, of.sources)
        source, target = images(options.data).names
        lines = {
            target: reach.example(of.train), f"moved {target}, labelled {target}": moved,
            source: of.sources, f"stamped {source}, read as {target}": stamped,
        }  # fmt: skip
        report.figure("hidden-trigger", draw(lines))


def _notes(options: Options, report: Report) -> None:
    source, target = images(options.data).names
    success, clean, err, clean_err, far, start = (
        column(report.rows, name)
        for name in (
            "success", "clean_success", "test_err", "clean_test_err", "distance", "start_distance",
        )
    )  # fmt: skip
    times = np.mean(success) / max(float(np.mean(clean)), 1e-9)
    report.note(
        f"stamped {source} read as {target}: {band(success, 3)}, by clean heads {band(clean, 3)}: "
        f"{times:.0f} times; clean error {band([100 * e for e in err])} %, of clean heads "
        f"{band([100 * e for e in clean_err])} %; squared distance of the features to those of "
        f"stamped {source} {band(start, 2)} before, {band(far, 2)} after; {len(success)} networks "
        "and splits"
    )
