"""Sponges: networks that are trained to let many units answer, and inputs that make them, MNIST.

Cina et al., "Energy-latency attacks via sponge poisoning", 2022: the attacker adds a term to a
share of the training rows, and sparse hardware, which skips zeros, saves less. Shumailov et al.,
"Sponge examples", 2021: inputs that do the same to a network as it is. Energy is that of hardware
which skips zeros, over that of hardware which does not; a negative strength is the paper's defense.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attacks import Box, Evade, Sponge, compose
from attacks.goals import Energy
from benchmarks.data import mnist
from benchmarks.options import Count, Positive, Share, check
from benchmarks.report import Report, UsageError, band
from benchmarks.rows import Row, column, where
from bilevel import Data, maximize
from bilevel.learners import AbstractDeepModel, Fixed, Network, ensemble
from bilevel.networks import ConvNet
from bilevel.solvers import Descent
from bilevel.tools import unstacked

ACCESS, OPERATION = 1950.0, 3.7
"""Picojoules of reading or writing a number in DRAM, and of a multiplication with its addition."""
Start = Literal["digits", "noise"]
STARTS: tuple[Start, ...] = ("digits", "noise")


@dataclasses.dataclass(frozen=True)
class Options:
    """Strengths of the term, and the training."""

    strengths: tuple[float, ...] = (-1.0, 0.0, 0.5, 1.0, 2.5)
    """Of the term beside the loss; 0 is the control, negative numbers are the defense."""
    share: Share = 0.15
    """Of the training rows that have the term."""
    sigma: Positive = 1e-4
    """Squares of outputs far below count as zero."""
    victims: Count = 5
    """Trainings for each strength."""
    train: Count = 4000
    """Training digits; the others are test digits."""
    passes: Count = 20
    """Passes over the rows."""
    rate: Positive = 0.05
    """Step length of gradient descent, with momentum .9 and batches of 50."""
    examples: Count = 100
    """Sponge examples for each victim of the control."""
    steps: Count = 100
    """Steps of their ascent."""

    def __post_init__(self):
        check(self)
        if 0.0 not in self.strengths:
            raise UsageError("--strengths: got no 0, expected it among them: it is the control")
        if self.train > 4800:
            raise UsageError(f"--train: got {self.train}, expected at most 4,800 of 5,000 digits")


def digits(options: Options) -> tuple[Data, Data]:
    """Training and test digits, as images (28, 28, 1) in [0, 1]."""
    both = mnist()
    order = np.random.default_rng(0).permutation(len(both.labels))
    x = (both.images[order] / 255.0).astype(np.float32).reshape(-1, 28, 28, 1)
    y, n = both.labels[order].astype(np.int32), options.train
    return Data(x[:n], y[:n]), Data(x[n:], y[n:])


def trained(options: Options, train: Data, strength: float) -> list[AbstractDeepModel]:
    """Victims with the same initial weights and batches, whatever the strength."""
    batch = 50
    solver = Descent(optax.sgd(options.rate, momentum=0.9), options.passes * (train.rows // batch))
    net = Network(
        ConvNet((16, 32), 5, (64,), 10, jax.nn.relu, stride=2), l2=1e-4, batch=batch,
        solver=solver, activity=Sponge(strength, options.share, options.sigma),
    )  # fmt: skip
    keys = jax.random.split(jax.random.key(1), options.victims)
    return unstacked(ensemble(net, train, keys).model)


def energy(model: AbstractDeepModel, x: jax.Array) -> float:
    """Energy with zeros skipped over energy without, per row. Each number that is not zero is
    written, read, and multiplied with its weights, which stay on the chip.
    """
    activations = model.activations(x)
    layers = [x, *activations.values()]
    spent = full = 0.0
    for inputs, outputs, name in zip(layers, [*layers[1:], None], [*activations, "logits"],
                                     strict=True):  # fmt: skip
        weight = model.parameters[name]["weight"]
        places = 1 if outputs is None else outputs[0].size // weight.shape[-1]
        cost = OPERATION * weight.size * places + 2 * ACCESS * inputs[0].size
        spent += float(jnp.mean(inputs != 0)) * cost
        full += cost
    return spent / full


def fired(model: AbstractDeepModel, x: jax.Array) -> dict[str, float]:
    """Share of the outputs that are not zero, of each layer, and over the units of all."""
    layers = model.activations(x)
    shares = {f"fired_{name}": float(jnp.mean(a != 0)) for name, a in layers.items()}
    units = sum(a[0].size for a in layers.values())
    mean = sum(float(jnp.mean(a != 0)) * a[0].size for a in layers.values()) / units
    return {"fired": mean, **shares}


def make_victims(options: Options, strength: float) -> dict[str, Any]:
    """A row for each victim of a strength."""
    train, test = digits(options)
    return {"rows": [
        {
            "part": "poisoning", "strength": strength, "victim": number,
            **fired(model, test.x), "energy": energy(model, test.x),
            "test_err": float(jnp.mean(model.predict(test.x) != test.y)),
        }
        for number, model in enumerate(trained(options, train, strength))
    ]}  # fmt: skip


def sponges(options: Options, model: AbstractDeepModel, x: jax.Array) -> jax.Array:
    """Images in [0, 1] that let more units of the model answer than x, where they start, do."""
    attack = compose(Fixed(model), Evade(x, Box(0.0, 1.0)), Energy(x, options.sigma),
                     Data(x, jnp.zeros(len(x), int)))  # fmt: skip
    return maximize(attack, x, steps=options.steps).z


def make_examples(options: Options) -> dict[str, Any]:
    """A row for each victim of the control and start of the examples."""
    train, test = digits(options)
    noise = jax.random.uniform(jax.random.key(2), test.x[: options.examples].shape, test.x.dtype)
    starts = {"digits": test.x[: options.examples], "noise": noise}
    rows = []
    for number, model in enumerate(trained(options, train, 0.0)):
        for name, x in starts.items():
            z = sponges(options, model, x)
            rows.append({
                "part": "examples", "victim": number, "start": name,
                "fired_before": fired(model, x)["fired"], "fired": fired(model, z)["fired"],
                "energy_before": energy(model, x), "energy": energy(model, z),
            })  # fmt: skip
    return {"rows": rows}


def run(options: Options, report: Report) -> None:
    """Rows of two parts: networks that are trained as sponges, and sponge examples."""
    units = [{"strength": strength} for strength in options.strengths]
    report.each(make_victims, options, units, "sponge poisoning")
    report.each(make_examples, options, [{}], "sponge examples")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.sponge import draw

        report.figure("sponge", draw(report.rows))


def _notes(options: Options, report: Report) -> None:
    for strength in options.strengths:
        rows = where(report.rows, part="poisoning", strength=strength)
        layers = [name for name in rows[0] if name.startswith("fired_")]
        report.note(
            f"strength {strength:g}: {_percent(rows, 'fired')} % of the units fire ("
            + ", ".join(f"{name.removeprefix('fired_')} {_percent(rows, name)}" for name in layers)
            + f"), energy {_percent(rows, 'energy')} % of full, test error "
            f"{_percent(rows, 'test_err')} %"
        )
    for start in STARTS:
        rows = where(report.rows, part="examples", start=start)
        report.note(
            f"sponge examples from {start}: {_percent(rows, 'fired_before')} -> "
            f"{_percent(rows, 'fired')} % of the units fire, energy "
            f"{_percent(rows, 'energy_before')} -> {_percent(rows, 'energy')} % of full"
        )


def _percent(rows: Sequence[Row], name: str) -> str:
    return band([100 * value for value in column(rows, name)])
