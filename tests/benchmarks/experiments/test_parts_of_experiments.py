"""Small parts of experiments, each by itself: which images, networks, slots, columns and names."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

import benchmarks.experiments.fairness._shares as shares
from benchmarks.data import Parts, Table
from benchmarks.data.raw import dictionary
from benchmarks.data.scenes import faces
from benchmarks.experiments.backdoors import hidden_trigger
from benchmarks.experiments.fairness._victims import BLACK_BOXES
from benchmarks.experiments.flips import label_sanitisation
from benchmarks.experiments.networks import network_speed
from benchmarks.experiments.svm._finite_differences import Differences
from benchmarks.experiments.tuning import hyperparameters
from benchmarks.report import UsageError
from bilevel.networks import MLP, lenet, small

pytestmark = pytest.mark.stand_ins


def test_images_of_the_source_are_minus_one_and_those_of_the_target_one(monkeypatch) -> None:
    """Images that are their labels: no set has an image of another class, or one of another set."""
    labels = np.arange(600) % 10
    held = SimpleNamespace(
        labels=labels, source=3, target=7, rows=lambda which: which[:, None] * 1.0
    )
    monkeypatch.setattr(hidden_trigger, "images", lambda data: held)
    monkeypatch.setattr(hidden_trigger, "frozen", lambda options, seed: seed)
    of: Any = hidden_trigger.case(hidden_trigger.Options(train=20, poisons=6), 5)
    for part in (of.train, of.test):
        np.testing.assert_array_equal(np.asarray(part.x)[:, 0] % 10, np.where(part.y < 0, 3, 7))
    np.testing.assert_array_equal(np.asarray(of.sources) % 10, 3)
    assert (of.train.rows, len(of.sources), of.network) == (20, 6, 5)
    assert of.test.rows == 60 - 10 - 6 + 60 - 10 - 6
    every = np.concatenate([of.train.x, of.test.x, of.sources])
    assert len(np.unique(every)) == len(every)


@pytest.mark.parametrize("learner", ["logistic", "svm"])
def test_an_attacker_has_slots_for_the_largest_share_and_fills_those_of_his_own(learner) -> None:
    options = shares.Options(shares=(0.1, 0.5, 0.2), share=0.25, train=60, steps=7, learner=learner)
    case: Any = SimpleNamespace(train="train")
    for share, count in ((0.0, 1), (0.1, 7), (0.25, 20), (0.5, 60)):
        found = options.setting(case, share, 4)
        assert (found.slots, found.count) == (60, count)
        assert (found.train, found.seed, found.steps) == ("train", 4, 7)
    other: Any = "other rows"
    assert options.setting(case, 0.1, 4, other).train == other


@pytest.mark.parametrize(
    ("name", "architecture"),
    [("dense", MLP((network_speed.UNITS,), 10)), ("small", small(10)), ("lenet", lenet(10))],
)
def test_a_network_whose_speed_is_told_is_that_of_its_name(name, architecture) -> None:
    options = network_speed.Options(passes=3, batch=50, length=9)
    ours = network_speed.ours(name, options)
    assert ours.architecture == architecture
    assert (ours.batch, ours.solver.steps) == (50, 3 * (network_speed.TRAIN // 50))  # pyright: ignore
    path = network_speed.ours(name, options, object())
    assert (path.batch, path.solver.steps) == (None, 9)  # pyright: ignore


def test_the_error_of_slopes_is_their_distance_from_what_lies_between_both_sides() -> None:
    ahead, behind = np.array([1.0, 2.0, -1.0]), np.array([3.0, 2.0, -2.0])
    seen = Differences(np.eye(3), ahead, behind, 0 * ahead, False, 0)
    size = np.linalg.norm([3.0, 2.0, -2.0])
    for slopes, off in (
        ([2.0, 2.0, -1.5], 0.0), ([0.5, 2.0, -1.0], 0.5), ([3.0, 2.25, -2.0], 0.25),
        ([1.0, 2.0, -3.0], 1.0), ([1.0, 2.0, 0.0], 1.0),
    ):  # fmt: skip
        assert seen.error(np.array(slopes)) == pytest.approx(off / size)
    assert seen.jump == pytest.approx(np.linalg.norm([2, 0, 1]) / size)


def test_a_grid_is_timed_and_compiles_nothing(monkeypatch) -> None:
    """Three folds, four penalties, clocks that tell 1.5 s."""
    clock = iter((10.0, 11.5))
    monkeypatch.setattr(hyperparameters.time, "process_time", lambda: next(clock))
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(30, 3)), np.where(np.arange(30) % 2, 1.0, -1.0)
    data: Any = SimpleNamespace(
        rows=rows, labels=labels, test_rows=rows, test_labels=labels, fold=np.arange(30) % 3
    )
    monkeypatch.setattr(hyperparameters, "outcome", lambda data, log_l2: {"log_l2": log_l2})
    found = hyperparameters.by_grid(data, 4)
    assert (found["cpu_seconds"], found["compile_seconds"], found["trainings"]) == (1.5, 0.0, 12)
    low, high = hyperparameters.BOUNDS
    assert found["log_l2"].shape == (1,)
    assert found["log_l2"][0] in np.linspace(low, high, 4)


def test_one_picture_of_one_person_is_enough_and_none_is_not() -> None:
    assert faces(1, 0, people=1).x.shape[0] == 1
    with pytest.raises(UsageError, match=r"^count: got 0"):
        faces(0, 0)
    with pytest.raises(UsageError, match=r"^people: got 0"):
        faces(1, 0, people=0)


def test_the_last_tenth_of_a_dictionary_are_mails_with_every_word() -> None:
    made = dictionary(np.random.default_rng(0), 40)
    whole = np.all(np.asarray(made.x) == 1, axis=1)
    np.testing.assert_array_equal(whole, np.arange(40) >= 36)
    assert np.all(np.asarray(made.y)[36:] == 1)
    assert 5 < np.sum(np.asarray(made.y) < 0) < 35


def test_victims_are_the_models_of_their_names_with_the_seed() -> None:
    made = {name: make(3) for name, make in BLACK_BOXES.items()}
    assert {name: type(model) for name, model in made.items()} == {
        "logistic": LogisticRegression, "svm": SVC, "knn": KNeighborsClassifier,
        "forest": RandomForestClassifier, "naive-bayes": GaussianNB,
        "boosting": GradientBoostingClassifier,
    }  # fmt: skip
    assert (made["forest"].random_state, made["boosting"].random_state) == (3, 3)
    assert made["svm"].kernel == "linear"


def test_rows_are_standardised_by_the_training_rows_and_a_column_of_one_value_is_zero() -> None:
    x = np.array([[0.25, 0.5], [0.5, 0.5]])
    train = Table(x, np.array([1, -1]), ("a", "b"))
    other = Table(x + 0.25, np.array([-1, 1]), ("a", "b"))
    found = label_sanitisation.standardised(Parts(train, other, other))
    np.testing.assert_array_equal(found[0].x, [[-1, 0], [1, 0]])
    np.testing.assert_array_equal(found[1].x, [[1, 0.25], [3, 0.25]])
    np.testing.assert_array_equal(found[2].y, [-1, 1])
