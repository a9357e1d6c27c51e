"""Poison is valid in the user's units, counts as many rows as it says, and does harm."""

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from defenses.data_audit.attacker import Attacker, flips, random_mistakes, sample_of
from defenses.data_audit.damage import found
from defenses.data_audit.defending import offered, sanitised
from defenses.data_audit.influence import Influence, influence, other_labels
from defenses.data_audit.ingest import Table, ingest
from defenses.data_audit.judge import Judge, Parts, Poison, parts_of
from defenses.data_audit.match import match


def people(n: int = 130) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    age, pay = rng.integers(18, 80, n), rng.normal(size=n)
    kind = rng.choice(["a", "b", "c"], n)
    right = pay + 0.02 * (age - 45) + (kind == "a") + 0.4 * rng.normal(size=n) > 0
    return pd.DataFrame({"kind": kind, "age": age, "pay": pay, "id": np.arange(n),
                         "y": np.where(right, "in", "out")})  # fmt: skip


def pipeline():
    columns = make_column_transformer(
        (OneHotEncoder(), ["kind"]), (StandardScaler(), ["age", "pay"])
    )
    return make_pipeline(columns, LogisticRegression())


class Setting:
    """A table in parts, the influence of its rows, and an attacker with two budgets."""

    def __init__(self):
        self.frame = people()
        self.table: Table = ingest(self.frame, "y")
        self.parts: Parts = parts_of(self.table, 0)
        self.match = match(pipeline(), "classes", 2, self.parts.train.x.shape)
        self.judge = Judge(self.table, self.match)
        other = other_labels(self.match, self.parts.train, 2)
        self.moved: Influence = influence(self.match, self.parts.train, self.parts.choose, other)
        self.sample = sample_of(self.table, self.parts, 0, 10**6)
        self.attacker = Attacker(self.table, self.match, self.sample, 12, 0, self.moved)


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting()


@pytest.fixture(scope="module")
def poison(setting) -> Poison:
    return setting.attacker.climb(12)[0]


def test_the_parts_share_no_row_and_have_all(setting) -> None:
    every = np.concatenate([part.like for part in setting.parts])
    assert np.array_equal(np.sort(every), np.arange(setting.table.number.size))


def test_sampled_rows_stand_for_all_rows_with_their_weights(setting) -> None:
    n = 390
    some = np.arange(n) % setting.parts.train.y.size
    weight = np.linspace(0.5, 1.5, n)
    many = setting.parts.train.take(some)._replace(weight=weight)
    sample = sample_of(setting.table, Parts(many, many.take(np.arange(350)), many), 0, 0)
    assert sample.places.size == 300
    assert np.all(np.diff(sample.places) > 0)
    np.testing.assert_allclose(sample.train.weight, weight[sample.places] * n / 300)
    np.testing.assert_array_equal(sample.train.x, many.x[sample.places])
    assert sample.goal.y.size == 300
    assert sample.goal.weight.mean() == pytest.approx(350 / 300, rel=0.1)
    assert (sample.whole, sample.slots(100)) == (n, round(100 * 300 / n))
    whole = sample_of(setting.table, setting.parts, 0, 0)
    np.testing.assert_array_equal(whole.train.weight, setting.parts.train.weight)


def test_slots_weigh_as_much_as_the_rows_that_they_stand_for(setting, monkeypatch) -> None:
    monkeypatch.setattr(setting.attacker, "sample", setting.sample._replace(whole=156))
    attack, start = setting.attacker.attack(8, setting.attacker.learner(8))
    np.testing.assert_allclose(attack.reach.weight, np.r_[[2.0] * 4, [0.0] * 8])
    assert start.shape == setting.attacker.start.x.shape
    strength = setting.attacker.learner(8).l2
    assert float(strength) == pytest.approx(1 / (78 + 8), rel=1e-6)


def test_the_victim_is_as_strong_as_all_weights_and_the_rows_put_in() -> None:
    train: Any = SimpleNamespace(weight=np.array([0.5, 2.0, 4.0]), y=np.ones(3))
    attacker: Any = SimpleNamespace(
        match=SimpleNamespace(ours=lambda total: ("ours", float(total))),
        sample=SimpleNamespace(train=train, whole=90),
    )
    for count in (0, 7):
        assert Attacker.learner(attacker, count) == ("ours", 6.5 + count)


def test_added_rows_are_rows_that_the_table_could_hold(setting, poison) -> None:
    added = poison.added
    assert added.y.size == 12
    rows, labels = setting.table.decoded(added.x, added.y, added.like)
    assert set(rows["kind"]) <= {"a", "b", "c"}
    assert rows["age"].dtype == setting.frame["age"].dtype
    assert rows["age"].between(setting.frame["age"].min(), setting.frame["age"].max()).all()
    assert rows["pay"].between(setting.frame["pay"].min(), setting.frame["pay"].max()).all()
    assert set(labels) <= {"in", "out"}
    assert list(rows["id"]) == list(setting.frame["id"].iloc[added.like])


def test_the_judge_is_the_users_pipeline_on_the_users_columns(setting, poison) -> None:
    poisoned = poison.into(setting.parts.train)
    model = setting.judge.fit(poisoned)
    by_hand = pipeline().fit(
        pd.concat([
            setting.frame.iloc[setting.parts.train.like],
            setting.table.decoded(poison.added.x, poison.added.y, poison.added.like)[0],
        ]),
        poisoned.y,
    )  # fmt: skip
    test = setting.frame.iloc[setting.parts.test.like]
    assert np.array_equal(model.predict(test), by_hand.predict(test))
    wrong = model.predict(test) != setting.table.encoding.y[setting.parts.test.like]
    assert setting.judge.error(model, setting.parts.test) == pytest.approx(np.mean(wrong))


def test_rows_that_climbed_do_more_than_where_they_began(setting, poison) -> None:
    known = setting.parts.train.and_(setting.parts.choose)

    def error(poison: Poison) -> float:
        return setting.judge.error(setting.judge.fit(poison.into(setting.parts.train)), known)

    assert error(poison) > error(setting.attacker.unmoved(12)) > error(Poison("none"))


def test_more_rows_than_slots_are_near_copies_of_valid_rows(setting, monkeypatch) -> None:
    monkeypatch.setattr("defenses.data_audit.attacker.SLOTS", 4)
    many = setting.attacker.unmoved(12).added
    assert many.y.size == 12
    assert np.unique(many.x, axis=0).shape[0] == 12
    assert np.abs(many.x[4:8] - many.x[:4]).max() < 0.02
    setting.table.decoded(many.x, many.y, many.like)


def test_changed_labels_are_nested_and_as_many_as_asked(setting) -> None:
    few, many = flips(setting.moved, (3, 9), 2)
    assert few.changed is not None
    assert many.changed is not None
    assert set(few.changed[0]) < set(many.changed[0])
    assert many.changed[0].size == 9
    train = setting.parts.train
    poisoned = many.into(train)
    assert np.array_equal(np.flatnonzero(poisoned.y != train.y), many.changed[0])
    assert many.places(train).sum() == 9
    assert Poison("x", few.added, many.changed).within(many.changed[0][:4], 78).places(
        train.take(many.changed[0][:4])).sum() == 4  # fmt: skip


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_random_mistakes_are_other_labels_that_exist(setting, classes) -> None:
    rows = setting.parts.train
    if classes == 3:
        rows = rows._replace(y=np.arange(rows.y.size) % 3.0)
    elif classes == 0:
        rows = rows._replace(y=np.linspace(0, 1, rows.y.size))
    made = random_mistakes(rows, 10, classes, 1)
    assert made.changed is not None
    where, labels = made.changed
    assert np.unique(where).size == 10
    assert set(labels) <= set(rows.y)
    if classes:
        assert (labels != rows.y[where]).all()


def test_defenses_say_what_they_touch(setting, poison) -> None:
    rows = poison.into(setting.parts.train)
    for defense in offered(2, rows.y.size):
        left, touched = sanitised(setting.judge, defense, 0.13, rows)
        assert left.y.size <= rows.y.size
        assert touched.sum() >= rows.y.size - left.y.size, defense.name


def test_a_gradient_at_a_kink_is_told_as_not_certified(setting) -> None:
    at = found(
        setting.judge, setting.parts, setting.attacker, setting.moved, (12,), (0.15,), 0,
        "observed", 0, lambda what: None,
    )  # fmt: skip
    (budget,) = at.budgets
    assert budget.found == max(budget.attempts, key=lambda a: a.choosing).error
    assert {attempt.name.split()[0] for attempt in budget.attempts} == {
        "rows", "labels", "copies", "nothing",
    }  # fmt: skip
    assert at.certificate is not None
    relative = re.search(r"\((\S+) of it\)", at.certificate.text)
    assert at.certificate.sure == (relative is not None and float(relative[1]) <= 0.01)
