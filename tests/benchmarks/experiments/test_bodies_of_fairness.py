"""Attackers of fairness: which goals they climb from which starts, on whose rows."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from audited import CASE, audited, same
from saying import put, said

import benchmarks.experiments.fairness._attackers as attackers
from attacks import Box

pytestmark = pytest.mark.stand_ins


HELD, TRAIN = CASE.validation, CASE.train


class Learner:
    """Its model is what it was given."""

    def fit(self, data: Any, key: Any) -> Any:
        return SimpleNamespace(model=("model", data.x, data.y, key))


class Goal(NamedTuple):
    """A goal that says what it is of."""

    words: tuple

    def score(self, model: Any, world: Any) -> float:
        return said(self.words, model, world.train.x, world.train.y)


SETTING = attackers.Setting(TRAIN, CASE, Learner(), 6, 4, 3, 17)  # pyright: ignore


@pytest.fixture
def told(monkeypatch) -> list[Any]:
    """Ascents that say what they were asked for; goals and starts that say what they are of."""
    asked: list[Any] = []

    def climbed(*given: Any) -> str:
        asked.append(given)
        return f"poison {len(asked)}"

    named = {
        name: lambda *given, name=name: Goal((name, *given))
        for name in ("Sum", "AtMost", "Near", "unwanted")
    }
    put(
        monkeypatch, attackers, climbed=climbed,
        goals=SimpleNamespace(SoftError=lambda: "smooth", **named), Logistic=lambda: "logistic",
        indiscriminate=lambda *given: Goal(("loss", *given)),
        disparity=lambda *given: Goal(("disparity", *given)),
        influence_goal=lambda data, group: Goal(("influence", data.x, data.y, group)),
        flip_groups=lambda key, data, *given, **more: (
            "flips", key, data.x, data.y, *given, sorted(more.items())
        ),
    )  # fmt: skip
    return asked


SMOOTH = Goal(("loss", HELD.x, HELD.y, "smooth"))
IMPACT = Goal(("disparity", HELD.x, HELD.y, HELD.group, attackers.IMPACT))


def flips(against: int) -> list[Any]:
    """Of both directions, of refused rows, of accepted rows."""
    return [
        ("flips", jax.random.key(3), TRAIN.x, TRAIN.y, TRAIN.group, 6,
         [("against", against), ("favoured", 1 - against), ("share", share)])
        for share in (0.5, 0.0, 1.0)
    ]  # fmt: skip


def at_most(goal: Goal, more: float) -> Goal:
    """For so much error above that of a model without poison."""
    clean = SMOOTH.score(("model", TRAIN.x, TRAIN.y, jax.random.key(3)), SETTING_WORLD)
    return Goal(("Sum", [goal, Goal(("AtMost", SMOOTH, clean + more))], [1.0, 1000.0]))


SETTING_WORLD: Any = SimpleNamespace(train=SimpleNamespace(x=TRAIN.x, y=TRAIN.y))
LOWER = Goal(("Sum", [IMPACT], [-1.0]))


def test_every_attacker_climbs_its_own_goal_from_its_own_starts(told) -> None:
    expected = {
        "solans": (Goal(("unwanted", HELD.x, HELD.group, 0)), 0),
        "solans-hide": (Goal(("unwanted", HELD.x, HELD.group, 1)), 1),
        "influence": (Goal(("influence", HELD.x, HELD.y, HELD.group)), 0),
        "impact": (LOWER, 0),
        "impact-1-point": (at_most(LOWER, 0.01), 0),
        "hide": (at_most(Goal(("Near", IMPACT, 1.0)), 0.01), 1),
        "reverse": (IMPACT, 1),
    }
    for number, (name, (goal, against)) in enumerate(expected.items(), 1):
        assert attackers.ATTACKERS[name](SETTING) == f"poison {number}"
        assert same(told[-1][1:], (goal, flips(against))), name
        assert told[-1][0] is SETTING
    attackers.reverse(SETTING, 0.375)
    capped = Goal(("Sum", [IMPACT, Goal(("AtMost", SMOOTH, 0.375))], [1.0, 1000.0]))
    assert same(told[-1][1:], (capped, flips(1)))


def asked(told: list[Any]) -> tuple[Any, ...]:
    """The goal, and the parts of the one start."""
    _, goal, (start,) = told[-1]
    return goal, jax.tree.leaves(start)


def test_random_flips_are_copies_of_training_rows_and_what_errors_start_from(told) -> None:
    made = jax.tree.leaves(attackers.random_flips(SETTING))
    rows = np.random.default_rng([3, 1]).permutation(12)[:6]
    assert same(made, (TRAIN.x[rows], -TRAIN.y[rows], TRAIN.group[rows], rows))
    found = attackers.ATTACKERS["random-flips"](SETTING)
    assert same(found, (TRAIN.x[rows[:4]], -TRAIN.y[rows[:4]], TRAIN.group[rows[:4]]))
    attackers.ATTACKERS["error-generic"](SETTING)
    assert same(asked(told), (Goal(("loss", HELD.x, HELD.y, "logistic")), made))
    attackers.ATTACKERS["impact-fixed"](SETTING)  # the group is no feature
    assert same(asked(told), (at_most(LOWER, 0.01), made))
    assert told[-1][0].case.domain is CASE.domain


def test_rows_that_keep_their_group_lie_in_a_domain_that_fixes_it(told, monkeypatch) -> None:
    put(monkeypatch, attackers, Columns=Box)
    monkeypatch.setattr(attackers.fairness, "fixed", lambda *given: ("fixed", *given))
    setting = SETTING._replace(case=CASE._replace(protected=1))
    attackers.held_groups(setting)
    made = jax.tree.leaves(attackers.random_flips(SETTING))
    domain: Any = told[-1][0].case.domain
    assert domain[:2] == ("fixed", CASE.domain)
    assert same(domain[2:], ([1], made[0]))
    assert same(asked(told), (at_most(LOWER, 0.01), made))


def test_flips_of_groups_are_those_of_both_directions(told, monkeypatch) -> None:
    made = attackers.Planted(*(jnp.arange(6.0) + k for k in range(4)))
    monkeypatch.setattr(attackers, "starts", lambda setting: [made, "refused", "accepted"])
    found = attackers.ATTACKERS["group-flips"](SETTING)
    assert same(found, (np.arange(4.0), np.arange(4.0) + 1, np.arange(4.0) + 2))


def test_anchors_are_near_by_the_spread_of_training_rows(monkeypatch) -> None:
    given: list[Any] = []

    def anchor(name: str) -> Any:
        def made(key: Any, data: Any, *more: Any, **settings: Any) -> Any:
            given.append((key, data.x, data.y, *more, settings.pop("neighbourhood", None)))
            assert not settings
            parts = (np.full((6, 1), said(name, part)) for part in "xyg")
            return attackers.Planted(*parts, rows=np.arange(6))  # pyright: ignore

        return made

    put(monkeypatch, attackers, anchor_random=anchor("random"), anchor_popular=anchor("popular"))
    spread = np.mean([0.0, 11 / 4])
    for kind, near in (("random", None), ("popular", 0.2 * spread)):
        found = attackers.ATTACKERS[f"anchors-{kind}"](SETTING)
        assert same(found, [np.full((4, 1), said(kind, part)) for part in "xyg"])
        assert given[-1][-1] == pytest.approx(near)
        assert same(given[-1][:-1], (jax.random.key(3), TRAIN.x, TRAIN.y, TRAIN.group, 6))


@pytest.mark.parametrize("network", [False, True])
def test_an_ascent_ends_at_the_best_of_its_starts_inside_the_domain(network, monkeypatch) -> None:
    """Networks and convex learners have a recipe each; slots beyond the count weigh nothing."""
    given: list[Any] = []
    ends = {0.5: 0.25, 1.5: 0.75, 2.5: 0.5}

    def recipe(train: Any, x: Any, y: Any, held: Any, *more: Any, **settings: Any) -> Any:
        given.append((train.x, train.y, held.x, held.y, more, sorted(settings.items())))
        value = ends[float(x[0, 0])]
        return SimpleNamespace(climb=lambda: SimpleNamespace(value=value, z=x + 20 * value))

    class Other:
        pass

    put(monkeypatch, attackers, Network=Learner if network else Other,
        **{("poison_network" if network else "poison_fairness"): recipe})  # fmt: skip
    domain: Any = SimpleNamespace(place=lambda z: np.minimum(np.asarray(z), [9.0, 40.0]))
    setting = SETTING._replace(case=CASE._replace(domain=domain))
    parts: list[Any] = [
        (np.full((6, 2), k + 0.5), np.full(6, k), np.arange(6) + 10 * k, np.arange(6))
        for k in range(3)
    ]
    options = [attackers.Planted(*part) for part in parts]
    found = attackers.climbed(setting, "goal", options)  # pyright: ignore
    place = np.tile([9.0, 1.5 + 15], (4, 1))
    assert same(found, (place, np.ones(4), np.arange(4) + 10))
    more = (setting.learner, setting.key) if network else (HELD.group, setting.learner)
    settings = {
        "weight": [1.0, 1.0, 1.0, 1.0, 0.0, 0.0], "domain": domain, "steps": 17, "goal": "goal",
    }  # fmt: skip
    assert len(given) == 3
    for words in given:
        assert same(words[:4], (TRAIN.x, TRAIN.y, HELD.x, HELD.y))
        assert [said(part) if part is not setting.learner else part for part in words[4]] == [
            said(part) if part is not setting.learner else part for part in more
        ]
        assert {k: v if k == "domain" else said(v) for k, v in words[5]} == {
            k: v if k == "domain" else said(v) for k, v in settings.items()
        }
    chosen = setting._replace(case=setting.case._replace(protected=1))
    found = attackers.climbed(chosen, "goal", options)  # pyright: ignore
    assert found.group.tolist() == [16] * 4  # the feature that the attacker chose, not the start's


def test_the_smooth_error_of_poison_is_on_validation_rows_after_training_rows(told) -> None:
    poison = audited(3, 8)
    for bad in (None, poison):
        parts = (TRAIN,) if bad is None else (TRAIN, bad)
        x, y = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
        model = ("model", x, y, jax.random.key(3))
        assert SETTING.error(bad) == SMOOTH.score(model, SETTING_WORLD)


def test_the_largest_cap_that_is_kept_makes_the_poison(monkeypatch) -> None:
    """That of the smallest if none is."""
    monkeypatch.setattr(attackers.Setting, "error", lambda setting: 0.25)
    monkeypatch.setattr(attackers.Setting, "mistakes", lambda setting, poison: 2 * poison)
    caps = [0.255, 0.26, 0.27, 0.29, 0.32, 0.35, 0.4]
    told: list[Any] = []

    def drive(setting: Any, cap: float) -> float:
        assert setting is SETTING
        told.append(cap)
        return cap

    for most, index in ((0.58, 3), (0.64, 4), (0.9, 6), (0.1, 0)):
        found: Any = attackers.within(SETTING, drive, most)  # pyright: ignore
        assert found == pytest.approx(caps[index])
    assert told == pytest.approx(4 * caps)
