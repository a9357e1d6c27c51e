"""One training image is changed by less than a stored image shows: what the last layer makes of it.

Koh & Liang, ICML 2017: a network stays as it is, a logistic head on its features is trained anew.
For each test image the attacker takes the training image that moves its decision most, by the exact
derivative of the retrained head, and climbs. Beside what retraining gives stand two predictions
that train nothing: the paper's influence of taking the old image out and the new one in (its
equation 3), and the implicit derivative along the change (its equation 5). Only test images that
the clean head reads right are targets.
"""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from attacks import (
    AbstractDomain,
    Attack,
    Box,
    LinfBall,
    Perturb,
    compose,
    half_grey,
    indiscriminate,
)
from attacks.goals import AbstractGoal
from attacks.recipes import Recipe
from benchmarks.options import Count, Positives, check, refuse
from benchmarks.pretraining import Pretraining, images, pretrained
from benchmarks.report import Report
from benchmarks.rows import column, distinct, where
from bilevel import Ascent, Data, append, batch, certify
from bilevel.learners import Logistic, OnFeatures

STEPS = Ascent(share=0.5)


@dataclasses.dataclass(frozen=True)
class Options(Pretraining):
    """The images, the change and the head."""

    train: Count = 100
    """Training images of the two classes."""
    targets: Count = 100
    """Test images, each attacked alone."""
    changed: Count = 1
    """Training images that are changed for each."""
    levels: Positives = (0.5, 8.0)
    """Largest changes of a pixel, in grey levels of 255; at .5 the stored image is the same."""
    steps: Count = 15
    """Gradients for each change."""

    def __post_init__(self):
        super().__post_init__()
        check(self)
        have = len(images(self.data)[0].of(self.base, self.target).y)
        if not 4 <= self.train <= have:
            refuse("train", self.train, f"4 to {have} images")
        if self.changed > self.train:
            refuse("changed", self.changed, f"at most --train, {self.train}")


class Case(NamedTuple):
    """Training images of the head, labelled +1 for the base class; targets; the head."""

    train: Data
    targets: Data
    head: OnFeatures
    test_err: float


def case(options: Options) -> Case:
    """Random training images, and test images that the clean head reads right; in float64, as small
    changes are compared.
    """
    rng, classes = np.random.default_rng(0), (options.base, options.target)
    train, test = (part.of(*classes) for part in images(options.data))
    chosen, order = rng.permutation(len(train.y))[: options.train], rng.permutation(len(test.y))
    data = Data(train.x[chosen].astype(float), _signs(options, train.y[chosen]))
    network = jax.tree.map(
        lambda leaf: leaf.astype(float) if eqx.is_inexact_array(leaf) else leaf,
        pretrained(options).model,
    )
    head = OnFeatures(network, Logistic(options.l2))
    y = _signs(options, test.y)
    x = test.x.astype(float)
    right = np.asarray(head.fit(data).model.predict(x)) == y
    rows = order[right[order]][: options.targets]
    return Case(data, Data(x[rows], y[rows]), head, float(np.mean(~right)))


def _signs(options: Options, y: np.ndarray) -> np.ndarray:
    return np.where(y == options.base, 1, -1).astype(np.int32)


def against(y: Array, f: Array) -> Array:
    """What an attacker raises: minus the decision for the right class."""
    return -y.astype(f.dtype) * f


def ball(rows: Float[Array, "k ..."], level: float) -> AbstractDomain:
    """The images near some images."""
    return half_grey(rows) if level == 0.5 else LinfBall(rows, level / 255, Box(0.0, 1.0))


def strongest(
    options: Options, of: Case, goal: AbstractGoal, level: float
) -> tuple[Int[Array, " k"], Float[Array, "n ..."]]:
    """The training images whose change raises the goal most, to first order, and all slopes."""
    whole = compose(of.head, Perturb(np.arange(of.train.rows), Box(0.0, 1.0)), goal, of.train)
    slope = jax.grad(lambda z: whole.evaluate(z)[0])(of.train.x)
    up, down = ((1 - of.train.x), of.train.x)
    room = jnp.minimum(jnp.where(slope > 0, up, down), level / 255)
    gain = jnp.sum(jnp.abs(slope) * room, axis=(1, 2, 3))
    return jax.lax.top_k(gain, options.changed)[1], slope


def swapped(
    of: Case, goal: AbstractGoal, rows: Int[Array, " k"], z: Float[Array, "k ..."]
) -> Array:
    """The influence of weight that moves from rows to their changed copies, of one row each."""

    def score(weight: Array) -> Array:
        extra = append(of.train, z, of.train.y[rows], weight)
        data = Data(extra.x, extra.y, extra.weight.at[rows].add(-weight))
        nothing = Perturb(jnp.arange(1), Box(0.0, 1.0))  # goals see a world, which nobody changes
        return compose(of.head, nothing, goal, data).evaluate(data.x[:1])[0]

    return jnp.sum(jax.grad(score)(jnp.zeros(len(rows), z.dtype)))


def attack(of: Case, goal: AbstractGoal, rows: Int[Array, " k"], level: float) -> Attack:
    """The goal as a function of the changed images, through the retrained head."""
    return compose(of.head, Perturb(rows, ball(of.train.x[rows], level)), goal, of.train)


def make_rows(options: Options, level: float) -> dict[str, Any]:
    """A row for each target; all changes are those of its decision, against the right class."""
    of = case(options)

    def one(target: Data) -> dict[str, Array]:
        goal = indiscriminate(target.x[None], target.y[None], against)
        rows, slope = strongest(options, of, goal, level)
        clean = of.train.x[rows]
        through = attack(of, goal, rows, level)
        z = Recipe(through, clean, STEPS, options.steps).climb().z
        before, after = through.evaluate(clean)[0], through.evaluate(z)[0]
        return {
            "row": rows[0], "before": -before, "after": -after, "retrained": after - before,
            "implicit": jnp.sum(slope[rows] * (z - clean)), "influence": swapped(of, goal, rows, z),
            "same": jnp.all(jnp.round(255 * z) == jnp.round(255 * clean)),
        }  # fmt: skip

    found = batch(one)(of.targets)
    rows = [
        {"levels": level, "target": i, **{name: value[i].item() for name, value in found.items()}}
        for i in range(of.targets.rows)
    ]
    goal = indiscriminate(of.targets.x[:1], of.targets.y[:1], against)
    first = jnp.asarray([rows[0]["row"]])
    certificate = certify(attack(of, goal, first, level), of.train.x[first])
    return {
        "rows": rows,
        "notes": [f"head's test error {100 * of.test_err:.1f} %", str(certificate)],
    }


def run(options: Options, report: Report) -> None:
    """Rows for each size of the change."""
    units = [{"level": level} for level in options.levels]
    report.each(make_rows, options, units, "last-layer")
    _notes(report)
    if report.out is not None:
        from benchmarks.pictures.last_layer import draw

        report.figure("last-layer", draw(report.rows))


def _notes(report: Report) -> None:
    for level in distinct(report.rows, "levels"):
        of = where(report.rows, levels=level)
        retrained, before, after = (
            np.array(column(of, name)) for name in ("retrained", "before", "after")
        )
        near = np.argsort(before)[: max(len(of) // 5, 1)]
        words = []
        for name in ("implicit", "influence"):
            said = np.array(column(of, name))
            r = np.corrcoef(said, retrained)[0, 1] if len(of) > 1 else float("nan")
            off = np.median(np.abs(said - retrained) / np.maximum(np.abs(retrained), 1e-12))
            words.append(f"{name} r = {r:.4f}, {100 * off:.0f} % off")
        same = "stored alike" if all(column(of, "same")) else "not stored alike"
        report.note(
            f"{level:g} grey levels ({same}): {np.sum(after < 0)} of {len(of)} targets flip, of "
            f"the fifth nearest to the boundary {np.sum(after[near] < 0)} of {len(near)}; change "
            f"of the decision beside retraining: {'; '.join(words)} (median)"
        )
