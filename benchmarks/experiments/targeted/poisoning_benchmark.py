"""The field's benchmark: every attack moves the same images by as much, and is judged alike.

Schwarzschild, Goldblum, Gupta, Dickerson & Goldstein, ICML 2021. The attacker replaces a few
training images of the wanted class by images that differ from them by at most so many grey levels,
with their labels, to have one test image read as that class. Victims train a last layer on features
of a network that the attacker has ("white"), of one with other initial weights ("grey") or of
another architecture ("black"). Only targets count that the same victim reads right when nothing is
moved. `--out` keeps the poison of each attack as an npz file that `python -m benchmarks judge`
takes; `python -m benchmarks board` makes a page of the JSON files. `transfer` and `scratch` are the
paper's settings, made for an accelerator.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from attacks import Box, LinfBall, Perturb, collide_features, compose, shown
from attacks.goals import Bullseye, Frogs, Polytope
from benchmarks.clock import timed
from benchmarks.options import Count, Numbers, check, refuse
from benchmarks.poisons import SETTINGS, Poisons, judge
from benchmarks.poisons.judging import fitted, labels
from benchmarks.poisons.networks import KNOWN, Known, extractor, victim
from benchmarks.poisons.setting import trials, whole
from benchmarks.report import Report
from benchmarks.rows import column, distinct, where
from bilevel import Data, batch, maximize
from bilevel.learners import AbstractLearner
from bilevel.losses import Logistic as LogisticLoss
from defenses import Filter, Partition, Trim
from defenses.ensemble import VotingModel
from defenses.scores import Neighbours

Attack = Literal["frogs", "polytope", "bullseye", "through the head"]
COLLISIONS = {"frogs": Frogs(), "polytope": Polytope(), "bullseye": Bullseye()}
Defense = Literal["none", "neighbours", "trim", "partition"]
DEFENSES: dict[str, Callable[[AbstractLearner], AbstractLearner]] = {
    "none": lambda learner: learner,
    "neighbours": lambda learner: Filter(learner, Neighbours(), 0.15),
    "trim": lambda learner: Trim(learner, 0.15),
    "partition": lambda learner: Partition(learner, 9),
}
"""What each makes of the learner on frozen features."""
HEAD: Attack = "through the head"
"""The attack whose objective is the victim's own: the loss of the last layer that it trains."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What is attacked, and how long."""

    setting: Literal["small", "small-cifar", "transfer", "scratch"] = "small"
    """The paper's are the last two."""
    attacks: tuple[Attack, ...] = ("frogs", "polytope", "bullseye", HEAD)
    """Rules of collision, and the loss of the last layer trained on the poison."""
    defenses: tuple[Defense, ...] = ("none", "neighbours", "trim", "partition")
    """Around the last layer, in settings of two classes; also with an attacker who knows them."""
    victims: tuple[Known, ...] = KNOWN
    """What the victim's network has in common with the attacker's."""
    steps: Count = 100
    """Gradients for the poison of a target."""
    seed: Numbers = (0,)
    """Of the trials."""

    def __post_init__(self):
        check(self)
        two = len(SETTINGS[self.setting].classes) == 2
        if HEAD in self.attacks and not two:
            refuse("attacks", HEAD, "collisions; only with two classes is the last layer solved")
        if self.defenses != ("none",) and not two:
            refuse("defenses", self.defenses, "none in a setting of ten classes")
        if SETTINGS[self.setting].scratch:
            refuse("setting", "scratch", "another here; its poison comes from gradient-matching")


class Crafted(NamedTuple):
    """Poison, and CPU seconds for each target with compiling."""

    poisons: Poisons
    seconds: float


def crafter(options: Options, attack: Attack, defense: str) -> Callable[..., Array]:
    """(target, wanted label, numbers of the clean images, base images) -> poison."""
    setting = SETTINGS[options.setting]
    network = extractor(setting, "white")
    everything = whole(setting.data)[0]
    x, y = jnp.asarray(everything.x), labels(setting, everything.y)
    m = setting.poisons

    def collide(target: Array, wanted: Array, clean: Array, base: Array) -> Array:
        del clean
        data = Data(base, jnp.full(m, wanted))
        near = LinfBall(base, setting.eps, Box(0.0, 1.0))
        other = wanted - 1  # the check asks for a class that is not the wanted one
        made = collide_features(
            data, range(m), target, other, [network], COLLISIONS[attack],
            domain=near, steps=options.steps,
        )  # fmt: skip
        return made.climb().z

    def through(target: Array, wanted: Array, clean: Array, base: Array) -> Array:
        learner = victim(setting, "white")
        rows = Data(jnp.concatenate([x[clean], base]), jnp.append(y[clean], jnp.full(m, wanted)))
        if defense != "none":
            inner = DEFENSES[defense](learner.learner)  # pyright: ignore
            learner = learner.around(inner).surrogate(rows)  # pyright: ignore
        near = LinfBall(base, setting.eps, Box(0.0, 1.0))
        reach = Perturb(jnp.arange(m) + clean.shape[0], near)
        goal = shown(target[None], -wanted[None], LogisticLoss())
        composed = compose(learner, reach, goal, rows)
        return maximize(composed, base, steps=options.steps).z

    return through if attack == HEAD else collide


@functools.lru_cache(32)
def crafted(options: Options, attack: Attack, defense: str, seed: int) -> Crafted:
    """The poison of all targets, made at once for the white box."""
    setting = SETTINGS[options.setting]
    drawn = trials(setting, seed)
    train, test = whole(setting.data)
    run = batch(crafter(options, attack, defense), setting.trials)
    arguments = (
        jnp.asarray(test.x[drawn.target]), labels(setting, drawn.wanted),
        jnp.asarray(drawn.clean), jnp.asarray(train.x[drawn.base]),
    )  # fmt: skip
    x, _, seconds = timed(lambda: run(*arguments))
    return Crafted(Poisons.of(setting, drawn, np.asarray(x)), seconds / setting.trials)


def certified(options: Options, known: Known, defense: str, seed: int) -> float | None:
    """Share of the targets that a clean victim reads right, and would whatever images took the
    place of as many. None for a defense without certificate.
    """
    setting = SETTINGS[options.setting]
    learner = victim(setting, known)
    learner = learner.around(DEFENSES[defense](learner.learner))  # pyright: ignore
    if defense != "partition":
        return None
    drawn = trials(setting, seed)
    train, test = whole(setting.data)
    x, y = jnp.asarray(train.x), labels(setting, train.y)

    def borne(target, wanted, clean, base) -> tuple[Array, Array]:
        model = fitted(learner, x[clean], y[clean], base, wanted, jax.random.key(0))
        assert isinstance(model.head, VotingModel)  # pyright: ignore
        right = model.predict(target[None])[0] != wanted
        return right, model.head.certify(model.features(target[None]))[0]  # pyright: ignore

    right, rows = batch(borne)(
        jnp.asarray(test.x[drawn.target]), labels(setting, drawn.wanted),
        jnp.asarray(drawn.clean), jnp.asarray(train.x[drawn.base]),
    )  # fmt: skip
    # An image that is replaced counts twice: one goes, one comes.
    return float(np.mean(np.asarray(rows)[np.asarray(right)] >= 2 * setting.poisons))


def make_rows(options: Options, attack: Attack, defense: Defense, seed: int) -> dict[str, Any]:
    """The rows of an attack on all victims behind a defense."""
    unaware = crafted(options, attack, "none", seed)
    aware = attack == HEAD and defense != "none"
    knows = crafted(options, attack, defense, seed) if aware else None
    rows = []
    for known in options.victims:
        of = judge(unaware.poisons, known, DEFENSES[defense]).row()
        adaptive = None if knows is None else judge(knows.poisons, known, DEFENSES[defense]).row()
        rows.append({
            "setting": options.setting, "attack": attack, "victim": known, "defense": defense,
            **of, "adaptive": None if adaptive is None else adaptive["success"],
            "certified": certified(options, known, defense, seed),
            "seconds": unaware.seconds, "digest": unaware.poisons.digest(), "seed": seed,
        })  # fmt: skip
    return {"rows": rows}


def run(options: Options, report: Report) -> None:
    """A row for each attack, defense, victim and seed of the trials."""
    units = [
        {"attack": attack, "defense": defense, "seed": seed}
        for seed in options.seed
        for attack in options.attacks
        for defense in options.defenses
    ]
    report.each(make_rows, options, units, "poisoning-benchmark")
    _notes(options, report)
    if report.out is not None:
        _keep(options, report.out)


def _keep(options: Options, out: Path) -> None:
    for seed in options.seed:
        for attack in options.attacks:
            name = f"{options.setting}-{attack.replace(' ', '-')}-{seed}.npz"
            crafted(options, attack, "none", seed).poisons.save(out / name)


def _notes(options: Options, report: Report) -> None:
    setting = SETTINGS[options.setting]
    source = "digits" if setting.data == "mnist" else "images of CIFAR-10"
    report.note(
        f"{setting.poisons} of {setting.rows} training images replaced, moved by at most "
        f"{setting.levels}/255, labels kept; {setting.trials} targets. Frozen networks are trained "
        f"on {source} that no victim has; the paper's were trained on CIFAR-100"
    )
    for known in distinct(report.rows, "victim"):
        plain = where(report.rows, victim=known, defense="none")
        if plain:
            shares = (
                f"{a} {np.mean(column(plain, 'success', attack=a)):.2f}"
                for a in distinct(plain, "attack")
            )
            random = np.mean(column(plain, "random"))
            report.note(f"{known}: {', '.join(shares)}; random changes {random:.2f}")
    for defense in (d for d in distinct(report.rows, "defense") if d != "none"):
        of = where(report.rows, defense=defense, victim="white")
        worst = max(column(of, "success"))
        knows = [v for v in column(of, "adaptive") if v is not None]
        after = f", {np.mean(knows):.2f} by the attacker who knows it" if knows else ""
        error = np.mean(column(of, "clean_test_err"))
        report.note(
            f"{defense}, white box: at most {worst:.2f} by those that do not know it{after}; "
            f"error without poison {100 * error:.1f} %"
        )
