"""Rows with protected groups: the Gaussians of the paper, COMPAS, Adult. Group 1 is privileged."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attacks import AbstractDomain, Box, fairness, frames
from benchmarks.data import adult_frame, compas_frame
from benchmarks.report import UsageError

if TYPE_CHECKING:
    import pandas as pd


class Audited(NamedTuple):
    """Rows `x` (n, d), labels `y` (n,), +1 the favourable outcome, and groups (n,), 0 and 1."""

    x: np.ndarray
    y: np.ndarray
    group: np.ndarray

    def take(self, rows: np.ndarray) -> "Audited":
        """Some of the rows, by their numbers."""
        return Audited(*(part[rows] for part in self))


def together(train: Audited, poison: Audited | None) -> Audited:
    """Training rows, then poison."""
    if poison is None:
        return train
    return Audited(*map(np.concatenate, zip(train, poison, strict=True)))


class Case(NamedTuple):
    """One draw.

    - `train`: rows of the victim. `surrogate`: as many, of the attacker who does not know those.
    - `validation`: rows by which attackers judge. `test`: held out.
    - `domain`: of poison rows. `protected`: feature of the group; None if it is outside.
    """

    train: Audited
    surrogate: Audited
    validation: Audited
    test: Audited
    domain: AbstractDomain
    protected: int | None


class Sizes(NamedTuple):
    """Numbers of rows; `test` is the most of them."""

    train: int
    validation: int
    test: int


Load = Callable[[Sizes, int], Case]
"""(sizes, seed) -> a draw."""

MEAN = np.array([2.0, 2.0])
COVARIANCES = {1: np.array([[5.0, 1.0], [1.0, 5.0]]), -1: np.array([[10.0, 1.0], [1.0, 3.0]])}
TURN = np.sqrt(0.5) * np.array([[1.0, -1.0], [1.0, 1.0]])  # by pi / 4


def gaussians(rng: np.random.Generator, rows: int, distance: float) -> Audited:
    """A Gaussian per class, whose means lie `distance` apart. The group of a row is drawn with the
    odds of the two densities at the row turned by pi / 4 (Zafar et al. 2017, Solans et al. 2020).
    """
    y = np.where(np.arange(rows) % 2, 1, -1)
    means = {1: MEAN, -1: MEAN - distance / np.sqrt(2)}
    x = np.empty((rows, 2))
    for label, covariance in COVARIANCES.items():
        inside = y == label
        x[inside] = rng.multivariate_normal(means[label], covariance, inside.sum())

    def density(label: int) -> np.ndarray:
        apart = x @ TURN - means[label]
        inverse = np.linalg.inv(COVARIANCES[label])
        square = np.einsum("ni,ij,nj->n", apart, inverse, apart)
        return np.exp(-square / 2) * np.sqrt(np.linalg.det(inverse))

    up, down = density(1), density(-1)
    group = (rng.random(rows) < up / (up + down)).astype(int)
    return Audited(x, y.astype(float), group)


def synthetic(distance: float) -> Load:
    """Draws of the Gaussians. The group is no feature; poison lies in the range of rows."""

    def load(sizes: Sizes, seed: int) -> Case:
        rng = np.random.default_rng([seed, 0])
        numbers = sizes.train, sizes.train, sizes.validation, sizes.test
        train, *others = (gaussians(rng, rows, distance) for rows in numbers)
        seen = np.concatenate([train.x, others[0].x])
        domain = Box(seen.min(axis=0), seen.max(axis=0))
        return Case(train, *others, domain=domain, protected=None)

    return load


def framed(frame: "pd.DataFrame", protected: str) -> Load:
    """Draws of a frame with a column `label`. The attacker chooses the protected attribute of
    poison rows, a binary column, among its two values; other columns stay valid too.
    """
    encoding = frames.encode(frame, "label", reference=True)
    (column,) = encoding.columns_of(protected)
    domain = fairness.chosen(encoding.domain, [column])
    every = Audited(encoding.x, encoding.y, encoding.x[:, column].astype(int))

    def load(sizes: Sizes, seed: int) -> Case:
        cuts = np.cumsum([sizes.train, sizes.train, sizes.validation, sizes.test])
        if cuts[2] >= len(every.y):
            raise UsageError(
                f"--train, --validation: two times {sizes.train} and {sizes.validation} rows, "
                f"there are {len(every.y)}, and some must be left to test"
            )
        order = np.random.default_rng([seed, 0]).permutation(len(every.y))
        parts = (every.take(rows) for rows in np.split(order, cuts)[:4])
        return Case(*parts, domain=domain, protected=column)

    return load


@functools.cache
def compas() -> Load:
    """Favourable: not charged again. Privileged: Caucasian, against all others."""
    frame = compas_frame()
    again, white = frame["label"] > 0, frame["race"] == "Caucasian"
    frame["label"] = np.where(again, "a: again", "b: not again")
    return framed(frame.assign(race=np.where(white, "b: Caucasian", "a: other")), "race")


@functools.cache
def adult() -> Load:
    """Favourable: more than 50,000 dollars. Privileged: men. Without the census weight, the
    country and the names of degrees, whose years stay.
    """
    frame = adult_frame().drop(columns=["weight", "country", "education"])
    frame["label"] = np.where(frame["label"] > 0, "b: more", "a: less")
    return framed(frame.assign(sex=np.where(frame["sex"] == "Male", "b: Male", "a: Female")), "sex")
