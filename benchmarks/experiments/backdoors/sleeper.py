"""Sleeper agent: no training digit shows the trigger, no label is wrong, networks from scratch.

Souri et al., NeurIPS 2022: some training digits of the target class are moved until their gradient,
in the weights of networks that the attacker has trained, points where that of digits of the source
class with the trigger, labelled as the target, does. With `--rounds` the networks are trained anew
on the moved digits in between, as in the paper. Fresh networks, with other initial weights, are
then trained on all digits; what counts is the share of source digits that they read right, and as
the target with the trigger. Controls: random noise of the same size on the same digits, and clean
digits.
"""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from attacks import AllToOne, Victims, WithTrigger, judge
from attacks.triggers import Patch, square
from benchmarks.clean_label import (
    SHAPE,
    Digits,
    Setting,
    aligned,
    digits,
    near,
    network,
    retrained,
    steepest,
    with_interval,
)
from benchmarks.options import Count, Positive, refuse
from benchmarks.report import Report
from benchmarks.rows import column
from bilevel import Data, batch
from bilevel.learners import AbstractModel, Fitted, ensemble
from bilevel.tools import unstacked


@dataclasses.dataclass(frozen=True)
class Options(Setting):
    """The trigger and the attack."""

    seeds: Count = 1
    """Splits of the digits, each with networks of its own."""
    size: Count = 8
    """Pixels of a side of the trigger, a white square."""
    distance: Count = 4
    """Of the trigger from the lower right corner. The network skips the last three pixels."""
    sources: Count = 50
    """Source digits of the attacker, from the training digits."""
    members: Count = 4
    """Networks of the attacker, over which the alignment is averaged."""
    rounds: Count = 1
    """Ascents, each on networks of its own: of the clean digits, then of those moved so far."""
    steps: Count = 100
    """Steps of a round."""
    step: Positive = 0.1
    """Length of the first steps of a round, in every pixel."""

    def __post_init__(self):
        super().__post_init__()
        if self.pairs > 90:
            refuse("pairs", self.pairs, "at most 90, the pairs of two digits")
        if self.sources > self.train // 20:
            refuse("sources", self.sources, f"at most {self.train // 20}, half of a class")


class Pairs(NamedTuple):
    """p attacks: classes, the attacker's source digits without the trigger, the training digits
    that move, and keys.
    """

    source: Int[Array, " p"]
    target: Int[Array, " p"]
    x: Float[Array, "p k ..."]
    rows: Int[Array, "p n"]
    keys: Key[Array, " p"]


def pairs(options: Options, of: Digits, seed: int) -> Pairs:
    """Different random pairs of classes. UsageError if one has too few digits for the attacker."""
    rng, y = np.random.default_rng([seed, 1]), np.asarray(of.train.y)
    fewest = np.min(np.bincount(y, minlength=10))
    if options.sources > fewest:
        refuse("sources", options.sources, f"at most {fewest}, as many as each class has")
    source, step = np.divmod(rng.permutation(90)[: options.pairs], 9)
    target = (source + step + 1) % 10
    shown = [rng.permutation(np.flatnonzero(y == label))[: options.sources] for label in source]
    target = jnp.asarray(target, of.train.y.dtype)
    return Pairs(
        jnp.asarray(source, target.dtype), target, of.train.x[np.stack(shown)],
        steepest(of.models, of.train, target, options.poisons),
        jax.random.split(jax.random.fold_in(jax.random.key(seed), 2), options.pairs),
    )  # fmt: skip


def trigger(options: Options) -> Patch:
    """A white square."""
    return square(SHAPE, options.size, distance=options.distance)


def sleepers(options: Options, of: Digits, chosen: Pairs, patch: Patch) -> tuple[Array, Array]:
    """The moved digits (p, n, ...) of each pair and their alignment (p,) in the last round."""

    def climb(target, x, rows, start, models):
        reach = WithTrigger(near(options, of.train, rows).perturb(), patch)
        wanted = Data(x, jnp.full(x.shape[:1], target))
        return aligned(
            reach, wanted, models, of.train, start[None], options.step, options.steps
        )  # fmt: skip

    def again(rows, z, key) -> AbstractModel:
        train = near(options, of.train, rows).perturb().inject(z, of.train)
        return ensemble(network(options), train, jax.random.split(key, options.members)).model

    def ascend(z, models):
        return batch(climb)(chosen.target, chosen.x, chosen.rows, z, models)

    arrays, rest = eqx.partition(of.models, eqx.is_array)
    same = jax.tree.map(lambda leaf: jnp.stack([leaf] * options.pairs), arrays)
    start = batch(lambda rows, key: near(options, of.train, rows).starts(key, 1)[0])
    z, alignment = ascend(start(chosen.rows, chosen.keys), eqx.combine(same, rest))
    for number in range(1, options.rounds):
        keys = jax.vmap(jax.random.fold_in, (0, None))(chosen.keys, number)
        z, alignment = ascend(z, batch(again)(chosen.rows, z, keys))
    return z, alignment


def judged(of: Digits, patch: Patch, source: int, target: int, fitted: Fitted) -> Victims:
    """What victims make of test digits without and with the trigger."""
    shown = patch.apply(patch.like(of.test.x.dtype), of.test.x)
    return judge(fitted, of.test, shown, AllToOne(target, sources=source))


def make_rows(options: Options, seed: int) -> dict[str, Any]:
    """A row for each pair and kind: moved digits, noise, clean digits."""
    of, patch = digits(options, seed, options.members), trigger(options)
    chosen = pairs(options, of, seed)
    moved, alignment = sleepers(options, of, chosen, patch)
    shaken = batch(lambda rows, key: near(options, of.train, rows).noise(key))(
        chosen.rows, chosen.keys
    )
    fitted = {
        "sleeper": unstacked(retrained(options, of, chosen.rows, moved)),
        "noise": unstacked(retrained(options, of, chosen.rows, shaken)),
        "clean": [of.clean] * options.pairs,
    }
    rows = []
    for i in range(options.pairs):
        source, target = int(chosen.source[i]), int(chosen.target[i])
        for kind, victims in fitted.items():
            found = judged(of, patch, source, target, victims[i])
            rows.append({
                "seed": seed, "source": source, "target": target, "kind": kind,
                "success": found.success.mean, "worst": found.success.worst,
                "test_err": 1 - found.accuracy.mean,
                "alignment": float(alignment[i]) if kind == "sleeper" else None,
            })  # fmt: skip
    stamped = patch.apply(patch.like(of.train.x.dtype), chosen.x[:3, 0])[:, None]
    images = [np.asarray(part[:3]) for part in (of.train.x[chosen.rows], moved, stamped)]
    return {"rows": rows, "images": images}


def run(options: Options, report: Report) -> None:
    """Three rows for each pair of a source and a target class."""
    units = [{"seed": seed} for seed in range(options.seeds)]
    made = report.each(make_rows, options, units, "sleeper")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.clean_label import draw

        report.figure("sleeper", draw(*made[0]["images"], name="source, stamped"))


def _notes(options: Options, report: Report) -> None:
    """Means over the pairs, with 95 % intervals over other pairs."""
    success = {
        kind: np.asarray(column(report.rows, "success", kind=kind))
        for kind in ("sleeper", "noise", "clean")
    }
    for kind, each in success.items():
        err = np.mean(column(report.rows, "test_err", kind=kind))
        report.note(
            f"{kind}: source digits with the trigger read as the target {with_interval(each)}, "
            f"over {len(each)} pairs of {options.victims} networks; test error {100 * err:.1f} %"
        )
    more = success["sleeper"] - success["noise"]
    report.note(
        f"sleeper above noise: {with_interval(more)}; in {np.sum(more > 0)} of {len(more)} pairs"
    )
