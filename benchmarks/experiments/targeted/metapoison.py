"""MetaPoison beside gradient matching at equal cost: the pairs of `gradient-matching`, MNIST.

Huang et al., NeurIPS 2020: the attacker has networks at different epochs of their training. Two
steps of each on a batch that contains the poison are unrolled, and the moved digits descend the
mean loss of Carlini & Wagner of the target after these steps. Here the batches are fixed, and the
networks do not train on the poison in between. Gradient matching moves the same digits, from as
many starts as cost as much. The control is random noise of the same size.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from attacks import compose, indiscriminate
from attacks.goals import Sum
from benchmarks.clean_label import (
    BATCH,
    RATE,
    Digits,
    Reach,
    Setting,
    digits,
    near,
    network,
    sign_adam,
)
from benchmarks.clock import timed
from benchmarks.options import Count, Positive, refuse
from benchmarks.report import Report
from benchmarks.rows import column
from bilevel import Data, Members, batch, maximize
from bilevel.derivatives import Unroll
from bilevel.losses import CarliniWagner
from bilevel.solvers import Descent

from . import gradient_matching
from ._pairs import Pairs, judged, pairs, read, shaken, summary


@dataclasses.dataclass(frozen=True)
class Options(Setting):
    """The attack, and the one beside it."""

    members: Count = 8
    """Networks at different epochs."""
    unroll: Count = 2
    """Steps of a training that are unrolled."""
    rate: Positive = 0.1
    """Length of these steps."""
    clean: Count = 105
    """Clean digits of a batch, beside the poison."""
    steps: Count = 60
    """Steps of an attack."""
    step: Positive = 0.1
    """Length of the first steps, in every pixel."""
    restarts: Count = 15
    """Random starts of gradient matching, whose other options are its own."""

    def __post_init__(self):
        super().__post_init__()
        if self.clean > self.train:
            refuse("clean", self.clean, f"at most --train, {self.train}")


class Member(NamedTuple):
    """Parameters at some epoch, and the clean digits of its batch."""

    parameters: PyTree
    clean: Int[Array, " c"]


def staggered(options: Options, of: Digits, seed: int) -> Member:
    """Members whose trainings have had 1 / members, 2 / members, ... of the passes."""
    whole = network(options)
    solver = Descent(optax.sgd(RATE, momentum=0.9), of.train.rows // BATCH)

    def passed(key: PRNGKeyArray, passes: Int[Array, ""]) -> Member:
        of_start, of_clean = jax.random.split(key)
        row = jax.ShapeDtypeStruct(of.train.x.shape[1:], of.train.x.dtype)

        def one(number, parameters):
            net = dataclasses.replace(whole, start=parameters, solver=solver)
            fitted = net.fit(of.train, key=jax.random.fold_in(key, number), throw=False)
            return fitted.model.parameters

        start = whole.architecture.init(of_start, row)
        clean = jax.random.choice(of_clean, of.train.rows, (options.clean,), replace=False)
        return Member(jax.lax.fori_loop(0, passes, one, start), clean.astype(jnp.int32))

    passes = jnp.arange(1, options.members + 1) * options.passes // options.members
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 3), options.members)
    return batch(passed)(keys, passes)


def met(options: Options, of: Digits, chosen: Pairs, members: Member) -> Float[Array, "p n ..."]:
    """The moved digits of each pair; one program for all."""
    optimizer = sign_adam(options.step, options.steps)
    solver = Descent(optax.sgd(options.rate), options.unroll)
    net = dataclasses.replace(network(options), batch=None, solver=solver, derivative=Unroll(1))

    def one(x, wanted, rows, key):
        low, high = near(options, of.train, rows)[1:]
        goal = Sum([indiscriminate(x[None], wanted[None], CarliniWagner())], [-1.0])

        def around(member: Member):
            few = jnp.concatenate([rows, member.clean])
            reach = Reach(jnp.arange(options.poisons), low, high)
            learner = dataclasses.replace(net, start=member.parameters)
            data = Data(of.train.x[few], of.train.y[few])
            return compose(learner, reach.perturb(), goal, data, key=key)

        (start,) = near(options, of.train, rows).starts(key, 1)
        attack = Members(around, members)
        return maximize(
            attack, start, steps=options.steps, optimizer=optimizer, patience=options.steps
        ).z

    return batch(one)(chosen.x, chosen.wanted, chosen.rows, chosen.keys)


def make_rows(options: Options, seed: int) -> dict[str, Any]:
    """A row for each pair and attack."""
    match = gradient_matching.Options(
        **{field.name: getattr(options, field.name) for field in dataclasses.fields(Setting)},
        restarts=options.restarts,
    )
    of = digits(options, seed, match.members)
    chosen, members = pairs(options, of, seed), staggered(options, of, seed)
    met_z, _, met_cost = timed(lambda: met(options, of, chosen, members))
    (matched_z, _), _, matched_cost = timed(lambda: gradient_matching.matched(match, of, chosen))
    rows = [
        *judged(
            of, chosen, "metapoison", read(options, of, chosen, met_z),
            seconds=_each(met_cost, chosen),
        ),
        *judged(
            of, chosen, "matched", read(options, of, chosen, matched_z),
            seconds=_each(matched_cost, chosen),
        ),
        *judged(of, chosen, "noise", read(options, of, chosen, shaken(options, of, chosen))),
    ]  # fmt: skip
    shown = [np.asarray(part[:3]) for part in (of.train.x[chosen.rows], met_z, chosen.x[:, None])]
    return {"rows": [{"seed": seed, **row} for row in rows], "images": shown}


def _each(seconds: float, chosen: Pairs) -> list[float]:
    return [seconds / len(chosen.keys)] * len(chosen.keys)


def run(options: Options, report: Report) -> None:
    """Three rows for each pair of a target and a class."""
    units = [{"seed": seed} for seed in range(options.seeds)]
    made = report.each(make_rows, options, units, "metapoison")
    for kind in ("metapoison", "matched", "noise"):
        report.note(summary(options, report.rows, kind))
    last = options.seeds - 1
    compiling = "; it includes compiling" if last == 0 else ""
    costs = (
        f"{kind} {column(report.rows, 'seconds', kind=kind, seed=last)[0]:.1f}"
        for kind in ("metapoison", "matched")
    )
    report.note(
        f"CPU seconds of an attack without its networks, seed {last}: {', '.join(costs)}{compiling}"
    )
    if report.out is not None:
        from benchmarks.pictures.clean_label import draw

        report.figure("metapoison", draw(*made[0]["images"]))
