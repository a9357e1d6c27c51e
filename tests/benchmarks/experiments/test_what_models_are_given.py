"""Stubs in place of trainings say what they were given: rows and labels of which role, how much
poison, which strength.
"""

from types import SimpleNamespace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from roles import drawn

import benchmarks.experiments.classifiers._poisoned_classifiers as classifiers
import benchmarks.experiments.fairness._attackers as attackers
import benchmarks.experiments.fairness._defended as defended
import benchmarks.experiments.fairness._shares as shares
import benchmarks.experiments.regression._poisoned_regression as regression
from attacks import Box
from benchmarks.experiments.audit import leave_one_out, row_ranking
from benchmarks.experiments.classifiers import lasso_features, targeted_mnist
from benchmarks.experiments.fairness import fairness_synthetic
from benchmarks.experiments.fairness._cases import Audited, Case, together
from benchmarks.experiments.flips import label_flips, label_sanitisation
from benchmarks.experiments.scale import restarts
from benchmarks.experiments.transfer import transfer
from benchmarks.experiments.tuning import hyperparameters
from benchmarks.twins import DEFAULT, Twin
from bilevel import Data
from defenses import Inspection

LABELLED, TARGETS = drawn(), drawn(targets=True)
ROLES = ("train", "surrogate", "validation", "test")


class Told(Exception):
    """How many rows a learner is for."""


def tells(strengths: Any, rows: int) -> Any:
    raise Told(rows)


COUNTED = {
    "classifiers": (
        classifiers, "CLASSIFIERS", 25 + 4,
        lambda: classifiers.attack("ridge", LABELLED, np.arange(4), 1),
    ),
    "features": (
        lasso_features, "REGRESSIONS", 20 + 5,
        lambda: lasso_features._attacked(
            "ridge", 0.2, lasso_features.Options(train=20), [LABELLED]
        ),
    ),
    "regressions": (
        regression, "REGRESSIONS", 25 + 3,
        lambda: regression.attacks_of(
            "ridge", regression.Options(train=25), [TARGETS],
            [regression.rows_of(TARGETS.train.x[:3], TARGETS.train.y[:3])],
        )(),
    ),
    "regressions, StatP": (
        regression, "REGRESSIONS", 25,
        lambda: regression.starts("ridge", regression.Options(train=25), TARGETS, 3, 0),
    ),
    "transfer": (
        transfer, "TWINS", transfer.TRAIN + 5,
        lambda: transfer.programs("ridge", transfer.Options(points=5)).craft(
            None, *((t.x[None], t.y[None]) for t in LABELLED[:2]), LABELLED.train.x[None, :5]
        ),
    ),
    "fairness": (
        shares, "TWINS", 30 + 10,
        lambda: fairness_synthetic.Options(train=30).setting(CASE, 0.25, 0),
    ),
    "restarts": (
        restarts, "CLASSIFIERS", 25 + 1,
        lambda: restarts.make_rows(restarts.Options(), "ridge", 0),
    ),
    "flips": (
        label_flips, "CLASSIFIERS", 30,
        lambda: label_flips.learner("ridge", label_flips.Options(train=30, budgets=(3,))),
    ),
    "sanitised flips": (
        label_sanitisation, "CLASSIFIERS", 30,
        lambda: label_sanitisation.learner(
            "svm", label_sanitisation.Options(train=30, budgets=(3,))
        ),
    ),
}  # fmt: skip
"""Where `Twin.ours` is made, and for how many rows: with those that are added, which are trained on
alike.
"""


@pytest.mark.parametrize("name", COUNTED)
def test_learners_are_as_strong_as_their_twins_of_all_rows(name, monkeypatch) -> None:
    module, table, expected, run = COUNTED[name]
    twin = Twin(tells, lambda strengths: None)
    stubs = getattr(module, table) | dict.fromkeys(("ridge", "svm", "logistic"), twin)
    monkeypatch.setattr(module, table, stubs)
    split = SimpleNamespace(
        train=(LABELLED.train.x, LABELLED.train.y),
        validation=(LABELLED.validation.x, LABELLED.validation.y),
    )
    monkeypatch.setattr(restarts, "begin", lambda options, number: (split, LABELLED.train.x[:4]))
    with pytest.raises(Told) as told:
        run()
    assert told.value.args == (expected,)


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


class Fitted(NamedTuple):
    """In place of scikit-learn's learner, fitted."""

    C: float
    x: Any
    y: Any
    weight: Any = None


class Recorder:
    """In place of `LogisticRegression`: its fit is what it was given."""

    def __init__(self, C: float, **settings: Any):
        self.C = C

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Fitted:
        return Fitted(self.C, x, y, sample_weight)


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


def test_the_twin_of_softmax_is_as_strong_with_poison(monkeypatch) -> None:
    """Its success is of the source's test digits, its other errors are of the others."""
    given = []

    def retrained(model, *parts):
        given.append((model.C, sum(len(part.y) for part in parts), parts[1].y))
        return SimpleNamespace(predict=lambda x: np.array([3, 3, 8, 8, 3, 1, 0, 0]))

    monkeypatch.setattr(targeted_mnist, "LogisticRegression", Recorder)
    monkeypatch.setattr(targeted_mnist, "retrained", retrained)
    options = targeted_mnist.Options(l2=0.05)
    train = np.zeros((40, 5)), np.arange(40) % 10
    test = np.zeros((8, 5)), np.array([8, 8, 8, 8, 8, 1, 2, 3])
    for count in (0, 10):
        found = targeted_mnist.outcome(options, train, test, np.ones((count, 5)))
        C, rows, labels = given[-1]
        assert rows == 40 + count
        assert set(labels) <= {3}
        assert C * rows * options.l2 == pytest.approx(1)
        assert found == {"success": 3 / 5, "source_err": 3 / 5, "rest_err": 2 / 3}


def test_the_judge_of_planted_rows_trains_with_them_and_errs_on_test_rows() -> None:
    class Judge:
        def fit(self, rows):
            return f"model of {rows}"

        def error(self, model, rows):
            return f"{model} on {rows}"

    poison: Any = SimpleNamespace(into=lambda rows: f"{rows} and poison")
    parts = SimpleNamespace(train="train", choose="choose", test="test")
    found = row_ranking._error(Judge(), poison, parts)  # pyright: ignore
    assert found == "model of train and poison on test"


def test_losses_without_a_row_are_of_rows_that_it_is_left_out_of(monkeypatch) -> None:
    """Trained without it, judged on rows that are chosen by; the rise is above all rows."""
    options = leave_one_out.Options(tables=("wine",), left_out=6, splits=1)
    trained: list[Any] = []

    class Twin:
        def fit(self, x, y):
            trained.append(x)
            return SimpleNamespace(number=len(trained), rows=len(y))

    held = []

    def mean_loss(model, rows) -> float:
        held.append(len(rows.y))
        return float(np.sin(model.number))

    every: dict[str, int] = {}
    parts_of = leave_one_out.parts_of

    def parts(*args):
        found = parts_of(*args)
        every.update({name: getattr(found, name).y.size for name in ("train", "choose", "test")})
        return found

    def pairs(model, x, y, held_x, held_y, *more):
        rises = np.zeros(len(y))
        which = np.random.default_rng(1).permutation(len(y))[:6]
        rises[which] = np.sin(np.arange(2, 8)) - np.sin(1)
        assert len(held_y) == every["choose"]
        return rises[:, None]

    monkeypatch.setattr(leave_one_out, "match", lambda *a: SimpleNamespace(twin=Twin))
    monkeypatch.setattr(leave_one_out, "mean_loss", mean_loss)
    monkeypatch.setattr(leave_one_out, "parts_of", parts)
    monkeypatch.setattr(leave_one_out, "leave_one_out", pairs)
    monkeypatch.setattr(
        leave_one_out, "influence_pairs", lambda *a: SimpleNamespace(value=2 * pairs(*a))
    )
    (row,) = leave_one_out.make_rows(options, "wine", 1)["rows"]
    assert [len(x) for x in trained] == [row["rows"], *[row["rows"] - 1] * 6]
    assert row["rows"] == every["train"]
    assert set(held) == {every["choose"]} != {every["test"]}
    assert row["newton_correlation"] == pytest.approx(1)
    assert row["newton_error"] == pytest.approx(0, abs=1e-12)
    assert row["derivative_error"] == pytest.approx(1)


def test_penalties_are_judged_on_test_rows_by_weights_of_all_training_rows(monkeypatch) -> None:
    data = hyperparameters.split("breast-cancer", seed=0, folds=3)
    given = []

    def trained(data, l2):
        given.append(l2)
        return np.r_[0.3, np.zeros(data.rows.shape[1] - 1)]

    monkeypatch.setattr(hyperparameters, "trained", trained)
    found = hyperparameters.outcome(data, np.log([0.25, 4.0]))
    np.testing.assert_allclose(given[0], [0.25, 4.0])
    assert found["test_err"] == pytest.approx(np.mean(data.test_labels < 0))
    loss = np.mean(np.log1p(np.exp(-0.3 * data.test_labels)))
    assert found["test_loss"] == pytest.approx(loss)
    assert (found["least_l2"], found["most_l2"]) == (pytest.approx(0.25), pytest.approx(4.0))
    assert np.mean(data.test_labels < 0) != np.mean(data.labels < 0)
