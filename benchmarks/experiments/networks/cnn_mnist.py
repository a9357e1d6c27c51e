"""Poisoning a convolutional network, all ten digits of MNIST, with its controls.

Munoz-Gonzalez et al., AISec 2017, with the exact derivative of the training path; the points climb
together. Four attackers: one who knows the initial weights; one who averages over several, which
are not those of the victim (Huang et al. 2020); two who unroll no training: one who moves the
poison while a network trains (TGDA, Lu et al., TMLR 2022), one who cancels gradients (Lu et al.,
ICML 2023). Each result is judged on the known initial weights, on fresh ones, and on a network of
another architecture, beside the same digits mislabelled and not moved.
"""

import dataclasses
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attacks import (
    Box,
    Insert,
    cancel_gradients,
    compose,
    corrupted,
    descend_ascend,
    indiscriminate,
    poison_network,
    training_key,
)
from benchmarks.clock import timed
from benchmarks.data import mnist
from benchmarks.options import SOME, Count, Positive, check
from benchmarks.report import Report, UsageError, band
from bilevel import Ascent
from bilevel.derivatives import Unroll
from bilevel.learners import Network
from bilevel.networks import MLP, small
from bilevel.solvers import Descent

from ._victims import Rows, dealt, judged, with_rows

Attacker = Literal["one", "averaged", "joint", "cancelling"]
ATTACKERS: tuple[Attacker, ...] = ("one", "averaged", "joint", "cancelling")
BATCH = 100
"""Rows of a mini-batch; fewer training rows are one batch."""
BETWEEN = 5
"""Steps of the network between two steps of the poison, where both move."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Amount of poison, sizes and the victim's training."""

    attackers: Annotated[tuple[Attacker, ...], SOME] = ATTACKERS
    """Who poisons."""
    points: Count = 10
    """Poison digits."""
    seeds: Count = 5
    """Random splits, each with its own initial weights."""
    train: Count = 100
    """Clean training digits."""
    validation: Count = 400
    """Validation digits: the attacker raises the loss on them."""
    test: Count = 2000
    """Test digits."""
    rate: Positive = 0.1
    """Step length of the victim's gradient descent, with momentum .9."""
    length: Count = 60
    """Steps of the victim's gradient descent."""
    steps: Count = 25
    """Steps of an attack."""
    members: Count = 4
    """Initialisations over which the second attacker averages."""
    fresh: Count = 5
    """Fresh initialisations on which a result is judged."""
    corruption: Positive = 0.3
    """Distance of the model that gradients are cancelled at, in units of the weights' norm."""

    def __post_init__(self):
        check(self)
        sizes = self.train, self.validation, self.test
        if sum(sizes) > 5000 or self.points > self.validation:
            raise UsageError(
                f"--train, --validation, --test: got {', '.join(map(str, sizes))}, expected at "
                "most 5,000 in all, and no fewer validation digits than --points"
            )


def images() -> Rows:
    """All ten digits as images (28, 28, 1) in [0, 1]; 500 of each."""
    digits = mnist()
    x = (digits.images / 255.0).astype(np.float32).reshape(-1, 28, 28, 1)
    return Rows(x, digits.labels.astype(np.int32))


def victims(options: Options) -> tuple[Network, Network]:
    """The convolutional network, and a dense one trained alike."""
    solver = Descent(optax.sgd(options.rate, momentum=0.9), options.length)
    batch = None if options.train <= BATCH else BATCH
    derivative = Unroll(2)
    return (
        Network(small(10), l2=1e-4, batch=batch, solver=solver, derivative=derivative),
        Network(MLP((32,), 10), l2=1e-4, batch=batch, solver=solver, derivative=derivative),
    )


class Case(NamedTuple):
    """Rows of a seed, and the key of the attacker."""

    train: Rows
    validation: Rows
    test: Rows
    start: Rows
    key: jax.Array


def case(options: Options, seed: int) -> Case:
    """Random rows; poison starts at validation rows with a wrong label."""
    sizes = (options.train, options.validation, options.test)
    train, validation, test, _ = dealt(images(), sizes, seed)
    rows = np.random.default_rng([seed, 1]).permutation(options.validation)[: options.points]
    shift = np.random.default_rng([seed, 2]).integers(1, 10, options.points)
    labels = ((validation.y[rows] + shift) % 10).astype(np.int32)
    start = Rows(validation.x[rows], labels)
    return Case(train, validation, test, start, jax.random.key(seed))


def poison(options: Options, attacker: Attacker, of: Case, key: jax.Array) -> np.ndarray:
    """The rows of an attacker, from those of the start."""
    learner, _ = victims(options)
    train, validation, ascent = of.train.data(), of.validation, Ascent(first=2.0, last=0.1)
    x, y = jnp.asarray(of.start.x), jnp.asarray(of.start.y)
    if attacker == "joint":
        begin = learner.fit(train, key=training_key(key)).model.parameters
        path = Descent(optax.sgd(options.rate), BETWEEN)
        pace = dataclasses.replace(learner, start=begin, solver=path, batch=None)
        goal = indiscriminate(validation.x, validation.y, learner.loss)
        attack = compose(pace, Insert(y, Box(0.0, 1.0)), goal, train, key=key)
        return np.asarray(descend_ascend(attack, x, steps=4 * options.steps, ascent=ascent).z)
    if attacker == "cancelling":
        model = learner.fit(train, key=training_key(key)).model
        bad = corrupted(model, validation.data(), learner.loss, options.corruption)
        made = cancel_gradients(
            train, x, y, bad, learner.loss, l2=learner.l2, steps=5 * options.steps, ascent=ascent
        )
    else:
        others = jax.random.split(jax.random.fold_in(key, 7), options.members)
        keys = key if attacker == "one" else others
        made = poison_network(
            train, x, y, validation.data(), learner, keys, steps=options.steps, ascent=ascent
        )
    return np.asarray(made.climb().z)


def make_rows(options: Options, seed: int, attacker: str) -> dict[str, Any]:
    """The row of a seed and attacker, and the poison."""
    victim, other = victims(options)
    of = case(options, seed)
    key, of_fresh = jax.random.split(of.key)
    known, fresh = training_key(key)[None], jax.random.split(of_fresh, options.fresh)
    x, cpu = of.start.x, None
    if attacker in ATTACKERS:
        x, _, cpu = timed(lambda: poison(options, attacker, of, key))
    share = np.full(options.points, float(attacker != "clean"))
    data = with_rows(of.train.data(), x, of.start.y, share)
    errors = judged(victim, other, data, known, fresh, of.test)
    row = {
        "seed": seed, "attacker": attacker, "same_err": errors.same, "fresh_err": errors.fresh,
        "other_err": errors.other, "cpu_seconds": cpu,
    }  # fmt: skip
    return {"rows": [row], "poison": x}


def run(options: Options, report: Report) -> None:
    """One row per seed and attacker; the rows `clean` and `not moved` are the controls."""
    rows = ("clean", "not moved", *options.attackers)
    units = [{"seed": s, "attacker": attacker} for s in range(options.seeds) for attacker in rows]
    made = report.each(make_rows, options, units, "cnn-mnist")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.cnn_mnist import digits, draw

        report.figure("cnn-mnist", draw(report.rows))
        start = case(options, 0).start
        for attacker, of in zip(rows, made, strict=False):  # of the first seed
            if attacker in ATTACKERS:
                report.figure(f"cnn-mnist-{attacker}", digits(start, of["poison"]))


def _notes(options: Options, report: Report) -> None:
    columns = (("same_err", "known"), ("fresh_err", "fresh"), ("other_err", "dense network"))
    for attacker in ("clean", "not moved", *options.attackers):
        rows = [row for row in report.rows if row["attacker"] == attacker]
        parts = [f"{words} {band([100 * row[name] for row in rows])} %" for name, words in columns]
        report.note(f"{attacker}: test error " + ", ".join(parts) + f"; {len(rows)} seeds")
