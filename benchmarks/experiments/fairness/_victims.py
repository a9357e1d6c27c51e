"""Victims other than the one that poison is made for: black boxes, and learners of fairness."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.twins import CLASSIFIERS, DEFAULT
from bilevel import Data
from bilevel.learners import Equal, FairLogistic

from ._cases import Audited

BLACK_BOXES: Mapping[str, Callable[[int], Any]] = {
    "logistic": lambda seed: CLASSIFIERS["logistic"].theirs(DEFAULT),
    "svm": lambda seed: CLASSIFIERS["svm"].theirs(DEFAULT),
    "knn": lambda seed: KNeighborsClassifier(),
    "forest": lambda seed: RandomForestClassifier(random_state=seed),
    "naive-bayes": lambda seed: GaussianNB(),
    "boosting": lambda seed: GradientBoostingClassifier(random_state=seed),
}
"""scikit-learn's classifiers at their defaults."""

Fit = Callable[[Audited, Audited, int], np.ndarray]
"""(training rows, test rows, seed) -> predictions, -1 and +1."""


def _logistic() -> LogisticRegression:
    return LogisticRegression(C=DEFAULT.C, tol=1e-8, max_iter=10_000)


def unconstrained(train: Audited, test: Audited, seed: int) -> np.ndarray:
    """Logistic regression."""
    del seed
    return _logistic().fit(train.x, train.y).predict(test.x)


def reweighed(train: Audited, test: Audited, seed: int) -> np.ndarray:
    """Weights that make group and label independent (Kamiran & Calders 2012)."""
    del seed
    weight = np.ones(len(train.y))
    for g in (0, 1):
        for label in (-1, 1):
            inside, same = train.group == g, train.y == label
            both = inside & same
            if both.any():
                weight[both] = inside.mean() * same.mean() / both.mean()
    return _logistic().fit(train.x, train.y, sample_weight=weight).predict(test.x)


def _reduced(reduction: Any, train: Audited, test: Audited, **more: Any) -> np.ndarray:
    reduction.fit(train.x, (train.y > 0).astype(int), sensitive_features=train.group)
    return np.where(reduction.predict(test.x, **more) > 0, 1, -1)


def exponentiated(train: Audited, test: Audited, seed: int) -> np.ndarray:
    """Exponentiated gradient of fairlearn under demographic parity (Agarwal et al. 2018)."""
    from fairlearn.reductions import DemographicParity, ExponentiatedGradient

    reduction = ExponentiatedGradient(_logistic(), DemographicParity())
    return _reduced(reduction, train, test, random_state=seed)


def grid(train: Audited, test: Audited, seed: int) -> np.ndarray:
    """Grid search of fairlearn over weights, under the same constraint."""
    from fairlearn.reductions import DemographicParity, GridSearch

    del seed
    return _reduced(GridSearch(_logistic(), DemographicParity(), grid_size=20), train, test)


def limited(column: int, rows: int) -> FairLogistic:
    """Equal mean decisions of both groups, at the strength of the others."""
    return FairLogistic(column, Equal(), 1 / (DEFAULT.C * rows))


def fair_logistic(train: Audited, test: Audited, seed: int) -> np.ndarray:
    """Ours; the group is the last feature."""
    del seed
    learner = limited(train.x.shape[1] - 1, len(train.y))
    return np.asarray(learner.fit(Data(train.x, train.y)).model.predict(test.x))


FAIR: Mapping[str, Fit] = {
    "unconstrained": unconstrained,
    "reweighing": reweighed,
    "exponentiated-gradient": exponentiated,
    "grid-search": grid,
    "fair-logistic": fair_logistic,
}
