"""Attackers of the backdoor arena: what each does to rows or network, what each knows."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from attacks import hide_from_pruning
from bilevel.learners import AbstractDeepModel, NetworkModel

from . import activation_clustering, strip
from ._infected import Case, Infection, case, network, trained, victim

UNITS, LOWER = 90, 5.0
"""Of the hidden layer, that the attacker who knows of pruning turns into decoys, and by how much he
lowers their biases: as in `fine-pruning`.
"""


class Attacked(NamedTuple):
    """A network as the defender gets it.

    - `rows`: its split; `poisoned` are what it was trained on.
    - `inspected`: whether the defender has these rows, too.
    """

    rows: Case
    model: AbstractDeepModel
    inspected: bool = True


class Attacker(NamedTuple):
    """How an attacker makes a network from (passes, seed), and the defenses that he knows."""

    make: Callable[[int, int], Attacked]
    knows: tuple[str, ...] = ()


def _badnets(**how) -> Callable[[int, int], Attacked]:
    def make(passes: int, seed: int) -> Attacked:
        of = Infection(passes=passes, **how)
        return Attacked(case(of, seed), victim(of, seed))

    return make


def _among(passes: int, seed: int) -> Attacked:
    """Noise mixed in, optimised: features of stamped rows are among those of their new class."""
    options = activation_clustering.Options(passes=passes)
    rows = activation_clustering.adapted(
        options, Infection("next", "blended", passes=passes), seed
    ).case
    return Attacked(rows, trained(rows.poisoned, passes, seed))


def _covers(passes: int, seed: int) -> Attacked:
    """Four pixels, and copies under overlays with true labels."""
    rows = strip.covered(strip.Options(), case(Infection(passes=passes), seed), seed)
    poison = np.arange(rows.poisoned.rows) >= rows.train.rows
    return Attacked(rows._replace(poison=poison), trained(rows.poisoned, passes, seed))


def _decoys(passes: int, seed: int) -> Attacked:
    """The attacker trains the network himself, around units that will be pruned."""
    of = Infection(passes=passes)
    rows, clean = case(of, seed), victim(of, seed, infected=False)
    assert isinstance(clean, NetworkModel)
    made = hide_from_pruning(
        network(rows.poisoned.rows, passes), clean, rows.clean, rows.poisoned, "dense0",
        channels=UNITS, lower=LOWER, key=jax.random.key(seed),
    )  # fmt: skip
    return Attacked(rows, made.model, inspected=False)


def _nothing(passes: int, seed: int) -> Attacked:
    """The control: a network of the clean rows, judged as if it had the backdoor of four pixels."""
    of = Infection(passes=passes)
    rows = case(of, seed)
    clean = rows._replace(poisoned=rows.train, poison=np.zeros(rows.train.rows, bool))
    return Attacked(clean, victim(of, seed, infected=False))


ATTACKERS = {
    "clean": Attacker(_nothing),
    "pattern": Attacker(_badnets(), ("clustering", "spectral")),
    "next": Attacker(_badnets(map="next"), ("cleanse",)),
    "square": Attacker(_badnets(trigger="square", size=6), ("median", "i-bau")),
    "blended": Attacker(_badnets(trigger="blended"), ("februus", "cleanse", "median")),
    "among": Attacker(_among, ("clustering", "spectral", "neighbours")),
    "covers": Attacker(_covers, ("strip",)),
    "decoys": Attacker(_decoys, ("fine-pruning", "fine-tuning")),
}
