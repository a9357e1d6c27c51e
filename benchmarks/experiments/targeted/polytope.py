"""Colliding features: a few images of one class are moved, and a test image of another is read so.

Poison Frogs (Shafahi et al. 2018), Convex Polytope (Zhu et al. 2019) and Bullseye Polytope
(Aghakhani et al. 2021). Networks are trained on the eight other classes of MNIST or CIFAR-10; the
victim trains a new last layer ("linear") or the whole network ("end to end") on clean images of the
two classes and the poison, whose labels are right. It starts from the network that the attacker has
("white"), from one with other initial weights ("grey") or from another architecture ("black"). Only
targets count that the same victim reads right when the same images are not moved. The control moves
them by random signs of the same size.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from attacks import Box, LinfBall, Rates, collide_features
from attacks.goals import Bullseye, Frogs, Polytope
from benchmarks.clock import warm
from benchmarks.options import Count, Positive, Share, check, refuse
from benchmarks.pretraining import OTHER, WIDE, Pretraining, images, pretrained
from benchmarks.report import Report, UsageError
from benchmarks.rows import column, where
from bilevel import Data, append, batch
from bilevel.learners import AbstractDeepModel, AbstractModel, Logistic, Network, OnFeatures
from bilevel.losses import Logistic as LogisticLoss
from bilevel.solvers import Descent

Rule = Literal["frogs", "polytope", "bullseye", "random"]
RULES = {"frogs": Frogs(), "polytope": Polytope(), "bullseye": Bullseye()}
Depth = Literal["linear", "end to end"]
VICTIMS = ("white", "grey", "black")


@dataclasses.dataclass(frozen=True)
class Options(Pretraining):
    """The images, the poison and the victims. The paper's task is --data cifar --base 6 --target 8
    --passes 20 --eps 0.1 --poisons 5 --train 100 --targets 50.
    """

    eps: Share = 0.5
    """Largest change of a pixel."""
    poisons: Count = 10
    """Images that are moved for each target."""
    train: Count = 50
    """Clean images of the two classes beside them."""
    targets: Count = 30
    """Test images, each with poison and victims of its own."""
    steps: Count = 100
    """Gradients for the poison."""
    surrogates: Count = 1
    """Networks that the attacker has, of one architecture; the first is that of the white box."""
    depths: tuple[Depth, ...] = ("linear", "end to end")
    """What the victim trains."""
    fine_steps: Count = 40
    """Steps of a training end to end."""
    fine_rate: Positive = 0.02
    """Their length; momentum is .9."""

    def __post_init__(self):
        super().__post_init__()
        check(self)
        if self.train % 2:
            refuse("train", self.train, "an even number")
        have = len(images(self.data)[0].of(self.base).y)
        need = self.train // 2 + self.targets * self.poisons
        if need > have:
            refuse("targets", self.targets, f"at most {have} images of the base, not {need}")
        have = len(images(self.data)[1].of(self.target).y)
        if self.targets >= have:
            refuse("targets", self.targets, f"below {have}, the test images of their class")


class Case(NamedTuple):
    """Clean training images, +1 for the base class and -1 for the target's; test images; n targets
    and the images that move for each.
    """

    train: Data
    test: Data
    targets: Float[Array, "n ..."]
    bases: Float[Array, "n m ..."]


@functools.lru_cache(2)
def case(options: Options) -> Case:
    """Images drawn at random."""
    rng, half = np.random.default_rng(0), options.train // 2
    base, target, base_test, target_test = (
        rng.permutation(part.of(c).x)
        for part in images(options.data)
        for c in (options.base, options.target)
    )
    n, m = options.targets, options.poisons
    bases = base[half : half + n * m].reshape(n, m, *base.shape[1:])
    return Case(
        _signed(base[:half], target[:half]),
        _signed(base_test, target_test[n:]),
        jnp.asarray(target_test[:n]),
        jnp.asarray(bases),
    )


def _signed(base: np.ndarray, target: np.ndarray) -> Data:
    y = np.r_[np.ones(len(base)), -np.ones(len(target))].astype(np.int32)
    return Data(np.concatenate([base, target]), y)


def crafter(options: Options, rule: Rule, depth: Depth) -> Callable[[Array, Array], Array]:
    """(target, its base images) -> poison."""
    networks = [pretrained(options, WIDE, s).model for s in range(options.surrogates)]

    def craft(target: Array, base: Array) -> Array:
        data = Data(base, jnp.ones(options.poisons, jnp.int32))
        made = collide_features(
            data, range(options.poisons), target, -1, networks, RULES[rule],
            layers="last" if depth == "linear" else "all",
            domain=LinfBall(base, options.eps, Box(0.0, 1.0)), steps=options.steps,
        )  # fmt: skip
        return made.climb().z

    return craft


class Poison(NamedTuple):
    """Moved images for each target, and CPU seconds for each, without compiling."""

    moved: Float[Array, "n m ..."]
    seconds: float | None


def poison(options: Options, rule: Rule, depth: Depth) -> Poison:
    """For all targets at once."""
    of = case(options)
    if rule == "random":
        signs = jax.random.rademacher(jax.random.key(1), of.bases.shape, of.bases.dtype)
        return Poison(jnp.clip(of.bases + options.eps * signs, 0, 1), None)
    craft = batch(crafter(options, rule, depth), options.targets)
    made, seconds, _ = warm(lambda: craft(of.targets, of.bases))
    return Poison(made, seconds / options.targets)


def network(options: Options, victim: str) -> AbstractDeepModel:
    """The network that a victim starts from."""
    if victim == "black":
        return pretrained(options, OTHER).model
    return pretrained(options, WIDE, 0 if victim == "white" else options.surrogates).model


def trained(options: Options, start: AbstractDeepModel, depth: Depth, data: Data) -> AbstractModel:
    """A victim: a head, or the whole network with a new head."""
    if depth == "linear":
        return OnFeatures(start, Logistic(options.l2)).fit(data, throw=False).model
    architecture = dataclasses.replace(start.architecture, outputs=1)  # pyright: ignore
    new = architecture.init(jax.random.key(2), jax.ShapeDtypeStruct(data.x.shape[1:], data.x.dtype))
    learner = Network(
        architecture, LogisticLoss(), l2=1e-3, batch=35,
        start={**start.parameters, "logits": new["logits"]},
        solver=Descent(optax.sgd(options.fine_rate, momentum=0.9), options.fine_steps),
    )  # fmt: skip
    return learner.fit(data, key=jax.random.key(3), throw=False).model


class Judged(NamedTuple):
    """Of the victim of each target: whether it reads the target right, and its test error."""

    right: np.ndarray
    error: np.ndarray


def judged(options: Options, victim: str, depth: Depth, moved: Float[Array, "n m ..."]) -> Judged:
    """Victims of the clean images and those moved for a target, for each target."""
    of, start = case(options), network(options, victim)
    labels = jnp.ones(options.poisons, jnp.int32)

    def judge(target: Array, rows: Array) -> tuple[Array, Array]:
        model = trained(options, start, depth, append(of.train, rows, labels))
        wrong = model.predict(of.test.x) != of.test.y
        return model.predict(target[None])[0] == -1, jnp.mean(wrong)

    return Judged(*map(np.asarray, batch(judge)(of.targets, moved)))


@functools.lru_cache(16)
def clean(options: Options, victim: str, depth: Depth) -> Judged:
    """The same where no image is moved."""
    return judged(options, victim, depth, case(options).bases)


def make_rows(options: Options, rule: Rule, depth: Depth) -> dict[str, Any]:
    """A row for each kind of victim."""
    moved, seconds = poison(options, rule, depth)
    rows = []
    for victim in VICTIMS:
        found, control = judged(options, victim, depth, moved), clean(options, victim, depth)
        n = int(np.sum(control.right))
        if n == 0:
            raise UsageError(
                f"--train: no {victim} victim reads a target right, {depth}, if nothing is moved; "
                "give it more images, or more --passes"
            )
        share = float(np.mean(~found.right[control.right]))
        low, high = Rates(jnp.array([share]), jnp.array([n])).interval
        rows.append({
            "trained": depth, "poison": rule, "victim": victim, "success": share, "low": low,
            "high": high, "n": n, "test_err": float(np.mean(found.error)),
            "clean_test_err": float(np.mean(control.error)), "seconds": seconds,
        })  # fmt: skip
    return {"rows": rows}


def run(options: Options, report: Report) -> None:
    """Rows for each kind of training and of poison."""
    rules: tuple[Rule, ...] = (*RULES, "random")  # pyright: ignore[reportAssignmentType]
    units = [{"rule": rule, "depth": depth} for depth in options.depths for rule in rules]
    report.each(make_rows, options, units, "polytope")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.polytope import draw

        of, depth = case(options), options.depths[0]
        moved = poison(options, "bullseye", depth).moved
        report.figure("polytope", draw(report.rows, of.bases, moved, of.targets))


def _notes(options: Options, report: Report) -> None:
    error = pretrained(options).test_err
    report.note(
        f"{options.poisons} images moved by up to {options.eps:g} a pixel beside {options.train} "
        f"clean ones, {options.surrogates} network(s) known, with an error of {100 * error:.0f} % "
        "on the eight other classes; success of the targets that the same victim reads right if "
        "nothing is moved, with Wilson's 95 % interval; seconds of a CPU for each target, all "
        "targets at once, without compiling"
    )
    for depth in options.depths:
        white = where(report.rows, trained=depth, victim="white")
        cost = {rule: column(white, "seconds", poison=rule)[0] for rule in RULES}
        shares = (f"{row['poison']} {row['success']:.2f}" for row in white)
        report.note(
            f"{depth}, white box: {', '.join(shares)}; the polytope costs "
            f"{cost['polytope'] / cost['bullseye']:.2f} times the bullseye"
        )
