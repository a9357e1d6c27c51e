"""Attackers of fairness, and those beside whom they are judged. All insert rows."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attacks import (
    AbstractGoal,
    Columns,
    Planted,
    World,
    anchor_popular,
    anchor_random,
    disparity,
    fairness,
    flip_groups,
    goals,
    indiscriminate,
    poison_fairness,
    poison_network,
)
from attacks.recipes.fairness_influence import influence_goal
from bilevel import Data
from bilevel.learners import AbstractLearner, AbstractModel, Network
from bilevel.losses import Logistic

from ._cases import Audited, Case, together

PRICE = 1000.0  # of an excess of errors over what is allowed, squared
CAPS = (0.005, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15)  # on the smooth error, above that without poison
NEAR = 0.2  # neighbours of a popular target differ by less, as a share of the range of a feature
IMPACT = fairness.DisparateImpact(fairness.Between(0, 1))


class Setting(NamedTuple):
    """What an attacker has.

    - `train`: the rows that poison is made for. `case`: validation rows and the domain.
    - `learner`: the victim, or a surrogate. `slots`: rows of poison, of which `count` are used.
    """

    train: Audited
    case: Case
    learner: AbstractLearner
    slots: int
    count: int
    seed: int
    steps: int

    @property
    def data(self) -> Data:
        return Data(self.train.x, self.train.y)

    @property
    def key(self) -> jax.Array:
        return jax.random.key(self.seed)

    @property
    def weight(self) -> np.ndarray:
        return np.where(np.arange(self.slots) < self.count, 1.0, 0.0)

    def trained(self, poison: Audited | None = None) -> AbstractModel:
        """The learner's model, with this poison."""
        rows = together(self.train, poison)
        return self.learner.fit(Data(rows.x, rows.y), key=self.key).model

    def error(self, poison: Audited | None = None) -> float:
        """Smooth validation error."""
        model = self.trained(poison)
        return float(errors(self.case.validation).score(model, World(self.data)))

    def mistakes(self, poison: Audited | None = None) -> float:
        """Validation error."""
        held = self.case.validation
        return float(np.mean(np.asarray(self.trained(poison).predict(held.x)) != held.y))


def errors(held: Audited) -> AbstractGoal:
    """Smooth validation error."""
    return indiscriminate(held.x, held.y, goals.SoftError())


def impact(held: Audited) -> AbstractGoal:
    """Smooth disparate impact on validation rows, of group 0 over group 1."""
    return disparity(held.x, held.y, held.group, IMPACT)


def capped(goal: AbstractGoal, held: Audited, most: float) -> AbstractGoal:
    """The goal, with at most such an error."""
    return goals.Sum([goal, goals.AtMost(errors(held), most)], [1.0, PRICE])


def starts(setting: Setting, against: int = 0) -> list[Planted]:
    """Flips in both directions, of accepted rows alone, of refused rows alone."""
    train, group = setting.data, setting.train.group
    return [
        flip_groups(setting.key, train, group, setting.slots, against=against,
                    favoured=1 - against, share=share)
        for share in (0.5, 0.0, 1.0)
    ]  # fmt: skip


def planted(made: Planted, count: int) -> Audited:
    """The first rows."""
    return Audited(*(np.asarray(part)[:count] for part in (made.x, made.y, made.group)))


def climbed(setting: Setting, goal: AbstractGoal, options: list[Planted]) -> Audited:
    """The ascent from the start that ends best, by the attacker's own goal."""
    held = setting.case.validation
    best, value = None, -np.inf
    for start in options:
        args = setting.data, start.x, start.y, Data(held.x, held.y)
        same = {"weight": setting.weight, "domain": setting.case.domain, "steps": setting.steps}
        if isinstance(setting.learner, Network):
            recipe = poison_network(*args, setting.learner, setting.key, goal=goal, **same)
        else:
            recipe = poison_fairness(*args, held.group, setting.learner, goal=goal, **same)
        result = recipe.climb()
        if best is None or float(result.value) > value:
            x = np.asarray(setting.case.domain.place(jnp.asarray(result.z)))
            group = np.asarray(start.group)
            if setting.case.protected is not None:
                group = np.round(x[:, setting.case.protected]).astype(int)
            best, value = Audited(x, np.asarray(start.y), group), float(result.value)
    assert best is not None
    return best.take(np.arange(setting.count))


def random_flips(setting: Setting) -> Planted:
    """Copies of random rows with the other label."""
    n = len(setting.train.y)
    rows = np.resize(np.random.default_rng([setting.seed, 1]).permutation(n), setting.slots)
    x, y, group = setting.train.take(rows)
    return Planted(jnp.asarray(x), jnp.asarray(-y), jnp.asarray(group), jnp.asarray(rows))


def generic(setting: Setting) -> Audited:
    """Raises the validation loss, without regard to groups."""
    held = setting.case.validation
    goal = indiscriminate(held.x, held.y, Logistic())
    return climbed(setting, goal, [random_flips(setting)])


def solans(setting: Setting, against: int = 0) -> Audited:
    """The paper's loss, with labels that the attacker does not want."""
    held = setting.case.validation
    goal = goals.unwanted(held.x, held.group, against)
    return climbed(setting, goal, starts(setting, against))


def influence(setting: Setting) -> Audited:
    """Loss and covariance, as `influence_fairness`."""
    held = setting.case.validation
    goal = influence_goal(Data(held.x, held.y), held.group)
    return climbed(setting, goal, starts(setting))


def lower(
    setting: Setting, most: float | None = None, options: list[Planted] | None = None
) -> Audited:
    """Lowers disparate impact, with at most such an error, from these starts."""
    held = setting.case.validation
    goal = goals.Sum([impact(held)], [-1.0])
    goal = goal if most is None else capped(goal, held, most)
    return climbed(setting, goal, starts(setting) if options is None else options)


def held_groups(setting: Setting) -> Audited:
    """Lowers disparate impact for one point of error, by rows that keep the protected attribute of
    random training rows.
    """
    case, start = setting.case, random_flips(setting)
    if case.protected is not None:
        assert isinstance(case.domain, Columns)
        domain = fairness.fixed(case.domain, [case.protected], start.x)
        setting = setting._replace(case=case._replace(domain=domain))
    return lower(setting, setting.error() + 0.01, [start])


def reverse(setting: Setting, most: float | None = None) -> Audited:
    """Raises disparate impact, past one, with at most such an error."""
    held = setting.case.validation
    goal = impact(held) if most is None else capped(impact(held), held, most)
    return climbed(setting, goal, starts(setting, against=1))


def hide(setting: Setting) -> Audited:
    """Brings disparate impact to one, for one point of error."""
    held = setting.case.validation
    goal = goals.Near(impact(held), 1.0)
    return climbed(setting, capped(goal, held, setting.error() + 0.01), starts(setting, against=1))


def within(setting: Setting, drive: Callable[[Setting, float], Audited], most: float) -> Audited:
    """The poison that `drive(setting, cap)` makes with the largest cap on the smooth error, above
    that without poison, whose validation error is still at most `most`; that of the smallest cap if
    none is.
    """
    clean = setting.error()
    made = [drive(setting, clean + cap) for cap in CAPS]
    fine = [poison for poison in made if setting.mistakes(poison) <= most]
    return fine[-1] if fine else made[0]


def anchored(setting: Setting, popular: bool) -> Audited:
    """Copies of two targets."""
    args = setting.key, setting.data, setting.train.group, setting.slots
    if not popular:
        return planted(anchor_random(*args), setting.count)
    spread = float(np.mean(np.ptp(setting.train.x, axis=0)))
    return planted(anchor_popular(*args, neighbourhood=NEAR * spread), setting.count)


ATTACKERS: Mapping[str, Callable[[Setting], Audited]] = {
    "random-flips": lambda s: planted(random_flips(s), s.count),
    "group-flips": lambda s: planted(starts(s)[0], s.count),
    "error-generic": generic,
    "solans": solans,
    "solans-hide": lambda s: solans(s, against=1),
    "influence": influence,
    "anchors-random": lambda s: anchored(s, popular=False),
    "anchors-popular": lambda s: anchored(s, popular=True),
    "impact": lower,
    "impact-1-point": lambda s: lower(s, s.error() + 0.01),
    "impact-fixed": held_groups,
    "hide": hide,
    "reverse": reverse,
}
RIVALS = ("influence", "anchors-random", "anchors-popular")
"""Attackers of Mehrabi et al., to be met at their own loss of accuracy."""
