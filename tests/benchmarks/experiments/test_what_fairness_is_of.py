"""Fairness after poison: who trains on which rows, and which rows are judged."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from given import Recorder

import benchmarks.experiments.fairness._attackers as attackers
import benchmarks.experiments.fairness._defended as defended
import benchmarks.experiments.fairness._shares as shares
from attacks import Box
from benchmarks.experiments.fairness import fairness_synthetic
from benchmarks.experiments.fairness._cases import Audited, Case, together
from benchmarks.twins import DEFAULT
from bilevel import Data
from defenses import Inspection

ROLES = ("train", "surrogate", "validation", "test")


def audited(count: int, number: int) -> Audited:
    """Rows that say whose they are."""
    y = np.where(np.arange(count) % 2, 1.0, -1.0)
    return Audited(np.full((count, 2), float(number)), y, np.arange(count) // 2 % 2)


SIZES = 12, 10, 7, 9
CASE = Case(
    *(audited(count, number) for number, count in enumerate(SIZES)),
    domain=Box(-9.0, 9.0), protected=None,
)  # fmt: skip
POISON = audited(3, 8)


def whose(rows: Any) -> list[int]:
    """How many rows of each role and of the poison."""
    numbers = np.asarray(rows.x)[:, 0].astype(int)
    return [int(np.sum(numbers == number)) for number in (0, 1, 2, 3, 8)]


ALONE = dict(zip(ROLES, np.diag([*SIZES, 0]).tolist(), strict=False))
WITH_POISON = [12, 0, 0, 0, 3]


def says(model: Any, test: Audited) -> dict[str, Any]:
    """In place of `cells`: what was trained on, and which rows are judged."""
    return {"trained": model, "judged": whose(test)}


@pytest.fixture
def draw(monkeypatch):
    """A case that says who sees what, and an attacker who keeps his setting."""
    options = fairness_synthetic.Options(train=12, seeds=1)
    monkeypatch.setattr(type(options), "case", lambda self, data, seed: CASE)
    made = []

    def attack(setting: attackers.Setting) -> Audited:
        made.append(setting)
        return POISON

    for module in (shares, defended):
        monkeypatch.setattr(module, "ATTACKERS", dict.fromkeys(defended.POISONS[1:], attack))
        monkeypatch.setattr(module, "cells", says)
        monkeypatch.setattr(
            module, "retrained",
            lambda model, *parts: np.sum([whose(part) for part in parts], axis=0).tolist(),
        )  # fmt: skip
    return options, made


def test_fairness_is_of_test_rows_after_training_rows_and_poison(draw) -> None:
    options, _ = draw
    for poison, trained in ((None, ALONE["train"]), (POISON, WITH_POISON)):
        found = shares.judged(options, CASE, poison, 0)
        assert found == {"trained": trained, "judged": ALONE["test"]}


def test_black_boxes_train_on_rows_that_the_attacker_does_not_know(draw, monkeypatch) -> None:
    options, made = draw
    monkeypatch.setattr(defended, "BLACK_BOXES", {"knn": lambda seed: None})
    for row in defended.make_black_boxes(options, "", 0)["rows"]:
        expected = ALONE["train"] if row["attacker"] == "none" else WITH_POISON
        assert (row["trained"], row["judged"]) == (expected, ALONE["test"])
    assert {str(whose(setting.train)) for setting in made} == {str(ALONE["surrogate"])}


def test_defenses_meet_every_poison_and_the_better_of_two_if_it_is_adapted(
    draw, monkeypatch
) -> None:
    options, made = draw
    other = audited(4, 8)
    defense = SimpleNamespace(surrogate=lambda data: "surrogate")
    monkeypatch.setattr(defended, "DEFENSES", {"trim": lambda learner: defense})
    monkeypatch.setattr(defended, "adapted", lambda setting, learner: {"surrogate": other}[learner])

    def better(setting, victim, *poisons):
        assert victim is defense
        assert [len(p.y) for p in poisons] == [3, 4]
        return audited(5, 8)

    monkeypatch.setattr(defended, "better", better)
    monkeypatch.setattr(defended, "sanitised", lambda of, train, test: says(whose(train), test))
    rows = {r["attacker"]: r for r in defended.make_sanitised(options, "", 0)["rows"]}
    assert {str(whose(setting.train)) for setting in made} == {str(ALONE["train"])}
    assert all(row["judged"] == ALONE["test"] for row in rows.values())
    trained = {name: row["trained"] for name, row in rows.items()}
    assert trained.pop("none") == ALONE["train"]
    assert trained.pop("adapted") == [12, 0, 0, 0, 5]
    assert set(trained) == set(defended.POISONS[1:])
    assert all(of == WITH_POISON for of in trained.values())


class Zero:
    """A learner that says what it is given, and reads every row as -1."""

    def __init__(self):
        self.seen: list[Any] = []

    def fit(self, data, **settings):
        self.seen.append(whose(data))
        return SimpleNamespace(model=self)

    def predict(self, x):
        self.seen.append(whose(SimpleNamespace(x=x)))
        return -np.ones(len(x))


def test_the_errors_that_an_attacker_sees_are_of_validation_rows() -> None:
    setting = attackers.Setting(CASE.train, CASE, learner := Zero(), 5, 3, 0, 1)  # pyright: ignore
    assert setting.mistakes(POISON) == pytest.approx(np.mean(CASE.validation.y > 0))
    assert learner.seen == [WITH_POISON, ALONE["validation"]]


def test_the_better_poison_is_that_of_validation_rows(monkeypatch) -> None:
    learner = Zero()
    setting = attackers.Setting(CASE.train, CASE, learner, 5, 3, 0, 1)  # pyright: ignore
    values = iter((0.4, 0.1, np.nan))

    def impact(held):
        assert whose(held) == ALONE["validation"]
        return SimpleNamespace(score=lambda model, world: next(values))

    monkeypatch.setattr(defended, "impact", impact)
    poisons = [POISON.take(np.arange(k)) for k in (1, 2, 3)]
    assert defended.better(setting, learner, *poisons) is poisons[1]  # pyright: ignore
    assert learner.seen == [[12, 0, 0, 0, k] for k in (1, 2, 3)]


def test_the_model_of_sanitised_rows_has_their_labels_weights_and_strength(monkeypatch) -> None:
    """That of our learner: C times the weights times l2 is 1."""
    train = together(CASE.train, POISON)
    turned, weight = -train.y, np.linspace(0, 1, 15)
    monkeypatch.setattr(defended, "LogisticRegression", Recorder)
    monkeypatch.setattr(defended, "cells", lambda model, test: (model, whose(test)))

    def fit(data):
        seen = Inspection(Data(data.x, turned, weight), jnp.zeros(15))
        return SimpleNamespace(report=seen, model=None)

    defense: Any = SimpleNamespace(fit=fit)
    found: Any = defended.sanitised(defense, train, CASE.test)
    model, judged = found
    np.testing.assert_array_equal(model.x, train.x)
    np.testing.assert_array_equal(model.y, turned)
    np.testing.assert_array_equal(model.weight, weight)
    l2 = 1 / (DEFAULT.C * 15)
    assert model.C * weight.sum() * l2 == pytest.approx(1)
    assert judged == ALONE["test"]


def test_the_votes_of_an_ensemble_are_on_test_rows(monkeypatch) -> None:
    monkeypatch.setattr(defended, "figures", lambda predicted, test: (predicted, whose(test)))
    learner = Zero()
    votes = SimpleNamespace(fit=lambda rows: SimpleNamespace(report=None, model=learner))
    found = defended.sanitised(votes, CASE.train, CASE.test)  # pyright: ignore
    assert found[1] == ALONE["test"] == learner.seen[0]  # pyright: ignore


def test_learners_of_fairness_train_on_poison_and_are_judged_on_test_rows(
    draw, monkeypatch
) -> None:
    options, _ = draw
    case = CASE._replace(protected=1)
    monkeypatch.setattr(defended, "with_group", lambda of: case)
    limits = []
    monkeypatch.setattr(defended, "limited", lambda column, rows: limits.append((column, rows)))
    monkeypatch.setattr(defended, "lower", lambda setting: audited(4, 8))
    monkeypatch.setattr(defended, "FAIR", {"fair": lambda *args: args[:2]})
    monkeypatch.setattr(
        defended, "figures", lambda fit, test: says([whose(rows) for rows in fit], test)
    )
    rows = {r["attacker"]: r for r in defended.make_fair(options, "", 0)["rows"]}
    assert all(row["judged"] == ALONE["test"] == row["trained"][1] for row in rows.values())
    assert rows["none"]["trained"][0] == ALONE["train"]
    assert rows["adapted"]["trained"][0] == [12, 0, 0, 0, 4]
    assert rows["hide"]["trained"][0] == WITH_POISON
    assert limits == [(1, 12 + options.points(options.share))]


def told(rows: list[dict[str, Any]]) -> list[tuple]:
    names = ("table", "attacker", "share", "seed", "trained", "judged")
    return [tuple(row[name] for name in names) for row in rows]


def test_every_attacker_has_a_row_at_a_share_and_none_at_no_share(draw) -> None:
    options, made = draw
    (clean,) = shares.make_share(options, "", 3, 0.0)["rows"]
    assert told([clean]) == [("shares", "none", 0.0, 3, ALONE["train"], ALONE["test"])]
    assert not made
    rows = shares.make_share(options, "", 3, 0.1)["rows"]
    assert told(rows) == [
        ("shares", name, 0.1, 3, WITH_POISON, ALONE["test"]) for name in shares.ATTACKERS
    ]
    assert {(setting.count, setting.slots, setting.seed) for setting in made} == {(1, 5, 3)}
    assert {str(whose(setting.train)) for setting in made} == {str(ALONE["train"])}


def test_attackers_at_an_equal_loss_may_err_as_often_as_the_other(draw, monkeypatch) -> None:
    """The number of the other's rows stands for his errors; without poison there are four."""
    options, _ = draw
    rivals = dict(zip((*shares.RIVALS, "error-generic"), (2, 3, 4, 40), strict=True))
    monkeypatch.setattr(
        shares, "ATTACKERS", {n: lambda s, k=k: audited(k, 8) for n, k in rivals.items()}
    )
    monkeypatch.setattr(
        attackers.Setting, "mistakes", lambda self, rows=None: 4 if rows is None else len(rows.y)
    )
    drives = []

    def within(setting, drive, most):
        drives.append(drive)
        return audited(round(most), 8)

    monkeypatch.setattr(shares, "within", within)
    rows = shares.make_equal(options, "", 3)["rows"]
    names = [*(f"impact-as-{rival}" for rival in shares.RIVALS), "impact-at-half",
             "reverse-at-half"]  # fmt: skip
    assert told(rows) == [
        ("shares", name, options.share, 3, [12, 0, 0, 0, count], ALONE["test"])
        for name, count in zip(names, (2, 3, 4, 20, 20), strict=True)
    ]
    assert drives == [shares.lower] * 4 + [shares.reverse]


def test_a_network_is_judged_by_one_with_the_seed_of_the_draw(draw, monkeypatch) -> None:
    monkeypatch.setattr(shares, "retrained", lambda model, *parts: model)
    monkeypatch.setattr(shares, "NetworkClassifier", lambda strengths, seed: (strengths, seed))
    options = dataclasses.replace(draw[0], learner="network")
    assert shares.judged(options, CASE, None, 6)["trained"] == (DEFAULT, 6)
    assert type(shares.judged(draw[0], CASE, None, 6)["trained"]).__name__ == "LogisticRegression"


def test_attackers_on_the_plane_have_rows_of_their_distance(draw, monkeypatch) -> None:
    options, made = draw
    seen = []

    def synthetic(distance):
        return lambda sizes, seed: seen.append((distance, sizes, seed)) or CASE

    monkeypatch.setattr(fairness_synthetic, "synthetic", synthetic)
    monkeypatch.setattr(
        fairness_synthetic, "ATTACKERS",
        dict.fromkeys(fairness_synthetic.SWEPT[1:], shares.ATTACKERS["hide"]),
    )  # fmt: skip
    rows = fairness_synthetic.make_distance(options, 7.0, 3)["rows"]
    assert seen == [(7.0, options.sizes, 3)]
    assert [(row["table"], row["attacker"], row["distance"], row["seed"]) for row in rows] == [
        ("distances", name, 7.0, 3) for name in fairness_synthetic.SWEPT
    ]
    assert [row["trained"] for row in rows] == [ALONE["train"], *[WITH_POISON] * 6]
    assert {setting.count for setting in made} == {options.points(options.share)}
