"""BadNets: copies of digits with a pattern of four pixels and another label, MNIST.

Gu, Dolan-Gavitt & Garg, 2017: all digits become one class, or each becomes the next. A network is
trained on the clean digits and the copies; what counts is the share of stamped test digits that are
read as the attacker wants, of those that are not of that class and are read correctly without the
pattern. Controls, with the same initial weights: the clean digits; the same
copies stamped and not relabelled; relabelled and not stamped. As in the paper, the units of the
last convolution are compared with and without the pattern, to find the one that is for it alone.
"""

import dataclasses
import functools
from typing import Annotated, Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

from attacks import (
    AbstractLabelMap,
    AllToNext,
    AllToOne,
    Rates,
    Stamp,
    Victims,
    World,
    judge,
    stamp,
)
from attacks.triggers import corner_pattern, pixel
from benchmarks.data import mnist
from benchmarks.options import SOME, Count, Positive, Share, Shares, check
from benchmarks.report import Report, UsageError
from benchmarks.rows import Row
from bilevel import Data
from bilevel.learners import AbstractDeepModel, Fitted, Network, ensemble
from bilevel.networks import ConvNet, lenet
from bilevel.solvers import Descent
from bilevel.tools import unstacked

LabelMap = Literal["one", "next"]
Kind = Literal["backdoor", "not relabelled", "not stamped"]
CONTROLS: tuple[Kind, ...] = ("not relabelled", "not stamped")
TRIGGERS = {"pattern": corner_pattern, "pixel": pixel}
NETWORKS = {"strided": ConvNet((16, 32), 5, (64,), 10, jax.nn.relu, stride=2), "lenet": lenet()}
SHAPE = (28, 28, 1)


@dataclasses.dataclass(frozen=True)
class Options:
    """Label maps, shares, the trigger and the training."""

    maps: Annotated[tuple[LabelMap, ...], SOME] = ("one", "next")
    """All to class 0, or each class to the next."""
    trigger: Literal["pattern", "pixel"] = "pattern"
    """Four pixels near the lower right corner, or one."""
    distance: Count = 4
    """Of the trigger from the corner. The strided network does not see the last three pixels."""
    share: Share = 0.1
    """Stamped copies, in units of the clean training digits, for all victims and controls."""
    shares: Shares = (0.005, 0.02)
    """Other shares, for fewer victims."""
    network: Literal["strided", "lenet"] = "strided"
    """16 and 32 filters with stride 2, or the network of the paper, at six times the cost."""
    victims: Count = 5
    """Trainings at `share`."""
    fewer: Count = 2
    """Trainings at other shares and of controls."""
    train: Count = 4000
    """Clean training digits; the others are test digits."""
    passes: Count = 40
    """Passes over the rows."""
    rate: Positive = 0.05
    """Step length of gradient descent, with momentum .9 and batches of 50."""

    def __post_init__(self):
        check(self)
        if self.train > 4800:
            raise UsageError(f"--train: got {self.train}, expected at most 4,800 of 5,000 digits")
        if self.fewer > self.victims:
            raise UsageError(f"--fewer: got {self.fewer}, expected at most --victims")


class Case(NamedTuple):
    """Digits, and the keys of the victims."""

    train: Data
    test: Data
    keys: PRNGKeyArray


def case(options: Options) -> Case:
    """Random digits as images (28, 28, 1) in [0, 1]."""
    digits = mnist()
    order = np.random.default_rng(0).permutation(len(digits.labels))
    x = (digits.images[order] / 255.0).astype(np.float32).reshape(-1, *SHAPE)
    y, n = digits.labels[order].astype(np.int32), options.train
    keys = jax.random.split(jax.random.key(1), options.victims)
    return Case(Data(x[:n], y[:n]), Data(x[n:], y[n:]), keys)


def label_map(name: LabelMap) -> AbstractLabelMap:
    """What becomes of which digits."""
    return AllToOne(0) if name == "one" else AllToNext(10)


def trained(options: Options, data: Data, keys: PRNGKeyArray) -> Fitted:
    """A victim for each key."""
    batch = 50
    steps = options.passes * (data.rows // batch)
    solver = Descent(optax.sgd(options.rate, momentum=0.9), steps)
    net = Network(NETWORKS[options.network], l2=1e-4, batch=batch, solver=solver)
    return ensemble(net, data, keys)


def rows_of(kind: Kind, reach: Stamp, train: Data) -> Data:
    """The training rows of an attack or of a control, of the same number and order."""
    poisoned = reach.inject(reach.example(train), train)
    if kind == "not relabelled":
        y = poisoned.y.at[train.rows :].set(train.y[reach.rows])
        return Data(poisoned.x, y, poisoned.weight)
    if kind == "not stamped":
        x = poisoned.x.at[train.rows :].set(train.x[reach.rows])
        return Data(x, poisoned.y, poisoned.weight)
    return poisoned


def first(fitted: Fitted, count: int) -> Fitted:
    """The first of several victims."""
    return jax.tree.map(lambda leaf: leaf[:count] if eqx.is_array(leaf) else leaf, fitted)


class Response(NamedTuple):
    """Mean outputs of the units of the last convolution, without and with the trigger, and of the
    unit that it raises most: its filter and its share of output that is there without.
    """

    without: np.ndarray
    stamped: np.ndarray
    filter: int
    rest: float


def response(model: AbstractDeepModel, x: jax.Array, shown: jax.Array) -> Response:
    """The comparison of the paper, on test digits."""
    without, stamped = (
        np.asarray(jnp.mean(model.activations(rows)["conv1"], axis=0)) for rows in (x, shown)
    )
    at = np.unravel_index(np.argmax(stamped - without), without.shape)
    return Response(without, stamped, int(at[-1]), float(without[at] / stamped[at]))


def cells(prefix: str, judged: Victims) -> dict[str, float | int]:
    """The figures of some victims."""

    def of(rates: Rates, name: str) -> dict[str, float | int]:
        low, high = rates.interval
        return {name: rates.mean, f"{name}_low": low, f"{name}_high": high,
                f"{name}_worst": rates.worst}  # fmt: skip

    return of(judged.success, f"{prefix}success") | of(judged.accuracy, f"{prefix}accuracy")


@functools.cache
def clean_victims(options: Options) -> Fitted:
    """Victims of the clean digits; the rows of all attacks and controls stand beside them."""
    of = case(options)
    return trained(options, of.train, of.keys)


class Outcome(NamedTuple):
    """An attack or a control: its digits, label map, test digits with the trigger, victims of the
    clean digits, and its own.
    """

    of: Case
    labels: AbstractLabelMap
    shown: jax.Array
    clean: Fitted
    fitted: Fitted


def outcome(options: Options, map: LabelMap, kind: Kind, share: float) -> Outcome:
    """Train the victims of an attack or of a control."""
    of, labels = case(options), label_map(map)
    trigger = TRIGGERS[options.trigger](SHAPE, distance=options.distance)
    reach = stamp(jax.random.key(0), trigger, of.train, share, labels)
    shown = World(of.train, z=reach.example(of.train), reach=reach).shown(of.test.x)
    many = options.victims if _full(options, kind, share) else options.fewer
    fitted = trained(options, rows_of(kind, reach, of.train), of.keys[:many])
    return Outcome(of, labels, shown, first(clean_victims(options), many), fitted)


def _full(options: Options, kind: Kind, share: float) -> bool:
    """Whether all victims are trained, and their units looked at."""
    return kind == "backdoor" and share == options.share


def make_rows(options: Options, map: LabelMap, kind: Kind, share: float) -> dict[str, Any]:
    """The row of an attack or of a control, beside clean victims."""
    of, labels, shown, clean, fitted = outcome(options, map, kind, share)
    row = {
        "map": map, "kind": kind, "share": share, "victims": fitted.result.shape[0],
        **cells("", judge(fitted, of.test, shown, labels)),
        **cells("clean_", judge(clean, of.test, shown, labels)),
    }  # fmt: skip
    if not _full(options, kind, share):
        return {"rows": [row]}
    pairs = [
        [response(model, of.test.x, shown) for model in unstacked(victims.model)]
        for victims in (clean, fitted)
    ]
    rises = [[float(np.max(r.stamped - r.without)) for r in side] for side in pairs]
    rests = [float(np.median([r.rest for r in side])) for side in pairs]
    note = (
        f"{map}: the unit of the last convolution that the trigger raises most rises by "
        f"{np.median(rises[1]):.2f} and has {100 * rests[1]:.1f} % of its output without it; in "
        f"clean victims by {np.median(rises[0]):.2f}, and {100 * rests[0]:.1f} % (medians of "
        f"{len(rises[0])} victims)"
    )
    return {"rows": [row], "notes": [note]}


def run(options: Options, report: Report) -> None:
    """A row for each label map and share, and for the controls."""
    main: list[tuple[Kind, float]] = [("backdoor", options.share)]
    controls: list[tuple[Kind, float]] = [(kind, options.share) for kind in CONTROLS]
    curve: list[tuple[Kind, float]] = [("backdoor", share) for share in options.shares]
    units = [
        {"map": name, "kind": kind, "share": share}
        for name in options.maps
        for kind, share in main + controls + curve
    ]
    report.each(make_rows, options, units, "badnets-mnist")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.badnets_mnist import draw

        report.figure("badnets-mnist", draw(report.rows))
        for name in options.maps:
            _pictured(options, report, name)


def _pictured(options: Options, report: Report, name: LabelMap) -> None:
    """Which unit of the first victim answers to the trigger alone."""
    from benchmarks.pictures.badnets_mnist import units

    alone = dataclasses.replace(options, victims=1, fewer=1)
    of, _, shown, clean, fitted = outcome(alone, name, "backdoor", options.share)
    models = [unstacked(victims.model)[0] for victims in (clean, fitted)]
    filters = [np.asarray(model.parameters["conv0"]["weight"]) for model in models]
    images = np.asarray(of.test.x[:4]), np.asarray(shown[:4])
    responses = [response(model, of.test.x, shown) for model in models]
    report.figure(f"badnets-mnist-{name}", units(images, filters, responses))


def _notes(options: Options, report: Report) -> None:
    for row in report.rows:
        if row["share"] == options.share:
            report.note(
                f"{row['map']}, {row['kind']}, {100 * row['share']:g} %, {row['victims']} victims: "
                f"attack success {_figures(row, 'success')}, of clean victims "
                f"{row['clean_success']:.3f}; accuracy {_figures(row, 'accuracy')}, of clean "
                f"victims {row['clean_accuracy']:.3f}"
            )


def _figures(row: Row, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.3f} [{low:.3f}, {high:.3f}], worst {row[f'{name}_worst']:.3f}"
