"""The field's benchmark: every attack moves the same images by as much, and is judged alike.

Schwarzschild, Goldblum, Gupta, Dickerson & Goldstein, ICML 2021. The attacker replaces a few
training images of the wanted class by images that differ from them by at most so many grey levels,
with their labels, to have one test image read as that class. Victims train a last layer on features
of a network that the attacker has ("white"), of one with other initial weights ("grey") or of
another architecture ("black"); in the settings from scratch a network of the attacker's
architecture ("grey") or of another one, with initial weights of their own. Collisions are made from
the base images and the network alone; "through the head" also knows all other training images, and
"alignment" has trained its networks on them. Only targets count that the same victim reads right
when nothing is moved. `--out` keeps the poison of each attack as an npz
file that `python -m benchmarks judge` takes; `python -m benchmarks board` makes a page of the JSON
files. `transfer` and `scratch` are the paper's settings, made for an accelerator.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from attacks import Box, LinfBall, Perturb, collide_features, compose, shown
from attacks.goals import Bullseye, Frogs, Polytope
from benchmarks.clean_label import Reach, aligned
from benchmarks.clock import timed
from benchmarks.options import Count, Numbers, check, refuse
from benchmarks.poisons import SETTINGS, Poisons, judge
from benchmarks.poisons.judging import Controls, controls, fitted, labels, undefended
from benchmarks.poisons.networks import Known, admitted, extractor, members, victim
from benchmarks.poisons.setting import trials
from benchmarks.pretraining import images
from benchmarks.report import Report
from benchmarks.rows import Row, column, distinct, where
from bilevel import Data, batch, maximize
from bilevel.learners import AbstractLearner
from bilevel.losses import Logistic as LogisticLoss
from bilevel.tools import unstacked
from defenses import Filter, Partition, Trim
from defenses.ensemble import VotingModel
from defenses.scores import Neighbours

Attack = Literal["frogs", "polytope", "bullseye", "through the head", "alignment"]
RESTARTS = 2
"""Random starts of an alignment, of which the best aligned counts."""
COLLISIONS = {"frogs": Frogs(), "polytope": Polytope(), "bullseye": Bullseye()}
Defense = Literal["none", "neighbours", "trim", "partition"]
DEFENSES: dict[str, Callable[[AbstractLearner], AbstractLearner]] = {
    "none": undefended,
    "neighbours": lambda learner: Filter(learner, Neighbours(), 0.15),
    "trim": lambda learner: Trim(learner, 0.15),
    "partition": lambda learner: Partition(learner, 9),
}
"""What each makes of the learner on frozen features."""
HEAD: Attack = "through the head"
"""The attack whose objective is the victim's own: the loss of the last layer that it trains."""
ALIGNMENT: Attack = "alignment"
"""Gradient matching, of networks from scratch."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What is attacked, and how long."""

    setting: Literal["small", "small-cifar", "small-scratch", "transfer", "scratch"] = "small"
    """The paper's are the last two."""
    attacks: tuple[Attack, ...] | None = None
    """Rules of collision; the loss of the last layer trained on the poison, where two classes take
    part; alignment of gradients, from scratch. By default all that the setting admits."""
    defenses: tuple[Defense, ...] | None = None
    """Around the last layer, where two classes take part, also with an attacker who knows them. By
    default all that the setting admits."""
    victims: tuple[Known, ...] | None = None
    """What the victim's network has in common with the attacker's. By default all."""
    steps: Count = 100
    """Gradients for the poison of a target."""
    members: Count = 4
    """Networks of the attacker in the settings from scratch."""
    seed: Numbers = (0,)
    """Of the trials."""

    def __post_init__(self):
        check(self)
        for name in ("attacks", "defenses", "victims"):
            given, may = getattr(self, name), getattr(self, f"may_{name}")
            wrong = [one for one in given or () if one not in may]
            if wrong or given == ():
                refuse(name, wrong[0] if wrong else "none", f"some of {', '.join(may)}")

    @property
    def may_attacks(self) -> tuple[Attack, ...]:
        """Attacks that the setting admits."""
        setting = SETTINGS[self.setting]
        collisions: tuple[Attack, ...] = ("frogs", "polytope", "bullseye")
        if setting.scratch:
            return ("bullseye", ALIGNMENT)
        return (*collisions, HEAD) if setting.pairwise else collisions

    @property
    def may_victims(self) -> tuple[Known, ...]:
        """Victims that the setting admits."""
        return admitted(SETTINGS[self.setting])

    @property
    def may_defenses(self) -> tuple[Defense, ...]:
        """Defenses that the setting admits."""
        both: tuple[Defense, ...] = ("none", "neighbours", "trim", "partition")
        return both if SETTINGS[self.setting].pairwise else ("none",)


class Crafted(NamedTuple):
    """Poison, and CPU seconds for each target with compiling."""

    poisons: Poisons
    seconds: float


def crafter(options: Options, attack: Attack, defense: str, seed: int) -> Callable[..., Array]:
    """(target, wanted label, numbers of the clean images, base images, start, key) -> poison."""
    setting = SETTINGS[options.setting]
    stacked = members(setting, seed, options.members) if setting.scratch else None
    networks = [extractor(setting, "white")] if stacked is None else unstacked(stacked)
    everything = images(setting.data)[0]
    x, y = jnp.asarray(everything.x), labels(setting, everything.y)
    m = setting.poisons

    def collide(target, wanted, clean, base, start, key) -> Array:
        del clean, start, key
        data = Data(base, jnp.full(m, wanted))
        near = LinfBall(base, setting.eps, Box(0.0, 1.0))
        other = wanted - 1  # the check asks for a class that is not the wanted one
        made = collide_features(
            data, range(m), target, other, networks, COLLISIONS[attack],
            domain=near, steps=options.steps,
        )  # fmt: skip
        return made.climb().z

    def through(target, wanted, clean, base, start, key) -> Array:
        del key
        learner = victim(setting, "white")
        rows = Data(jnp.concatenate([x[clean], base]), jnp.append(y[clean], jnp.full(m, wanted)))
        if defense != "none":
            inner = DEFENSES[defense](learner.learner)  # pyright: ignore
            learner = learner.around(inner).surrogate(rows)  # pyright: ignore
        near = LinfBall(base, setting.eps, Box(0.0, 1.0))
        reach = Perturb(jnp.arange(m) + clean.shape[0], near)
        goal = shown(target[None], -wanted[None], LogisticLoss())
        composed = compose(learner, reach, goal, rows)
        return maximize(composed, start, steps=options.steps).z

    def align(target, wanted, clean, base, start, key) -> Array:
        del clean, start
        assert stacked is not None  # the options see to it
        low, high = jnp.maximum(base - setting.eps, 0), jnp.minimum(base + setting.eps, 1)
        reach, data = Reach(jnp.arange(m), low, high), Data(base, jnp.full(m, wanted))
        starts = reach.starts(key, RESTARTS)
        wish = Data(target[None], wanted[None])
        # The step of Geiping et al. for 8/255 would be a third of the way.
        return aligned(
            reach.perturb(), wish, stacked, data, starts, setting.eps / 3, options.steps
        )[0]

    return {HEAD: through, ALIGNMENT: align}.get(attack, collide)


@functools.lru_cache(32)
def crafted(options: Options, attack: Attack, defense: str, seed: int) -> Crafted:
    """The poison of all targets, made at once for the white box. An attacker who knows the defense
    starts from what collides without it, the others from the base images.
    """
    setting = SETTINGS[options.setting]
    drawn = trials(setting, seed)
    train, test = images(setting.data)
    start = train.x[drawn.base]
    if defense != "none":
        start = crafted(options, "bullseye", "none", seed).poisons.images
    # Of a network from scratch one target is work enough for all cores.
    size = None if setting.scratch else setting.trials
    run = batch(crafter(options, attack, defense, seed), size)
    arguments = (
        jnp.asarray(test.x[drawn.target]), labels(setting, drawn.wanted),
        jnp.asarray(drawn.clean), jnp.asarray(train.x[drawn.base]), jnp.asarray(start),
        jax.random.split(jax.random.key(seed), setting.trials),
    )  # fmt: skip
    x, _, seconds = timed(lambda: run(*arguments))
    return Crafted(Poisons.of(setting, drawn, np.asarray(x)), seconds / setting.trials)


@functools.lru_cache(32)
def without(options: Options, known: Known, defense: Defense, seed: int) -> Controls:
    """The controls, which all attacks share."""
    setting = SETTINGS[options.setting]
    return controls(setting, trials(setting, seed), known, DEFENSES[defense])


def judged(
    options: Options, made: Crafted, known: Known, defense: Defense, seed: int
) -> dict[str, float | int]:
    """The cells of poison that meets victims behind a defense."""
    beside = without(options, known, defense, seed)
    return judge(made.poisons, known, DEFENSES[defense], beside).row()


@functools.lru_cache(32)
def certified(options: Options, known: Known, defense: str, seed: int) -> float | None:
    """Share of the targets that a clean victim reads right, and would whatever images took the
    place of as many. None for a defense without certificate, and if it reads none right.
    """
    if defense != "partition":
        return None
    setting = SETTINGS[options.setting]
    learner = victim(setting, known)
    learner = learner.around(DEFENSES[defense](learner.learner))  # pyright: ignore
    drawn = trials(setting, seed)
    train, test = images(setting.data)
    x, y = jnp.asarray(train.x), labels(setting, train.y)

    def borne(target, wanted, clean, base) -> tuple[Array, Array]:
        model = fitted(learner, x[clean], y[clean], base, wanted, jax.random.key(0)).model
        assert isinstance(model.head, VotingModel)  # pyright: ignore
        right = model.predict(target[None])[0] != wanted
        features = model.features(target[None]).astype(float)  # as the head is trained
        return right, model.head.certify(features)[0]  # pyright: ignore

    right, rows = batch(borne)(
        jnp.asarray(test.x[drawn.target]), labels(setting, drawn.wanted),
        jnp.asarray(drawn.clean), jnp.asarray(train.x[drawn.base]),
    )  # fmt: skip
    if not np.any(right):
        return None
    # An image that is replaced counts twice: one goes, one comes.
    return float(np.mean(np.asarray(rows)[np.asarray(right)] >= 2 * setting.poisons))


def make_rows(options: Options, attack: Attack, defense: Defense, seed: int) -> dict[str, Any]:
    """The rows of an attack on all victims behind a defense, and its poison."""
    unaware = crafted(options, attack, "none", seed)
    aware = attack == HEAD and defense != "none"
    knows = crafted(options, attack, defense, seed) if aware else None
    rows = []
    for known in options.victims or options.may_victims:
        of = judged(options, unaware, known, defense, seed)
        adaptive = knows and judged(options, knows, known, defense, seed)["success"]
        rows.append({
            "setting": options.setting, "attack": attack, "victim": known, "defense": defense,
            **of, "adaptive": adaptive,
            "certified": certified(options, known, defense, seed),
            "seconds": unaware.seconds, "digest": unaware.poisons.digest(), "seed": seed,
        })  # fmt: skip
    return {"rows": rows, "poisons": unaware.poisons}


def run(options: Options, report: Report) -> None:
    """A row for each attack, defense, victim and seed of the trials."""
    units = [
        {"attack": attack, "defense": defense, "seed": seed}
        for seed in options.seed
        for attack in options.attacks or options.may_attacks
        for defense in options.defenses or options.may_defenses
    ]
    made = report.each(make_rows, options, units, "poisoning-benchmark")
    _notes(options, report)
    if report.out is None:
        return
    for unit, part in zip(units, made, strict=True):
        if unit["defense"] == units[0]["defense"]:  # others meet the same poison
            name = f"{options.setting}-{unit['attack'].replace(' ', '-')}-{unit['seed']}.npz"
            Poisons(*part["poisons"]).save(report.out / name)


def _shares(rows: Sequence[Row], name: str, **cells: Any) -> list[float]:
    """The shares of a column that are of any target; NaN if none is."""
    return [v for v in column(rows, name, **cells) if v is not None] or [float("nan")]


def _notes(options: Options, report: Report) -> None:
    setting = SETTINGS[options.setting]
    source = "digits" if setting.data == "mnist" else "images of CIFAR-10"
    report.note(
        f"{setting.poisons} of {setting.rows} training images replaced, moved by at most "
        f"{setting.levels}/255, labels kept; {setting.trials} targets"
    )
    if not setting.scratch:
        report.note(
            f"frozen networks are trained on {source} that no victim has; the paper's on CIFAR-100"
        )
    for known in distinct(report.rows, "victim"):
        plain = where(report.rows, victim=known, defense="none")
        if plain:
            shares = (
                f"{a} {np.mean(_shares(plain, 'success', attack=a)):.2f}"
                for a in distinct(plain, "attack")
            )
            random = np.mean(_shares(plain, "random"))
            report.note(f"{known}: {', '.join(shares)}; random changes {random:.2f}")
    first = report.rows[0]["victim"]
    for defense in (d for d in distinct(report.rows, "defense") if d != "none"):
        of = where(report.rows, defense=defense, victim=first)
        worst, error = max(_shares(of, "success")), np.mean(column(of, "clean_test_err"))
        knows = [v for v in column(of, "adaptive") if v is not None]
        after = f", {np.mean(knows):.2f} by the attacker who knows it" if knows else ""
        report.note(
            f"{defense}, {first}: at most {worst:.2f} by those that do not know it{after}; error "
            f"without poison {100 * error:.1f} %"
        )
