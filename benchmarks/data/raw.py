"""Tables as practitioners have them: numbers in their own units beside one-hot columns."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .adult import adult_frame
from .compas import compas_frame

if TYPE_CHECKING:
    import pandas as pd


class Raw(NamedTuple):
    """`x` (n, d): features, not scaled. `y` (n,): labels -1 and +1."""

    x: np.ndarray
    y: np.ndarray


def one_hot(frame: "pd.DataFrame") -> Raw:
    """A frame with a target `label`: numbers as they are, a 0/1 column for each category."""
    import pandas as pd

    x = pd.get_dummies(frame.drop(columns="label"), dtype=float)
    return Raw(x.to_numpy(), frame["label"].to_numpy(float))


def _sample(raw: Raw, rng: np.random.Generator, rows: int) -> Raw:
    index = rng.permutation(len(raw.y))[:rows]
    return Raw(raw.x[index], raw.y[index])


def _two_classes(rng, rows: int, features: int, apart=0.7) -> tuple[np.ndarray, np.ndarray]:
    y = np.where(np.arange(rows) % 2, 1.0, -1.0)
    return rng.normal(size=(rows, features)) + apart * y[:, None], y


def credit(rng: np.random.Generator, rows: int) -> Raw:
    """Drawn like the German credit data: months, amounts, ages, and 13 encoded categories; three
    in ten are bad risks.
    """
    risk = rng.normal(size=rows)
    months = np.clip(np.round(np.exp(2.9 + 0.3 * risk + 0.5 * rng.normal(size=rows))), 4, 72)
    amount = np.round(np.exp(7.8 + 0.6 * np.log(months / 18) + 0.6 * rng.normal(size=rows)))
    age = np.round(20 + rng.gamma(2.0, 8.0 - np.clip(risk, -2, 2), rows))
    counts = [rng.integers(1, high + 1, rows) for high in (4, 4, 4, 2)]
    columns = [months, amount, age, *counts]
    for number, size in enumerate((4, 5, 10, 5, 5, 4, 3, 4, 3, 3, 4, 2, 2)):
        lean = risk * (number % 3 == 0) + rng.normal(size=rows)
        place = np.searchsorted(np.linspace(-1.5, 1.5, size - 1), lean)
        columns += list(np.eye(size)[place].T)
    y = np.where(risk + 0.8 * rng.normal(size=rows) > 0.67, 1.0, -1.0)
    return Raw(np.stack(columns, axis=1).astype(float), y)


def offset(rng: np.random.Generator, rows: int) -> Raw:
    """Years, amounts, time stamps: far from the origin."""
    x, y = _two_classes(rng, rows, 6)
    return Raw(x + 10.0 ** rng.uniform(3, 6, 6), y)


def mixed_scales(rng: np.random.Generator, rows: int) -> Raw:
    """Columns in units of 1e-3 to 1e4."""
    x, y = _two_classes(rng, rows, 6)
    return Raw(x * 10.0 ** rng.uniform(-3, 4, 6), y)


def categories(rng: np.random.Generator, rows: int) -> Raw:
    """Five encoded categories: few different rows, many ties, collinear groups."""
    groups = [rng.integers(0, k, rows) for k in (3, 4, 2, 6, 12)]
    score = groups[0] - groups[2] + 0.3 * rng.normal(size=rows)
    x = np.concatenate([np.eye(g.max() + 1)[g] for g in groups], axis=1)
    return Raw(x, np.where(score > np.median(score), 1.0, -1.0))


def rare_class(rng: np.random.Generator, rows: int) -> Raw:
    """8 % positives that overlap with the others."""
    y = np.where(rng.random(rows) < 0.08, 1.0, -1.0)
    y[:2] = -1.0, 1.0
    return Raw(rng.normal(size=(rows, 6)) + 0.8 * (y[:, None] > 0), y)


def near_copies(rng: np.random.Generator, rows: int) -> Raw:
    """Every row twice, up to 1e-9: multipliers within rounding of their bound."""
    x, y = _two_classes(rng, (rows + 1) // 2, 6)
    x, y = np.repeat(x, 2, axis=0)[:rows], np.repeat(y, 2)[:rows]
    return Raw(x * (1 + 1e-9 * rng.normal(size=(rows, 1))), y)


def tied(rng: np.random.Generator, rows: int) -> Raw:
    """Integers: several rows lie exactly on the margin."""
    x, y = _two_classes(rng, rows, 6)
    return Raw(np.round(2 * x), y)


def dictionary(rng: np.random.Generator, rows: int) -> Raw:
    """Words of mails; the last tenth are identical mails with every word."""
    y = np.where(rng.random(rows) < 0.5, 1.0, -1.0)
    rate = np.where(y[:, None] > 0, rng.beta(0.3, 6, 300), rng.beta(0.3, 6, 300))
    x = (rng.random((rows, 300)) < rate).astype(float)
    x[-rows // 10 :], y[-rows // 10 :] = 1.0, 1.0
    return Raw(x, y)


def tumours(rng: np.random.Generator, rows: int) -> Raw:
    """scikit-learn's breast cancer data in their own units, .001 to 4,000."""
    from sklearn.datasets import load_breast_cancer

    x, target = load_breast_cancer(return_X_y=True)
    return _sample(Raw(np.asarray(x), 2.0 * np.asarray(target) - 1), rng, rows)


def adult(rng: np.random.Generator, rows: int) -> Raw:
    """Rows of `adult_frame`: 108 columns, up to 1.5e6."""
    return _sample(one_hot(adult_frame()), rng, rows)


def compas(rng: np.random.Generator, rows: int) -> Raw:
    """Rows of `compas_frame`."""
    return _sample(one_hot(compas_frame()), rng, rows)


RAW: dict[str, Callable[[np.random.Generator, int], Raw]] = {
    "credit": credit, "offset": offset, "mixed-scales": mixed_scales, "categories": categories,
    "rare-class": rare_class, "near-copies": near_copies, "tied": tied, "dictionary": dictionary,
    "tumours": tumours, "adult": adult, "compas": compas,
}  # fmt: skip
"""Tables by name, as functions of a generator and a number of rows."""
FILED = ("adult", "compas")
"""Those made of files."""
