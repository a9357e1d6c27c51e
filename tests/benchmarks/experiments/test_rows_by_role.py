"""Attacks see validation labels, reported errors are of test rows: none takes the other's."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from roles import Climbed, OneSplit, check_roles, drawn, pull, relabelled
from sklearn.linear_model import RidgeClassifier

import benchmarks.experiments.classifiers._poisoned_classifiers as classifiers
import benchmarks.experiments.regression._poisoned_regression as regression
from attacks import XY, LabelFlips
from benchmarks.data import Parts, Rows, Split
from benchmarks.experiments.classifiers import lasso_features, targeted_mnist
from benchmarks.experiments.defenses import roni_spam
from benchmarks.experiments.flips import label_flips, label_sanitisation
from benchmarks.experiments.svm import svm_mnist
from benchmarks.experiments.transfer import transfer
from benchmarks.report import Report
from bilevel import Data
from bilevel.learners import Fixed, LinearModel

LABELLED, TARGETS = drawn(), drawn(targets=True)
SHARED = transfer.shared.__wrapped__  # anew for each run


@pytest.fixture(autouse=True)
def once(monkeypatch) -> None:
    """Programs run once, so that they make as much poison whether they compile or not."""
    for module in (classifiers, regression, lasso_features, label_flips, label_sanitisation,
                   transfer):  # fmt: skip
        monkeypatch.setattr(module, "warm", lambda program: (program(), 1.0, 0.0))


def look(train, start, labels, validation, *others, **settings) -> Climbed:
    """In place of an attack: the start, moved by what the validation labels are."""
    del train, labels, others, settings
    return Climbed(start + 0.3 * pull(validation))


def test_poisoned_classifiers(monkeypatch) -> None:
    def figures(parts: Parts):
        poison = []
        start = np.flatnonzero(parts.train.y < 0)

        def attack(*arguments, **settings):
            poison.append(look(*arguments, **settings).z)
            return Climbed(poison[-1])

        monkeypatch.setattr(classifiers, "drawn", lambda options, table: [(parts, start)])
        monkeypatch.setattr(classifiers, "poison_classifier", attack)
        report = Report("a", options := classifiers.Options(points=(5,), splits=1))
        classifiers.run_on("breast-cancer", options, report)
        cells = {f"{r['learner']} {name}": r[name] for r in report.rows for name in r}
        return cells, poison

    def cells(*names: str) -> list[str]:
        return [f"{kind} {name}" for kind in classifiers.LEARNERS for name in names]

    check_roles(
        figures, LABELLED, cells("clean_test_err", "flip_test_err", "test_err"),
        cells("clean_val_err", "flip_val_err", "val_err"), cells("clean_test_err", "flip_test_err"),
    )  # fmt: skip
    of_clean_rows = RidgeClassifier().fit(LABELLED.train.x, LABELLED.train.y)
    wrong = np.mean(of_clean_rows.predict(LABELLED.test.x) != LABELLED.test.y)
    assert figures(LABELLED)[0]["ridge clean_test_err"] == wrong


def test_poisoned_svms_and_their_picture(monkeypatch) -> None:
    start = LABELLED.train.x[LABELLED.train.y < 0]
    monkeypatch.setattr(svm_mnist, "poison_svm", look)
    report = Report("a", None)

    def split_of(parts: Parts) -> Split:
        train, validation, test = (Rows(t.x, t.y) for t in parts)
        return Split(train, validation, test, start)

    def figures(parts: Parts):
        monkeypatch.setattr(svm_mnist, "_split", lambda options, number: split_of(parts))
        poison, errors = [], svm_mnist._errors

        def judged(split, start, z, C):
            poison.append(z)
            return errors(split, start, z, C)

        with monkeypatch.context() as patch:
            patch.setattr(svm_mnist, "_errors", judged)
            report.rows.clear()
            svm_mnist.run(svm_mnist.Options(points=(5,), splits=(0,)), report)
        return report.rows[0], poison

    check_roles(
        figures, LABELLED, ("clean_test_err", "flip_test_err", "test_err"),
        ("clean_val_err", "val_err", "val_hinge"), ("clean_test_err", "flip_test_err"),
    )  # fmt: skip
    images = np.round(255 * np.clip(start[None, :5] + np.zeros((4, 1, 1)), 0, 1))
    result = Climbed(start[:5], 4, history=(np.arange(4.0), images))
    monkeypatch.setattr(svm_mnist, "_attack", lambda options, split, points: result)
    shown, tested, held = (
        svm_mnist._pictured(svm_mnist.Options(), split_of(p), 5).error
        for p in (LABELLED, relabelled(LABELLED, "test"), relabelled(LABELLED, "validation"))
    )
    np.testing.assert_array_equal(tested, shown)
    np.testing.assert_allclose(held, 1 - shown)


@pytest.fixture
def regressions(monkeypatch):
    """Ridge alone, its attack looking at validation targets; (run, the poison it judges)."""
    judge, poison = regression.judge, []

    def attack(train, start, validation, *others, **settings):
        return Climbed(XY(start.x, 0.5 * start.y + 0.4 * pull(validation)))

    def starts(kind, options, parts, count, seed):
        x = jnp.asarray(parts.train.x[:count])
        return {name: XY(x, jnp.full(count, y)) for name, y in (("b-flip", 1.0), ("stat-p", 0.0))}

    def judged(kind, options, parts, rows):
        poison.append(np.asarray(rows.y))
        return judge(kind, options, parts, rows)

    for name, stub in (("poison_regression", attack), ("starts", starts), ("judge", judged)):
        monkeypatch.setattr(regression, name, stub)

    def run(load: Any, options) -> tuple[dict, np.ndarray]:
        poison.clear()
        report = Report("a", None)
        monkeypatch.setitem(regression.TABLES, "house", load)
        regression.run_on("house", options, report)
        return report.rows[0], np.concatenate(poison)

    return run


def test_poisoned_regressions(regressions) -> None:
    options = regression.Options(learners=("ridge",), rates=(0.2,), seeds=1, train=25)
    check_roles(
        lambda parts: regressions(lambda: OneSplit(parts), options), TARGETS,
        ("clean_test_mse", "flip_test_mse", "stat_p_test_mse", "test_mse"),
        ("clean_val_mse", "val_mse"), ("clean_test_mse", "flip_test_mse", "stat_p_test_mse"),
    )  # fmt: skip


def test_poisoned_regressions_beside_filed_poison(regressions, monkeypatch, tmp_path) -> None:
    (tmp_path / "poison_house_ridge_s0_p4.npz").touch()
    x = TARGETS.train.x[:5]
    filed = SimpleNamespace(strength=0.1, x=x, y=x[:, 0], start_x=x, start_y=x[:, 1])
    monkeypatch.setattr(regression, "filed_poison", lambda path: filed)
    options = regression.Options(learners=("ridge",), against=tmp_path)

    def figures(parts: Parts):
        monkeypatch.setattr(regression, "filed_parts", lambda path: parts)
        return regressions(None, options)

    start, their = ("start_test_mse", "their_test_mse")
    check_roles(
        figures, TARGETS, (start, their, "test_mse", "test_ratio"),
        ("start_val_mse", "their_val_mse", "val_mse", "val_ratio"), (start, their),
    )  # fmt: skip


def flips_by_look(train, budget, held, *others, **settings) -> LabelFlips:
    """Labels that are flipped by what the validation labels are."""
    del others, settings
    rows = (jnp.arange(budget) + int(997 * (1 + pull(held)))) % train.rows
    return LabelFlips(rows, jnp.ones(budget), jnp.ones(budget, int), jnp.int32(0))


def stub_flips(module, monkeypatch) -> list:
    """Look, and keep the rows."""
    made = []

    def flips(*arguments, **settings):
        made.append(flips_by_look(*arguments, **settings))
        return made[-1]

    for name in {"flip_greedy", "flip_by_hypergradient"} & set(vars(module)):
        monkeypatch.setattr(module, name, flips)
    monkeypatch.setattr(module, "flip_random", lambda key, *a, **s: flips(*a, **s))
    return made


def test_label_flips(monkeypatch) -> None:
    def figures(parts: Parts):
        made = stub_flips(label_flips, monkeypatch)
        monkeypatch.setattr(label_flips, "_table", lambda options: OneSplit(parts))
        options = label_flips.Options(learners=("ridge",), budgets=(6,), splits=1)
        label_flips.run(options, report := Report("a", options))
        return report.rows[0], [np.asarray(flips.rows) for flips in made]

    names = ("clean", *label_flips.METHODS)
    check_roles(
        figures, LABELLED, [f"{name}_test_err" for name in names],
        [f"{name}_val_err" for name in names], ["clean_test_err"],
    )  # fmt: skip


class Vote:
    """In place of `Relabel`: turns the first labels."""

    def __init__(self, learner, k, agreement, tie, balance):
        del learner
        assert (k, agreement, tie, balance) == (3, 0.6, -1, 0)  # 0: as published

    def surrogate(self, data):
        del data
        return self

    def inspect(self, data):
        turned = jnp.where(jnp.arange(data.rows) < 8, -data.y, data.y)
        return SimpleNamespace(data=Data(data.x, turned))


def test_sanitised_labels(monkeypatch) -> None:
    def figures(parts: Parts):
        made = stub_flips(label_sanitisation, monkeypatch)
        monkeypatch.setattr(label_sanitisation, "Relabel", Vote)
        monkeypatch.setattr(label_sanitisation, "breast_cancer", lambda: OneSplit(parts))
        options = label_sanitisation.Options(
            learners=("logistic",), budgets=(6,), splits=1, k=3, agreement=0.6, tie=-1
        )
        label_sanitisation.run(options, report := Report("a", options))
        return report.rows[0], [np.asarray(flips.rows) for flips in made]

    tested = [
        f"{name}{defended}_err"
        for name in ("clean", *label_sanitisation.ATTACKS)
        for defended in ("", "_defended")
    ]
    check_roles(figures, LABELLED, tested, (), tested[:2])


def test_features_selected(monkeypatch) -> None:
    def figures(parts: Parts):
        poison = []

        def attack(*arguments, **settings):
            poison.append(look(*arguments, **settings).z)
            return Climbed(poison[-1])

        monkeypatch.setattr(lasso_features, "poison_feature_selection", attack)
        options = lasso_features.Options(
            learners=("ridge",), rates=(0.2,), splits=1, train=25, features=1
        )
        (row,) = lasso_features._attacked("ridge", 0.2, options, [parts])["rows"]
        return row, poison

    still = ("clean_test_err", "random_test_err", "flip_test_err")
    check_roles(figures, LABELLED, (*still, "attack_test_err"), ("attack_val_err",), still)


def test_targeted_digits(monkeypatch) -> None:
    digits = Parts(*(
        dataclasses.replace(t, y=np.where(t.y > 0, 8.0, np.where(t.x[:, 1] > 0.5, 3.0, 1.0)))
        for t in LABELLED
    ))  # fmt: skip

    def figures(parts: Parts):
        poison = []

        def attack(train, start, labels, validation, learner, *, goal, **settings):
            poison.append(start + 0.01 * (pull(validation) + pull(goal.rest)))
            return Climbed(poison[-1])

        monkeypatch.setattr(targeted_mnist, "poison_classifier", attack)
        monkeypatch.setattr(targeted_mnist, "parts", lambda *a: [(t.x, t.y) for t in parts])
        options = targeted_mnist.Options(keeps=(0.1,), splits=1, train=25, rate=0.3)
        targeted_mnist.run(options, report := Report("a", options))
        return report.rows[0], poison

    def turned(parts: Parts, name: str) -> Parts:
        rows = getattr(parts, name)
        y = np.where(rows.y == 8, 3.0, np.where(rows.y == 3, 1.0, 8.0))
        return parts._replace(**{name: dataclasses.replace(rows, y=y)})

    still = ("clean_success", "clean_rest_err", "clean_source_err")
    tested = ("success", "rest_err", "flip_success", "flip_rest_err", "source_err", *still)
    check_roles(figures, digits, tested, (), still, turned)


def test_transferred_poison(monkeypatch) -> None:
    """The attacker has rows of his own to train on, the target's are judged."""
    start = LABELLED.train.x[:10]

    def figures(parts: Parts):
        target = relabelled(parts, "train").train
        own, train, validation, test = (Rows(t.x, t.y) for t in (target, *parts))
        split, poison = transfer.Split(own, train, validation, test, start), []

        def only(rows):
            return Rows(*(leaf[0] for leaf in rows))

        def craft(strengths, train, validation, start):
            np.testing.assert_array_equal(only(train).y, parts.train.y)
            poison.append(start + pull(only(validation)))
            return poison[-1], jnp.zeros(1, int)

        def gradient(strengths, train, validation, z):
            poison.append([float(pull(only(rows))) for rows in (train, validation)])
            return z * poison[-1][0] + poison[-1][1]

        made = transfer.Programs(craft, gradient, lambda *a: jnp.zeros(1))
        monkeypatch.setattr(transfer, "splits", lambda options: [split])
        monkeypatch.setattr(transfer, "programs", lambda name, options: made)
        monkeypatch.setattr(transfer, "shared", SHARED)
        options = transfer.Options(surrogates=("ridge",), targets=("ridge",), points=10, seeds=1)
        transfer.run(options, report := Report("a", options))
        return report.rows[0], np.concatenate([np.ravel(p) for p in poison])

    still = ("clean_test_err", "flip_test_err")
    check_roles(figures, LABELLED, (*still, "test_err"), (), still)


def test_mails_that_roni_sees(monkeypatch) -> None:
    fixed = Fixed(LinearModel(jnp.asarray([2.0, -1.0, 0.5]), jnp.asarray(-0.9)))
    monkeypatch.setattr(roni_spam, "poison_classifier", look)

    def figures(parts: Parts):
        seen = []

        def inspected(defended, data):
            seen.append(np.asarray(data.x))
            return SimpleNamespace(kept=np.ones(data.rows, bool), data=data)

        monkeypatch.setattr(roni_spam, "inspected", inspected)
        options = roni_spam.Options(train=25)
        defended: Any = SimpleNamespace(learner=fixed, tolerance=0.1)
        return roni_spam._attacked("optimised", 0.2, parts, defended, options, 0), seen

    tested = ("ham_lost_err", "ham_lost_roni_err", "test_err", "test_roni_err")
    check_roles(figures, LABELLED, tested, (), tested)
