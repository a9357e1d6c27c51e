"""Backdoors against defenses of networks, each defense also met by an attacker who knows it, MNIST.

A row of the table is an attacker, a column a defense: what is left of the accuracy, how often the
trigger still works, how many stamped digits are read as what they show. Attackers who know a
defense: all copies in one class, where they are as many as its own rows (clustering, spectral
signatures), optimised noise whose stamped features lie among those of the new class (clustering,
spectral signatures, neighbours), decoys for pruning, copies under overlays with true labels
(STRIP), a square too large for medians and for the ball of I-BAU, noise all over the image (Neural
Cleanse, Februus, medians), another label for each class (Neural Cleanse). The control is a clean
network. A defense survives if no attacker has more than `--survives` success left, and the clean
network loses at most `--costs` accuracy.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import numpy as np
import optax

from benchmarks.options import SOME, Count, Share, check
from benchmarks.report import Report, band
from bilevel import Data
from bilevel.learners import AbstractModel, Fixed
from bilevel.losses import CrossEntropy
from bilevel.solvers import Descent, Picard
from defenses import (
    ActivationClustering,
    Ball,
    DeepNeighbours,
    Februus,
    FinePrune,
    FineTune,
    ImplicitUnlearning,
    Inpainter,
    MedianFilter,
    NeuralCleanse,
    SpectralSignatures,
    Strip,
    Tuning,
    Unlearn,
)

from ._arena_attacks import ATTACKERS, UNITS, Attacked
from ._infected import BATCH, CLEAN, Infection, case, figures, trained

Attack = Literal["clean", "pattern", "next", "square", "blended", "among", "covers", "decoys"]
Defense = Literal[
    "clustering", "spectral", "neighbours", "fine-tuning", "fine-pruning", "i-bau", "cleanse",
    "strip", "median", "februus",
]  # fmt: skip
LOSS = CrossEntropy()
Defend = Callable[["Options", Attacked, int], AbstractModel | None]


@dataclasses.dataclass(frozen=True)
class Options:
    """Attackers, defenses and sizes."""

    attacks: Annotated[tuple[Attack, ...], SOME] = (
        "clean", "pattern", "next", "square", "blended", "among", "covers", "decoys",
    )  # fmt: skip
    """Who attacks; `clean` is the control."""
    defenses: Annotated[tuple[Defense, ...], SOME] = (
        "clustering", "spectral", "neighbours", "fine-tuning", "fine-pruning", "i-bau", "cleanse",
        "strip", "median", "februus",
    )  # fmt: skip
    """Who defends."""
    seeds: Count = 1
    """Splits, each with its networks."""
    passes: Count = 8
    """Passes of a training."""
    survives: Share = 0.2
    """Success that a defense may leave."""
    costs: Share = 0.03
    """Accuracy that it may cost a clean network."""

    def __post_init__(self):
        check(self)


def _inspected(make: Callable[[Fixed], Any]) -> Defend:
    """Of rows: they are dropped, and a network is trained on the others."""

    def defend(options: Options, of: Attacked, seed: int) -> AbstractModel | None:
        if not of.inspected:
            return None
        rows = of.rows.poisoned
        kept = np.asarray(make(Fixed(of.model, LOSS)).inspect(rows).kept)
        return trained(Data(rows.x[kept], rows.y[kept]), options.passes, seed)

    return defend


def _fitted(make: Callable[[Fixed, Attacked], Any]) -> Defend:
    """Of a finished network."""

    def defend(options: Options, of: Attacked, seed: int) -> AbstractModel:
        del options
        learner = make(Fixed(of.model, LOSS), of)
        return learner.fit(of.rows.clean, key=jax.random.key(seed)).model

    return defend


def _tuning() -> Tuning:
    return Tuning(Descent(optax.sgd(0.05, momentum=0.9), 20 * (CLEAN // BATCH)), BATCH)


def _i_bau(base: Fixed, of: Attacked) -> ImplicitUnlearning:
    ball = Ball(4.0, rate=100.0, rows=100, solver=Picard(5))
    tuning = Tuning(Descent(optax.adam(1e-3), 60), 100)
    return ImplicitUnlearning(base, of.rows.clean, ball, 0.1, tuning)


def _cleanse(options: Options, of: Attacked, seed: int) -> AbstractModel:
    """The trigger of the most suspect label is unlearned; without a suspect nothing is done."""
    del options
    verdict = NeuralCleanse().examine(of.model, of.rows.clean, key=jax.random.key(seed))
    if not bool(verdict.flagged):
        return of.model
    found = verdict.evidence
    label = int(np.argmax(np.where(np.asarray(found.suspect), np.asarray(found.index), -np.inf)))
    trigger = found.triggers.trigger(label)
    learner = Unlearn(
        Fixed(of.model, LOSS), of.rows.clean, trigger.mask, trigger.pattern, tuning=_tuning()
    )
    return learner.fit(of.rows.clean, key=jax.random.key(seed)).model


@functools.lru_cache(2)
def _inpainting(seed: int):
    return Inpainter().fit(case(Infection(), seed).clean.x, key=jax.random.key(seed))


def _februus(options: Options, of: Attacked, seed: int) -> AbstractModel:
    del options
    learner = Februus(Fixed(of.model, LOSS), _inpainting(seed), 0.5)
    return learner.fit(of.rows.clean, key=jax.random.key(seed)).model


DEFENSES: dict[str, Defend] = {
    "clustering": _inspected(ActivationClustering),
    "spectral": _inspected(SpectralSignatures),
    "neighbours": _inspected(DeepNeighbours),
    "fine-tuning": _fitted(lambda base, of: FineTune(base, of.rows.clean, _tuning())),
    "fine-pruning": _fitted(
        lambda base, of: FinePrune(base, of.rows.clean, "dense0", UNITS, tuning=_tuning())
    ),
    "i-bau": _fitted(_i_bau),
    "cleanse": _cleanse,
    "strip": _fitted(lambda base, of: Strip(base, of.rows.clean)),
    "median": _fitted(lambda base, of: MedianFilter(base)),
    "februus": _februus,
}


def make_rows(options: Options, attack: Attack, seed: int) -> dict[str, Any]:
    """An attacker's network without a defense, then behind each."""
    attacker = ATTACKERS[attack]
    of = attacker.make(options.passes, seed)
    rows = [{"attack": attack, "seed": seed, "defense": "none", "knows": False,
             **figures(of.model, of.rows)._asdict()}]  # fmt: skip
    for name in options.defenses:
        model = DEFENSES[name](options, of, seed)
        seen = {} if model is None else figures(model, of.rows)._asdict()
        empty = {"accuracy": None, "success": None, "recovered": None}
        rows.append({"attack": attack, "seed": seed, "defense": name,
                     "knows": name in attacker.knows, **(empty | seen)})  # fmt: skip
    return {"rows": rows}


def run(options: Options, report: Report) -> None:
    """A row for each attacker, split and defense."""
    units = [{"attack": a, "seed": s} for s in range(options.seeds) for a in options.attacks]
    report.each(make_rows, options, units, "backdoor-arena")
    for name in options.defenses:
        report.note(verdict(options, report.rows, name))
    if report.out is not None:
        from benchmarks.pictures.backdoor_arena import draw

        report.figure("backdoor-arena", draw(report.rows, ("none", *options.defenses)))


def verdict(options: Options, rows: list[dict[str, Any]], defense: str) -> str:
    """A defense in a sentence: against the attacker who ignores it, who knows it, and the worst."""

    def of(name: str, attack: str) -> list[float]:
        return [
            row[name] for row in rows
            if (row["defense"], row["attack"]) == (defense, attack) and row[name] is not None
        ]  # fmt: skip

    left = {a: of("success", a) for a in options.attacks if a != "clean" and of("success", a)}
    if not left:
        return f"{defense}: no attacker"
    parts = []
    if "pattern" in left:
        parts.append(f"success of the plain pattern {band(left['pattern'], 3)}")
    known = [a for a in left if defense in ATTACKERS[a].knows]
    parts += [f"of who knows it ({a}) {band(left[a], 3)}" for a in known]
    worst = max(left, key=lambda a: np.mean(left[a]))
    parts.append(f"at worst ({worst}) {band(left[worst], 3)}")
    cost = None
    if "clean" in options.attacks:
        bare = [r["accuracy"] for r in rows if (r["defense"], r["attack"]) == ("none", "clean")]
        drops = [a - b for a, b in zip(bare, of("accuracy", "clean"), strict=True)]
        cost = float(np.mean(drops))
        parts.append(f"a clean network loses {100 * cost:.1f} points")
    held = np.mean(left[worst]) <= options.survives and (cost is None or cost <= options.costs)
    return f"{defense}: {'; '.join(parts)}: {'survives' if held else 'does not survive'}"
