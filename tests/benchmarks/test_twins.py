"""Our learners and scikit-learn's twins of them are the same models; the judge's errors."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import twins
from benchmarks.data import Parts, Rows, breast_cancer
from bilevel import Data

STRENGTHS = twins.Strengths(C=0.7, alpha=3.0, gamma=0.02)


@pytest.fixture(scope="module")
def parts() -> Parts:
    return breast_cancer().split(100, 100, 369)


TABLE = [(twins.CLASSIFIERS, name, 3.0) for name in twins.CLASSIFIERS] + [
    (twins.REGRESSIONS, name, 3.0 if name == "ridge" else 0.02) for name in twins.REGRESSIONS
]


@pytest.mark.parametrize(("table", "name", "alpha"), TABLE)
def test_twins_are_the_same_model(parts: Parts, table, name: str, alpha: float) -> None:
    strengths = STRENGTHS._replace(alpha=alpha)
    labels = parts.train.y * np.where(np.arange(100) < 10, -1, 1)
    rows = Rows(parts.train.x, labels)
    ours = table[name].ours(strengths, 100).fit(Data(*rows)).model
    theirs = twins.retrained(table[name].theirs(strengths), rows)
    predict = getattr(theirs, "decision_function", theirs.predict)
    found = ours.decision(jnp.asarray(parts.test.x))
    np.testing.assert_allclose(found, predict(parts.test.x), atol=2e-4)


def test_softer_means_more_regularisation() -> None:
    soft = STRENGTHS.softer(2.0)
    assert (soft.C, soft.alpha, soft.gamma) == (0.35, 6.0, 0.02)


def test_errors_are_those_of_a_model_of_clean_rows_and_poison(parts: Parts) -> None:
    poison = Rows(parts.validation.x[:30], -parts.validation.y[:30])
    x = np.concatenate([parts.train.x, poison.x])
    y = np.concatenate([parts.train.y, poison.y])
    classifier = twins.CLASSIFIERS["ridge"].theirs(STRENGTHS)
    wanted = [np.mean(classifier.fit(x, y).predict(r.x) != r.y) for r in parts[1:]]
    assert list(twins.errors(classifier, parts, poison)) == wanted
    regression = twins.REGRESSIONS["ridge"].theirs(STRENGTHS)
    for error, loss in (
        (twins.square_error, lambda f, y: (f - y) ** 2),
        (twins.wrong_sign, lambda f, y: f * y <= 0),
    ):
        wanted = [np.mean(loss(regression.fit(x, y).predict(r.x), r.y)) for r in parts[1:]]
        assert list(twins.errors(regression, parts, poison, error=error)) == wanted


@pytest.mark.parametrize("name", twins.CLASSIFIERS)
def test_labels_that_are_all_the_same_are_predicted_everywhere(name: str) -> None:
    model = twins.retrained(twins.CLASSIFIERS[name].theirs(STRENGTHS), Rows(np.eye(3), np.ones(3)))
    test = Rows(np.eye(3), np.array([1.0, -1.0, -1.0]))
    assert twins.misclassified(model, test) == pytest.approx(2 / 3)
