"""The search for poison: rows put in along the hypergradient, and labels flipped by it."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree

import bilevel
from attacks import XY, Attack, Insert, InsertXY, compose, indiscriminate
from attacks.recipes.regression_poisoning import MOMENTUM
from bilevel import Ascent, Data
from bilevel.learners import AbstractLearner
from bilevel.tools import program

from .influence import Influence
from .ingest import Table
from .judge import Parts, Poison, Rows
from .match import Match
from .reading import stratified

SLOTS = 128
"""Most different rows of an attack; more rows are near copies of these."""
CELLS, ADAPTIVE_CELLS = 200_000, 50_000
"""Of the sample of training rows that an attack is sought on, rows times features; through a
defense, which trains many times for each step.
"""
JITTER = 2e-3
"""By which near copies differ, in units of a column's range."""
WORK, FEWEST_STEPS, MOST_STEPS = 6_000_000, 30, 100
"""Cells that an ascent goes over, which sets its number of steps, within limits."""
ADAPTIVE_STEPS, FAR = 20, (1.0, 2.0)
"""Of a search through a defense, from each of two starts, and the lengths of their first steps in
units of the attack's scale: on breast cancer usual lengths found less in as many steps.
"""
ADAPTIVE_FEATURES = 300
"""Of wider tables a search through a defense would take minutes."""


class Sample(NamedTuple):
    """What an attack is sought on: a sample of the training rows, which stand for all of them, and
    of the rows to choose by.

    - `places`: of the sample among the training rows, ascending.
    - `whole`: number of training rows that the sample stands for.
    """

    train: Rows
    goal: Rows
    places: Int[np.ndarray, " n"]
    whole: int

    def slots(self, count: int) -> int:
        """How many different rows stand for `count` of the attacker's."""
        return int(np.clip(round(count * self.places.size / self.whole), 1, SLOTS))


def sample_of(table: Table, parts: Parts, seed: int, cells: int) -> Sample:
    """A sample with at most `cells` numbers of training rows, 300 rows at least, and as many of the
    rows to choose by.
    """
    most = int(np.clip(cells // parts.train.x.shape[1], 300, 4_000))

    def some(rows: Rows) -> tuple[Rows, np.ndarray]:
        n = rows.y.size
        if n <= most:
            return rows, np.arange(n)
        which = stratified(table.strata[rows.like], most, seed)
        return rows.take(which)._replace(weight=rows.weight[which] * n / most), which

    train, places = some(parts.train)
    return Sample(train, some(parts.choose)[0], places, parts.train.y.size)


@partial(program, effort=0)
def _climbed(attack: Attack, start: PyTree, ascent: Ascent, steps: int) -> PyTree:
    """The best poison of an ascent. Compiled quickly rather than for speed: an audit of a small
    table does little else than compile.
    """
    return bilevel.maximize(attack, start, steps=steps, optimizer=ascent).z


class Attacker:
    """Searches on a sample, with one compiled program for every number of rows."""

    def __init__(
        self,
        table: Table,
        match: Match,
        sample: Sample,
        largest: int,
        seed: int,
        influence: Influence,
    ):
        self.table, self.match, self.sample = table, match, sample
        self.seed, self.places = seed, sample.slots(largest)
        domain = table.encoding.domain
        mixed = bool(domain.groups) or bool(np.any(np.asarray(domain.spacing) > 0))
        self.domain, self.ascent = domain, MOMENTUM if mixed else Ascent()
        rows = sample.train
        self.data = Data(rows.x, rows.y, rows.weight)
        self.goal = indiscriminate(sample.goal.x, sample.goal.y, match.loss)
        # Those training rows that, with another label, would do most harm.
        best = np.argsort(-influence.of_other_label, kind="stable")[: self.places]
        best = np.resize(best, self.places)
        rows = influence.rows.take(best)
        self.start = rows._replace(y=influence.other_label[best])

    def learner(self, count: int) -> AbstractLearner:
        """The victim of `count` more rows, as strong as scikit-learn's."""
        return self.match.ours(jnp.asarray(float(np.sum(self.sample.train.weight)) + count))

    def attack(self, count: int, learner: AbstractLearner) -> tuple[Attack, PyTree]:
        """The objective of adding `count` rows, and where its ascent starts."""
        active = self.sample.slots(count)
        weight = np.where(np.arange(self.places) < active, count / active, 0.0)
        start: Any = jnp.asarray(self.start.x)
        if self.table.task == "numbers":
            targets = self.table.encoding.targets
            reach: Any = InsertXY(self.places, self.domain, targets, weight)
            start = XY(start, jnp.asarray(self.start.y))
        else:
            reach = Insert(self.start.y, self.domain, weight)
        return compose(learner, reach, self.goal, self.data), start

    def climb(self, count: int) -> tuple[Poison, Attack, PyTree]:
        """Rows added along the hypergradient. Returns the poison, the objective, and where it
        ended.
        """
        attack, start = self.attack(count, self.learner(count))
        steps = int(np.clip(WORK // self.sample.train.x.size, FEWEST_STEPS, MOST_STEPS))
        z = _climbed(attack.prepared(), start, self.ascent, steps)
        return self.poison(z, count, "rows added along the hypergradient"), attack, z

    def through(self, defense: Any, count: int, ended: PyTree) -> tuple[Poison, ...]:
        """Rows added along the hypergradient through the smooth surrogate of a defense, a function
        of the learner: from the usual start, and from where an ascent without the defense ended.

        - `ended`: that place, of an attacker with as many or more rows, of which the first are the
          same.
        """
        attack, start = self.attack(count, defense(self.learner(count)).surrogate(self.data))
        attack, ended = attack.prepared(), jax.tree.map(lambda leaf: leaf[: self.places], ended)
        found = []
        for z, far in zip((start, ended), FAR, strict=True):
            # An array, so that one program serves both.
            ascent = dataclasses.replace(self.ascent, first=far * attack.scale(z))
            found.append(_climbed(attack, z, ascent, ADAPTIVE_STEPS))
        name = "rows added by an attacker who knows the defense"
        return tuple(self.poison(z, count, name) for z in found)

    def unmoved(self, count: int) -> Poison:
        """The rows that the ascent starts from: real ones with another label."""
        start: Any = self.start.x
        if self.table.task == "numbers":
            start = XY(start, jnp.asarray(self.start.y))
        return self.poison(start, count, "copies of real rows with another label")

    def poison(self, z: PyTree, count: int, name: str) -> Poison:
        """`count` valid rows: those of the slots in use, by turns, repeated ones a little moved."""
        active = self.sample.slots(count)
        x, y = (z.x, z.y) if isinstance(z, XY) else (z, self.start.y)
        turn = np.arange(count) % active
        x, y = np.asarray(x)[turn], np.asarray(y)[turn]
        rng = np.random.default_rng(self.seed)
        again = (np.arange(count) >= active)[:, None]
        x = x + again * rng.uniform(-JITTER, JITTER, x.shape)
        x = np.asarray(self.domain.place(self.domain.project(jnp.asarray(x))))
        if self.table.task == "numbers":
            targets: Any = self.table.encoding.targets
            y = np.asarray(targets.place(targets.project(jnp.asarray(y))))
        return Poison(name, Rows(x, y, np.ones(count), self.start.like[turn]))


def flips(influence: Influence, counts: tuple[int, ...], rounds: int) -> list[Poison]:
    """Labels changed by their effect on the loss of the rows to choose by: the most harmful first,
    in a few rounds, each with a derivative at the labels of the last. One poison per count.
    """
    found, taken = [], np.zeros(influence.rows.y.size, bool)
    for before, count in zip((0, *counts), counts, strict=False):
        for part in np.array_split(np.arange(before, count), rounds):
            if part.size:
                gain = influence.at(taken)
                gain = np.where(taken, -np.inf, gain)
                taken[np.argsort(-gain, kind="stable")[: part.size]] = True
        where = np.flatnonzero(taken)
        found.append(
            Poison("labels changed by the hypergradient", None,
                   (where, influence.other_label[where]))
        )  # fmt: skip
    return found


def random_mistakes(rows: Rows, count: int, classes: int, seed: int) -> Poison:
    """As many labels at random: another class, or the number of another row."""
    rng = np.random.default_rng(seed)
    where = np.sort(rng.choice(rows.y.size, min(count, rows.y.size), replace=False))
    if classes == 2:
        labels = -rows.y[where]
    elif classes > 2:
        labels = (rows.y[where] + rng.integers(1, classes, where.size)) % classes
    else:
        labels = rng.choice(rows.y, where.size)
    return Poison("labels at random", None, (where, labels))
