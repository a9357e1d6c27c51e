"""RONI, reject on negative impact, around any scikit-learn model (Nelson et al., "Exploiting
machine learning to subvert your spam filter", LEET 2008).
"""

import abc

import numpy as np
from sklearn.utils import check_random_state

from ._rows import Rows
from ._sanitiser import Sanitiser, Verdict, at_least
from ._tasks import Classes, Numbers


class Roni(Sanitiser):
    """Rejects rows that make small models worse. Shared by both tasks."""

    _fewest_rows = 3

    def __init__(
        self, estimator, draws=5, train=20, validation=50, tolerance=0.0, random_state=None
    ):
        self.estimator = estimator
        self.draws = draws
        self.train = train
        self.validation = validation
        self.tolerance = tolerance
        self.random_state = random_state

    def _inspect(self, rows: Rows) -> Verdict:
        at_least(1, draws=self.draws, train=self.train, validation=self.validation)
        rng = check_random_state(self.random_state)
        harm = np.zeros(rows.y.size)
        for row in range(harm.size):
            for _ in range(self.draws):
                train, validation = self._draw(rng, rows, row)
                held_out = rows.take(validation)
                without = self._train(rows.take(train))
                joined = self._train(rows.take(np.append(train, row)))
                harm[row] += self._badness(joined, held_out) - self._badness(without, held_out)
        harm /= self.draws
        return Verdict(
            rows.y, harm <= max(self.tolerance, harm.min()), harm, 2 * self.draws * harm.size
        )

    @abc.abstractmethod
    def _first(self, y: np.ndarray) -> np.ndarray:
        """Indices of rows that every training set must hold."""

    def _draw(self, rng, rows: Rows, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on and rows to validate on, without the one in question."""
        others = np.delete(np.arange(rows.y.size), row)
        others = rng.permutation(others)
        first = self._first(rows.y[others])
        others = np.concatenate([others[first], np.delete(others, first)])
        train = max(min(self.train, others.size // 2), first.size)
        if train == others.size:
            raise ValueError(
                f"y: got {first.size} classes in {others.size + 1} rows, expected enough rows to "
                "validate on others than one of each class; give more rows"
            )
        return others[:train], others[train:][: self.validation]


class RoniClassifier(Classes, Roni):
    """Drop a row if adding it to `draws` random training sets of `train` rows makes the accuracy
    on `validation` other rows worse on average, by more than `tolerance` (the least harmful row
    stays in any case).

    Training sets hold a row of each class; of few rows, half are drawn to train. It trains
    2 draws n models. One row's effect is small, and the rows that judge it are as poisoned as it
    is: rows that harm much are stopped, as mails that hold every word are, optimised poison is not,
    and clean rows go with it. See `Sanitiser` for what it holds once fitted.
    """

    def _first(self, y: np.ndarray) -> np.ndarray:
        return np.unique(y, return_index=True)[1]


class RoniRegressor(Numbers, Roni):
    """Drop a row if it makes the mean squared error worse on average, by more than `tolerance`.

    Otherwise `RoniClassifier`. About half of the clean rows do, by a little: set `tolerance`. Where
    gross errors are many, the error on them is what it lowers: it can be worse than no defense.
    """

    def _first(self, y: np.ndarray) -> np.ndarray:
        del y
        return np.zeros(0, int)
