"""What stands behind a defense, by stand-ins of judge, defenses and attackers that say a number."""

import importlib
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from attacks import XY
from defenses.data_audit.attacker import ADAPTIVE_STEPS, Attacker
from defenses.data_audit.judge import Parts, Poison, Rows

pytestmark = pytest.mark.stand_ins

DAMAGE: Any = importlib.import_module("defenses.data_audit.damage")


def rows(n: int, value: float) -> Rows:
    return Rows(np.full((n, 2), value), np.ones(n), np.ones(n), np.arange(n))


PARTS = Parts(rows(6, 0.0), rows(2, 1.0), rows(2, 2.0))


class Judge:
    """Errors by the poison among the rows that are trained on, and by the rows judged."""

    table = SimpleNamespace(classes=("a", "b"))

    def __init__(self, errors: dict[float, tuple[float, float, float]]):
        self.errors = errors

    def fit(self, rows: Rows) -> float:
        return float(rows.x[-1, 0])  # what the poison's rows hold, if any is left

    def error(self, model: float, rows: Rows) -> float:
        known, choosing, judged = self.errors[model]
        return {8: known, 2: choosing if rows.x[0, 0] == 1 else judged}[rows.y.size]


def poison(value: float, name: str = "sought") -> Poison:
    return Poison(name, rows(2, value))


def defended(
    monkeypatch: Any, errors: dict, stopped: dict[str, float], reach: str = "observed",
    places: tuple[int, ...] = (0, 1, 2, 3, 4, 5), told: list[float] | None = None,
):  # fmt: skip
    """The table of defenses, each of which lets no poison above a value pass; `told`: the shares
    of poison that they hear of.
    """
    shares: list[float] = [] if told is None else told

    def ours(learner: Any, share: float) -> Any:
        shares.append(share)
        return learner

    def sanitised(judge: Any, defense: Any, share: float, rows: Rows) -> tuple[Rows, Any]:
        shares.append(share)
        kept = rows.x[:, 0] <= stopped[defense.name]
        return rows.take(kept), ~kept

    learn = {"plain": None}
    offered = [SimpleNamespace(name=name, ours=learn.get(name, ours)) for name in stopped]
    monkeypatch.setattr(DAMAGE, "offered", lambda classes, n: offered)
    monkeypatch.setattr(DAMAGE, "sanitised", sanitised)
    asked = []

    def through(defense: Any, count: int, ended: Any) -> tuple[Poison, ...]:
        asked.append((count, ended))
        assert defense("learner") == "learner"
        return poison(4.0), poison(5.0)

    sample: Any = SimpleNamespace(places=np.array(places))
    attacker: Any = SimpleNamespace(through=through)
    table = DAMAGE.defended(Judge(errors), PARTS, attacker, sample, [poison(3.0)], "end", 2, reach,
                            lambda what: None)  # fmt: skip
    return table, asked


ERRORS = {0.0: (0.1, 0.11, 0.12), 3.0: (0.3, 0.31, 0.32), 4.0: (0.4, 0.41, 0.42),
          5.0: (0.5, 0.51, 0.52)}  # fmt: skip


def test_each_defense_meets_what_was_sought_through_every_one(monkeypatch) -> None:
    (none, weak, plain, strong), asked = defended(
        monkeypatch, ERRORS, {"weak": 9.0, "plain": 4.0, "strong": 2.0}
    )
    assert asked == [(2, "end")] * 2
    assert [d.adapted for d in (none, weak, plain, strong)] == [False, True, False, True]
    assert [(d.found, d.adaptive, d.choosing) for d in (none, weak, plain, strong)] == [
        (0.32, 0.52, 0.51), (0.32, 0.52, 0.51), (0.32, 0.42, 0.41), (0.12, 0.12, 0.11),
    ]  # fmt: skip
    assert (strong.dropped, strong.caught, strong.poison) == (0, 2, 2)


def test_who_changes_labels_alone_searches_through_no_defense(monkeypatch) -> None:
    (_, weak), asked = defended(monkeypatch, ERRORS, {"weak": 9.0}, "labels")
    assert asked == []
    assert not weak.adapted
    assert weak.adaptive == 0.32


@pytest.mark.parametrize(("reach", "share"), [("observed", 2 / 8), ("labels", 2 / 6)])
def test_defenses_hear_the_share_of_poison_among_all_rows_however_small_the_sample(
    reach, share, monkeypatch
) -> None:
    """Rows added are rows; of a half of the training rows one of two rows of poison is met."""
    for places, poisoned in (((0, 1, 2, 3, 4, 5), 2), ((0, 2, 4), 1)):
        told: list[float] = []
        (_, weak, strong), _ = defended(
            monkeypatch, ERRORS, {"weak": 9.0, "strong": 2.0}, reach, places, told
        )
        # Without poison, after what ignores it and after two times two attacks that know a defense.
        assert len(told) == (2 + 2 + 8 + 2 if reach == "observed" else 4)
        assert set(told) == {share}
        assert (weak.caught, strong.caught, strong.poison) == (0, poisoned, poisoned)


def test_a_wide_table_has_no_attack_that_knows_the_defense(monkeypatch) -> None:
    for most, times in ((1, 0), (2, 1)):  # the rows have two features
        monkeypatch.setattr(DAMAGE, "ADAPTIVE_FEATURES", most)
        (_, weak), asked = defended(monkeypatch, ERRORS, {"weak": 9.0})
        assert (len(asked), weak.adapted) == (times, times == 1)


def test_who_knows_a_defense_starts_from_both_ends_with_the_rows_that_he_has(monkeypatch) -> None:
    module: Any = importlib.import_module("defenses.data_audit.attacker")
    climbed = []

    def climb(attack: str, start: Any, ascent: Any, steps: int) -> Any:
        climbed.append((attack, start, ascent, steps))
        return f"end {len(climbed)}"

    monkeypatch.setattr(module, "_climbed", climb)

    class Objective(tuple):
        def prepared(self) -> tuple:
            return self

        def scale(self, z: XY) -> Any:
            return 1 + jnp.sum(z.y)

    usual = XY(jnp.zeros((2, 3)), jnp.zeros(2))
    attacker: Any = SimpleNamespace(
        places=2, ascent=module.MOMENTUM, data="data", learner=lambda count: f"learner of {count}",
        poison=lambda z, count, name: (z, count),
        attack=lambda count, learner: (Objective(learner), usual),
    )  # fmt: skip
    ended = XY(jnp.arange(12.0).reshape(4, 3), jnp.arange(4.0))
    found = Attacker.through(
        attacker, lambda learner: SimpleNamespace(surrogate=lambda d: (learner, d)), 7, ended
    )
    assert found == (("end 1", 7), ("end 2", 7))
    for attack, start, ascent, steps in climbed:
        assert (attack, steps) == (("learner of 7", "data"), ADAPTIVE_STEPS)
        assert ascent.momentum == module.MOMENTUM.momentum
        assert start.x.shape == (2, 3)
    assert [float(ascent.first) for _, _, ascent, _ in climbed] == [
        module.FAR[0],
        2 * module.FAR[1],
    ]
    assert climbed[0][1] is usual
    np.testing.assert_array_equal(climbed[1][1].x, ended.x[:2])


@pytest.mark.parametrize("worst", ["nothing changed", "labels at random", "sought"])
def test_an_attack_worse_than_nothing_or_chance_by_what_is_known_is_not_chosen(
    worst, monkeypatch
) -> None:
    """Rows to judge by say the opposite and are not asked."""
    known = {"nothing changed": 0.2, "labels at random": 0.3, "sought": 0.1} | {worst: 0.4}
    errors = {value: (known[name], 0.0, 1 - known[name])
              for value, name in ((0.0, "nothing changed"), (3.0, "labels at random"),
                                  (4.0, "sought"))}  # fmt: skip
    monkeypatch.setattr(DAMAGE, "flips", lambda influence, counts, rounds: [poison(4.0)])
    monkeypatch.setattr(DAMAGE, "certified_of", lambda *given: None)
    monkeypatch.setattr(DAMAGE, "random_mistakes", lambda *given: poison(3.0, "labels at random"))
    nobody: Any = None
    at = DAMAGE.found(
        Judge(errors), PARTS, nobody, nobody, (2,), (0.1,), 0, "labels", 0, lambda what: None
    )
    (budget,), (poisons,) = at.budgets, at.poisons
    assert (budget.attack, budget.found) == (worst, 1 - known[worst])
    assert [one.name for one in poisons] == [*([] if worst == "sought" else [worst]), "sought"]
    assert budget.random == pytest.approx(1 - known["labels at random"])
    assert len(budget.attempts) == 2 + DAMAGE.DRAWS
