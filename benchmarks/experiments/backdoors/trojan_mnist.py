"""Trojaning: a backdoor in a finished network, without its training digits, MNIST.

Liu et al., NDSS 2018: choose a unit of the last convolution, make a square that it answers to, and
retrain the layer after it on digits of the attacker's, each without and with the square. The digits
are other ones, or images that the network itself is sure of (inverted data). Three rules to choose
the unit: by the weights that lead to it (the paper), by those that lead on (its code), and by what
the square itself can make of it. Beside them the same as one bilevel problem: the square climbs
through the retrained layer, with as many gradients. Controls: a random square, and each square on
the layer retrained without it.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attacks import AllToOne, Attack, Box, Evade, Stamp, backdoor, compose, shown, victims
from attacks.goals import Unit
from attacks.triggers import Patch, square
from benchmarks.data import mnist
from benchmarks.options import Count, Positive, check
from benchmarks.report import Report, UsageError, band
from benchmarks.rows import column
from bilevel import Ascent, Data, maximize
from bilevel.learners import AbstractDeepModel, Fixed, Network, OnFeatures, Softmax
from bilevel.losses import CrossEntropy
from bilevel.networks import ConvNet
from bilevel.solvers import Descent

SHAPE, LAYER = (28, 28, 1), "conv1"
Square = Literal["into", "onward", "reach", "bilevel", "random"]
SQUARES: tuple[Square, ...] = ("into", "onward", "reach", "bilevel", "random")
Source = Literal["other", "inverted"]
SOURCES: tuple[Source, ...] = ("other", "inverted")


@dataclasses.dataclass(frozen=True)
class Options:
    """The network, the attacker's digits and the square."""

    target: int = 0
    """The class that stamped digits are to have."""
    size: Count = 5
    """Pixels of a side of the square."""
    distance: Count = 4
    """Of the square from the lower right corner: the network does not see the last pixels."""
    steps: Count = 30
    """Gradients for the square."""
    weight: Positive = 0.1
    """Of a stamped image beside one without the square."""
    other: Count = 500
    """Digits of the attacker's that are no training digits."""
    inverted: Count = 10
    """Inverted images of each class."""
    inversion: Count = 100
    """Gradients for them."""
    l2: Positive = 1e-3
    """Penalty of the retrained layer."""
    train: Count = 3000
    """Training digits of the network."""
    passes: Count = 10
    """Passes over them."""
    seeds: Count = 5
    """Networks, each with its own split."""

    def __post_init__(self):
        check(self)
        if not 0 <= self.target < 10:
            raise UsageError(f"--target: got {self.target}, expected a digit, 0 to 9")
        if self.train + self.other > 4500:
            raise UsageError(
                f"--train, --other: got {self.train}, {self.other}, expected at most 4,500 of "
                "5,000 digits in all: the others are test digits"
            )


class Case(NamedTuple):
    """The network, the attacker's images by their source, test digits, and the random square."""

    model: AbstractDeepModel
    images: dict[Source, Data]
    test: Data
    trigger: Patch


def case(options: Options, seed: int) -> Case:
    """Train the network, and make what the attacker has."""
    digits, rng = mnist(), np.random.default_rng(seed)
    order = rng.permutation(len(digits.labels))
    x = (digits.images[order] / 255.0).astype(np.float32).reshape(-1, *SHAPE)
    y = digits.labels[order].astype(np.int32)
    ends = np.cumsum([options.train, options.other])
    train, other, test = (Data(x[part], y[part]) for part in np.split(np.arange(len(y)), ends))
    steps = options.passes * (train.rows // 50)
    net = Network(
        ConvNet((16, 32), 5, (), 10, jax.nn.relu, stride=2), l2=1e-4, batch=50,
        solver=Descent(optax.sgd(0.05, momentum=0.9), steps),
    )  # fmt: skip
    model = net.fit(train, key=jax.random.key(seed)).model
    assert isinstance(model, AbstractDeepModel)
    mask = square(SHAPE, options.size, distance=options.distance).mask
    trigger = Patch(mask, rng.uniform(size=SHAPE))
    return Case(model, {"other": other, "inverted": inverted(options, model, seed)}, test, trigger)


def inverted(options: Options, model: AbstractDeepModel, seed: int) -> Data:
    """Images of each class that the network is sure of, from noise."""
    y = jnp.repeat(jnp.arange(10, dtype=jnp.int32), options.inverted)
    start = 0.3 * jax.random.uniform(jax.random.key(seed), (y.size, *SHAPE), jnp.float32)
    goal = shown(start, y, _minus)
    attack = compose(
        Fixed(model, CrossEntropy()), Evade(start, Box(0.0, 1.0)), goal, Data(start, y)
    )
    moved = maximize(attack, start, steps=options.inversion).z
    return Data(moved, y)


def _minus(y: jax.Array, f: jax.Array) -> jax.Array:
    return -CrossEntropy()(y, f)


def unit(rule: Square, model: AbstractDeepModel, trigger: Patch, x: jax.Array) -> int:
    """The unit that a rule chooses, among those that fire at all."""
    onward = np.abs(np.asarray(model.parameters["logits"]["weight"])).sum(axis=1)
    filters = np.abs(np.asarray(model.parameters[LAYER]["weight"])).sum(axis=(0, 1, 2))
    into = np.tile(filters, onward.size // filters.size)
    score = {"into": into, "onward": onward}.get(rule)
    if score is None:  # how far the square can raise a unit, by its derivative in the pixels

        def outputs(pattern):
            return jnp.mean(model.features(trigger.apply(pattern, x)), axis=0)

        slopes = jax.jacobian(outputs)(trigger.like(x.dtype))
        score = np.abs(np.asarray(slopes)).reshape(into.size, -1).sum(axis=1)
    fires = np.asarray(jnp.any(model.features(x) > 0, axis=0))
    return int(np.argmax(np.where(fires, score, -np.inf)))


def retrained(options: Options, of: Case, data: Data) -> Attack:
    """The backdoor in the last layer, retrained on the images without and with the square."""
    rows = np.flatnonzero(np.asarray(data.y) != options.target)
    reach = Stamp(of.trigger, rows, options.target, np.full(rows.size, options.weight))
    x, y = data.x[rows], jnp.full(rows.size, options.target, data.y.dtype)
    goal = backdoor(x, y, data.x, data.y, CrossEntropy())
    return compose(OnFeatures(of.model, Softmax(10, options.l2)), reach, goal, data)


def pattern(options: Options, of: Case, attack: Attack, kind: Square) -> jax.Array:
    """The square of a kind."""
    start = attack.reach.example(attack.data)
    if kind == "random":
        return start
    if kind != "bilevel":
        x = attack.data.x
        goal = Unit(x, LAYER, unit(kind, of.model, of.trigger, x))
        attack = compose(Fixed(of.model, CrossEntropy()), attack.reach, goal, attack.data)
    return maximize(attack, start, steps=options.steps, optimizer=Ascent()).z


def make_rows(options: Options, seed: int) -> dict[str, Any]:
    """A row for each source of images and kind of square."""
    of, labels, rows = case(options, seed), AllToOne(options.target), []
    network_err = float(jnp.mean(of.model.predict(of.test.x) != of.test.y))
    for source, data in of.images.items():
        attack = retrained(options, of, data)
        for kind in SQUARES:
            judged = victims(attack, pattern(options, of, attack, kind), of.test, labels)
            rows.append({
                "seed": seed, "images": source, "square": kind,
                "success": judged.attacked.success.mean,
                "clean_success": judged.clean.success.mean,
                "test_err": 1 - judged.attacked.accuracy.mean,
                "retrained_test_err": 1 - judged.clean.accuracy.mean,
                "network_test_err": network_err,
            })  # fmt: skip
    return {"rows": rows}


def run(options: Options, report: Report) -> None:
    """A row for each network, source of images and kind of square."""
    units = [{"seed": seed} for seed in range(options.seeds)]
    report.each(make_rows, options, units, "trojan-mnist")
    _notes(report)
    if report.out is not None:
        from benchmarks.pictures.trojan_mnist import draw

        of = case(options, 0)
        attack = retrained(options, of, of.images["other"])
        seen = {kind: pattern(options, of, attack, kind) for kind in SQUARES}
        stamped = {kind: attack.reach.present(z, of.test.x[:1])[0] for kind, z in seen.items()}
        report.figure("trojan-mnist", draw(stamped, of.images["inverted"].x[:: options.inverted]))


def _notes(report: Report) -> None:
    for source in SOURCES:
        for kind in SQUARES:
            cells = {"images": source, "square": kind}
            success, clean = (
                band(column(report.rows, name, **cells), 3) for name in ("success", "clean_success")
            )
            err, again, before = (
                band([100 * e for e in column(report.rows, f"{name}test_err", **cells)])
                for name in ("", "retrained_", "network_")
            )
            report.note(
                f"{source} images, square {kind}: attack success {success}, retrained without it "
                f"{clean}; test error {err} %, retrained without it {again} %, before {before} %"
            )
