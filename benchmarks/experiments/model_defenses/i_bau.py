"""I-BAU: backdoored networks trained against the worst shift of all rows; its hypergradient.

Zeng et al. (ICLR 2022) minimise the loss of clean rows that are shifted by the worst universal
perturbation in a ball, along the implicit hypergradient of that minimum over a maximum, whose
series is cut after five terms. Two questions. What it does to networks with a backdoor, beside
fine-tuning on the same clean digits, and to clean networks. And how far its hypergradient is from
the truth, which on a small smooth network is found by central differences in float64: exact
implicit derivative, five terms, five terms with the step length .1 of the authors' code, and no
derivative of the perturbation at all (adversarial training).
"""

import dataclasses
from typing import Annotated, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from attacks import AllToOne, stamp
from attacks.triggers import square
from benchmarks.data import mnist
from benchmarks.options import SOME, Count, Positive, Share, check
from benchmarks.report import Report, band
from benchmarks.rows import column
from bilevel import Data
from bilevel.derivatives import Implicit
from bilevel.learners import Fixed, Network, NetworkModel
from bilevel.linear import Neumann
from bilevel.losses import CrossEntropy
from bilevel.networks import MLP
from bilevel.solvers import Descent, Picard
from defenses import Ball, FineTune, ImplicitUnlearning, Tuning

from ._infected import BATCH, CLEAN, Infection, Trigger, case, figures, victim

LOSS = CrossEntropy()
BODY = MLP((16,), 10)
"""The small smooth network of the hypergradients, on digits of 7 x 7 pixels."""
PICARD = Picard(4000)


@dataclasses.dataclass(frozen=True)
class Options:
    """Networks, and the settings of the repair."""

    networks: Count = 5
    """Infected networks, each on a split of its own."""
    controls: Count = 2
    """Clean networks."""
    triggers: Annotated[tuple[Trigger, ...], SOME] = ("pattern",)
    """Four pixels, a white square, or noise that is mixed in."""
    radius: Positive = 3.0
    """Of the ball, Euclidean; the pattern has 2, a digit about 9."""
    share: Share = 0.1
    """Of a mini-batch of 100 that is shifted."""
    steps: Count = 100
    """Steps of Adam."""
    rate: Positive = 1e-3
    """Length of the first; it falls to zero by a cosine: with equal steps the end is a lottery."""
    ascents: Count = 5
    """Steps of projected ascent for each."""
    tuning: Positive = 0.05
    """Step length of the fine-tuning, with momentum .9, for 20 passes."""
    pairs: Count = 5
    """Small smooth networks whose hypergradients are compared."""

    def __post_init__(self):
        check(self)


def make_rows(options: Options, trigger: Trigger, seed: int, infected: bool) -> dict[str, Any]:
    """A row for the network before, after fine-tuning and after I-BAU."""
    of = Infection(trigger=trigger)
    rows, model = case(of, seed), victim(of, seed, infected)
    base, clean = Fixed(model, LOSS), rows.clean
    tune = Tuning(Descent(optax.sgd(options.tuning, momentum=0.9), 20 * (CLEAN // BATCH)), BATCH)
    ball = Ball(options.radius, rate=100.0, rows=100, solver=Picard(options.ascents))
    strong = Ball(options.radius, rate=1e5, rows=100, solver=Picard(20))
    fall = optax.cosine_decay_schedule(options.rate, options.steps)
    unlearn = Tuning(Descent(optax.adam(fall), options.steps), 100)
    repairs = {
        "fine-tuning": FineTune(base, clean, tune),
        "I-BAU": ImplicitUnlearning(base, clean, ball, options.share, unlearn),
    }
    key = jax.random.key(seed)
    fitted = {name: repair.fit(clean, key=key).model for name, repair in repairs.items()}
    table = []
    for name, repaired in ({"none": model} | fitted).items():
        assert isinstance(repaired, NetworkModel)
        shift = strong.worst(repaired.architecture, repaired.parameters, clean, LOSS)
        bears = jnp.mean(repaired.predict(rows.test.x + shift[None]) == rows.test.y)
        table.append({
            "trigger": trigger, "seed": seed, "network": "backdoor" if infected else "clean",
            "defense": name, **figures(repaired, rows)._asdict(), "shifted": float(bears),
        })  # fmt: skip
    return {"rows": table}


class Small(NamedTuple):
    """Digits of 7 x 7 pixels in float64, a network with a backdoor on them as a function of its
    parameters as one vector, and a mini-batch of the outer problem.
    """

    clean: Data
    outer: Data
    flat: Float[Array, " d"]
    unravel: Any


def small(seed: int) -> Small:
    """A small smooth network, trained on 400 digits and 40 copies with a square."""
    digits = mnist()
    order = np.random.default_rng(seed).permutation(len(digits.labels))[:600]
    x = digits.images[order].reshape(-1, 7, 4, 7, 4).mean((2, 4))[..., None] / 255.0
    y = digits.labels[order].astype(np.int32)
    train, clean = Data(x[:400], y[:400]), Data(x[400:], y[400:])
    reach = stamp(jax.random.key(seed), square((7, 7, 1), 2), train, 0.1, AllToOne(7))
    solver = Descent(optax.sgd(0.5, momentum=0.9), 300)
    poisoned = reach.inject(reach.example(train), train)
    fitted = Network(BODY, l2=1e-3, solver=solver).fit(poisoned, key=jax.random.key(seed))
    flat, unravel = ravel_pytree(fitted.model.parameters)
    return Small(clean, Data(clean.x[:50], clean.y[:50]), flat, unravel)


@eqx.filter_jit
def outer(of: Small, ball: Ball, flat: Array, still: bool = False) -> Array:
    """The loss of the mini-batch, shifted by what is worst for all clean rows; `still`: a shift
    that does not move with the parameters.
    """
    parameters = of.unravel(flat)
    shift = ball.worst(BODY, parameters, of.clean, LOSS)
    shift = jax.lax.stop_gradient(shift) if still else shift
    logits = BODY.apply(parameters, of.outer.x + shift[None]).logits
    return jnp.mean(LOSS(of.outer.y, logits))


@eqx.filter_jit
def slope(of: Small, ball: Ball, still: bool) -> Array:
    """The hypergradient, by the derivative that the ball has."""
    return jax.grad(lambda flat: outer(of, ball, flat, still))(of.flat)


def small_rows(options: Options, seed: int) -> dict[str, Any]:
    """The hypergradients of one small network, at a maximum inside and at one on the sphere."""
    del options
    of, table, h = small(seed), [], 1e-4
    along = np.random.default_rng(seed).normal(size=of.flat.size)
    along = jnp.asarray(along / np.linalg.norm(along))
    balls = {
        "inside": Ball(np.inf, penalty=0.5, rate=0.2, solver=PICARD),
        "on the sphere": Ball(1.0, rate=0.3, solver=PICARD),
    }
    for place, ball in balls.items():
        near, far = (
            float(outer(of, ball, of.flat + t * along) - outer(of, ball, of.flat - t * along))
            for t in (h, 2 * h)
        )
        expected = (8 * near - far) / (12 * h)
        exact = slope(of, by(ball, Implicit()), False)
        five = Implicit(Neumann(5, rate=1.0))
        authors = Implicit(Neumann(5, rate=0.1 / float(ball.rate)))
        slopes = {
            "exact implicit": exact,
            "five terms": slope(of, by(ball, five), False),
            "five terms of step .1": slope(of, by(ball, authors), False),
            "none": slope(of, ball, True),
        }
        for name, found in slopes.items():
            table.append({
                "seed": seed, "maximum": place, "derivative": name,
                "off_differences": abs(float(found @ along) - expected) / abs(expected),
                "off_exact": float(jnp.linalg.norm(found - exact) / jnp.linalg.norm(exact)),
            })  # fmt: skip
    return {"rows": table}


def by(ball: Ball, derivative: Implicit) -> Ball:
    """The same ball with another derivative."""
    return Ball(ball.radius, ball.penalty, ball.rate, ball.rows, ball.solver, derivative)


def run(options: Options, report: Report) -> None:
    """Rows of the networks, then rows of the hypergradients."""
    units = [
        {"trigger": trigger, "seed": seed, "infected": infected}
        for trigger in options.triggers
        for infected, count in ((True, options.networks), (False, options.controls))
        for seed in range(count)
    ]
    report.each(make_rows, options, units, "i-bau")
    pairs = [{"seed": seed} for seed in range(options.pairs)]
    report.each(small_rows, options, pairs, "i-bau: hypergradients")
    _notes(report)


def _notes(report: Report) -> None:
    networks = [row for row in report.rows if "defense" in row]
    names = ("trigger", "network", "defense")
    for cells in dict.fromkeys(tuple(row[name] for name in names) for row in networks):
        of = dict(zip(names, cells, strict=True))
        bands = {
            name: band(column(networks, name, **of), 3)
            for name in ("success", "accuracy", "recovered", "shifted")
        }
        report.note(
            f"{', '.join(cells)}: success {bands['success']}, accuracy {bands['accuracy']}, "
            f"stamped digits read right {bands['recovered']}, digits with its worst shift "
            f"{bands['shifted']}"
        )
    small = [row for row in report.rows if "derivative" in row]
    for place, name in dict.fromkeys((row["maximum"], row["derivative"]) for row in small):
        of = {"maximum": place, "derivative": name}
        errors, apart = (column(small, f"off_{what}", **of) for what in ("differences", "exact"))
        report.note(
            f"maximum {place}, derivative {name}: relative error against central differences "
            f"{np.max(errors):.1e} (worst of {len(errors)}), against the exact one "
            f"{band(apart, 4)}"
        )
