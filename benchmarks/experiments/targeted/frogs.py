"""One poison image for one target: Poison Frogs (Shafahi et al., NeurIPS 2018).

A network trained on the eight other classes stays as it is; a new last layer is trained on clean
images of two classes and one poison image, whose label is right. The poison takes the features of a
test image of the other class, which is then read as the poison's class. Two ways to keep it like
its base image: a price of the squared change, as in the paper, or a faint copy of the target and a
ball around that, as in the field's benchmark. Controls: the faint copy alone, and the base image.
"""

import dataclasses
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from attacks import Box, LinfBall, Perturb, Rates, collide_features, compose, watermarked
from attacks.goals import Collide, Frogs, Resembling, Sum
from attacks.recipes import Recipe
from benchmarks.options import FRACTION, Count, Positive, Share, check
from benchmarks.pretraining import Pretraining, pretrained
from benchmarks.report import Report, UsageError
from bilevel import Ascent, append, batch
from bilevel.learners import AbstractModel, Fixed

from . import polytope

Kind = Literal["priced", "watermark and ball", "watermark alone", "base"]
KINDS: tuple[Kind, ...] = ("priced", "watermark and ball", "watermark alone", "base")


@dataclasses.dataclass(frozen=True)
class Options(Pretraining):
    """The images and the poison."""

    train: Count = 50
    """Clean images of the two classes beside the poison."""
    targets: Count = 30
    """Test images, each with a poison and a victim of its own."""
    opacity: Annotated[float, FRACTION] = 0.3
    """Of the copy of the target."""
    eps: Share = 0.2
    """Largest change of a pixel of the image with the copy."""
    beta: Positive = 1.0
    """Price of the squared change, beside the squared distance of the features."""
    steps: Count = 200
    """Gradients for the poison."""

    def __post_init__(self):
        super().__post_init__()
        check(self)
        self.task()

    def task(self) -> polytope.Options:
        """The same images, victims and controls, with one poison image for each target."""
        names = [field.name for field in dataclasses.fields(Pretraining)] + ["train", "targets"]
        return polytope.Options(poisons=1, **{name: getattr(self, name) for name in names})


def poison(options: Options, kind: Kind) -> Float[Array, "n 1 ..."]:
    """The image that is added for each target."""
    of, network = polytope.case(options.task()), pretrained(options).model

    def craft(target: Array, base: Array) -> Array:
        faint = watermarked(base, target, options.opacity)
        if kind == "watermark and ball":
            data = append(of.train, faint, jnp.ones(1, jnp.int32))
            near = LinfBall(faint, options.eps, Box(0.0, 1.0))
            made = collide_features(
                data, [of.train.rows], target, -1, [network], Frogs(), domain=near, start=faint,
                steps=options.steps,
            )  # fmt: skip
            return made.climb().z
        if kind == "priced":
            return priced(options, network, target, base).climb().z
        return faint if kind == "watermark alone" else base

    return batch(craft, options.targets)(of.targets, of.bases)


def priced(options: Options, network: AbstractModel, target: Array, base: Array) -> Recipe:
    """Close features and a small change, with no limit but the range of a pixel."""
    data = append(polytope.case(options.task()).train, base, jnp.ones(1, jnp.int32))
    reach = Perturb([data.rows - 1], Box(0.0, 1.0))
    goal = Sum([Collide(target[None], Frogs()), Resembling(base)], [1.0, options.beta])
    attack = compose(Fixed(network), reach, goal, data)
    return Recipe(attack, base, Ascent(), options.steps)


def make_rows(options: Options, kind: Kind) -> dict[str, Any]:
    """The row of a kind of poison, and its images."""
    task, network = options.task(), pretrained(options).model
    of, moved = polytope.case(task), poison(options, kind)
    found, clean = (
        polytope.judged(task, "white", "linear", moved),
        polytope.clean(task, "white", "linear"),
    )
    if not np.any(clean.right):
        raise UsageError("--train: no clean victim reads a target right; give it more images")
    hits = ~found.right[clean.right]
    low, high = Rates(jnp.array([np.mean(hits)]), jnp.array([len(hits)])).interval
    change = np.asarray(moved - of.bases).reshape(options.targets, -1)
    here, there = (np.asarray(network.features(x)) for x in (moved[:, 0], of.targets))
    row = {
        "poison": kind, "success": float(np.mean(hits)), "low": low, "high": high, "n": len(hits),
        "change": float(np.mean(np.sqrt(np.mean(change**2, axis=1)))),
        "largest": float(np.max(np.abs(change))),
        "distance": float(np.mean(np.linalg.norm(here - there, axis=1)
                                  / np.linalg.norm(there, axis=1))),
        "test_err": float(np.mean(found.error)), "clean_test_err": float(np.mean(clean.error)),
    }  # fmt: skip
    return {"rows": [row], "images": np.asarray(moved[:3, 0])}


def run(options: Options, report: Report) -> None:
    """A row for each kind of poison."""
    made = report.each(make_rows, options, [{"kind": kind} for kind in KINDS], "frogs")
    report.note(
        f"one poison image beside {options.train} clean ones; success of the targets that the same "
        "victim reads right without it, with Wilson's 95 % interval; change: root mean square of a "
        "pixel from the base; distance of the features to the target's, in units of those"
    )
    if report.out is not None:
        from benchmarks.pictures.frogs import draw

        of = polytope.case(options.task())
        images = {kind: m["images"] for kind, m in zip(KINDS[:2], made[:2], strict=True)}
        report.figure("frogs", draw(of.bases[:3, 0], images, of.targets[:3]))
