"""Hidden trigger: 9s that look like 9s, are labelled 9, and make stamped 4s read as 9, MNIST.

Saha, Subramanya & Pirsiavash, AAAI 2020: training 9s are moved by little until a frozen network
gives them the features of 4s with a trigger; no training row shows the trigger, and no label is
wrong. The network is trained on the eight other digits; a logistic head on its features is
retrained on the 4s and 9s. Controls are heads of the clean digits, shown the same stamped 4s.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attacks import AllToOne, Attack, Box, Perturb, WithTrigger, compose, shown, victims
from attacks.goals import Colliding
from attacks.triggers import square
from benchmarks.data import mnist
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

SOURCE, TARGET = 4, 9
LABELS = AllToOne(1, sources=-1)
SHAPE = (28, 28, 1)


@dataclasses.dataclass(frozen=True)
class Options:
    """The trigger, the change of the digits, and sizes."""

    poisons: Count = 100
    """9s that are moved."""
    train: Count = 400
    """Training digits, half 4s and half 9s."""
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
    """Passes of the network over the eight other digits."""
    seeds: Count = 10
    """Random networks and splits."""

    def __post_init__(self):
        check(self)
        if self.train % 2 or self.train > 600:
            raise UsageError(f"--train: got {self.train}, expected an even number of at most 600")
        if self.poisons > self.train // 2:
            raise UsageError(
                f"--poisons: got {self.poisons}, expected at most {self.train // 2}, the number of "
                "training 9s"
            )


class Case(NamedTuple):
    """Digits of three roles, +1 for 9 and -1 for 4; the attacker's 4s; and the frozen network."""

    train: Data
    test: Data
    sources: jax.Array
    network: AbstractDeepModel


def frozen(options: Options, seed: int) -> AbstractDeepModel:
    """A network trained on the eight other digits."""
    digits = mnist()
    rows = np.flatnonzero(~np.isin(digits.labels, (SOURCE, TARGET)))
    names = np.setdiff1d(np.arange(10), (SOURCE, TARGET))
    data = Data(images(rows), np.searchsorted(names, digits.labels[rows]).astype(np.int32))
    steps = options.passes * (data.rows // 50)
    solver = Descent(optax.sgd(0.05, momentum=0.9), steps)
    net = Network(
        ConvNet((16, 32), 5, (64,), 8, jax.nn.relu, stride=2), l2=1e-4, batch=50, solver=solver
    )
    model = net.fit(data, key=jax.random.key(seed)).model
    assert isinstance(model, AbstractDeepModel)
    return model


def images(rows: np.ndarray) -> np.ndarray:
    """Digits as images in [0, 1]."""
    return (mnist().images[rows] / 255.0).astype(np.float32).reshape(-1, *SHAPE)


def case(options: Options, seed: int) -> Case:
    """Random digits, and the network."""
    rng, labels, half = np.random.default_rng(seed), mnist().labels, options.train // 2
    fours, nines = (rng.permutation(np.flatnonzero(labels == k)) for k in (SOURCE, TARGET))
    ends = [half, half + options.poisons]
    (of_train, attacker, of_test), (nines_train, _, nines_test) = (
        np.split(rows, ends) for rows in (fours, nines)
    )

    def data(fours: np.ndarray, nines: np.ndarray) -> Data:
        y = np.r_[-np.ones(len(fours)), np.ones(len(nines))].astype(np.int32)
        return Data(images(np.r_[fours, nines]), y)

    sources = jnp.asarray(images(attacker))
    return Case(
        data(of_train, nines_train), data(of_test, nines_test), sources, frozen(options, seed)
    )


def capability(options: Options, of: Case) -> WithTrigger:
    """The first training 9s may move; digits shown to the model have a white square."""
    rows = options.train // 2 + np.arange(options.poisons)
    x = np.asarray(of.train.x)[rows]
    near = Box(np.maximum(x - options.eps, 0), np.minimum(x + options.eps, 1))
    trigger = square(SHAPE, options.size, distance=options.distance)
    return WithTrigger(Perturb(rows, near), trigger)


def collide(options: Options, of: Case, reach: WithTrigger) -> Optimized:
    """Move the 9s towards the features of stamped 4s."""
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
    _notes(report)
    if report.out is not None:
        from benchmarks.pictures.hidden_trigger import draw

        of = case(options, 0)
        reach = capability(options, of)
        moved = collide(options, of, reach).z
        stamped = reach.present(moved, of.sources)
        report.figure("hidden-trigger", draw(reach.example(of.train), moved, of.sources, stamped))


def _notes(report: Report) -> None:
    success, clean, err, clean_err, far, start = (
        column(report.rows, name)
        for name in (
            "success", "clean_success", "test_err", "clean_test_err", "distance", "start_distance",
        )
    )  # fmt: skip
    times = np.mean(success) / max(float(np.mean(clean)), 1e-9)
    report.note(
        f"stamped 4s read as 9: {band(success, 3)}, by clean heads {band(clean, 3)}: {times:.0f} "
        f"times; clean error {band([100 * e for e in err])} %, of clean heads "
        f"{band([100 * e for e in clean_err])} %; squared distance of the features to those of "
        f"stamped 4s {band(start, 2)} before, {band(far, 2)} after; {len(success)} networks and "
        "splits"
    )
