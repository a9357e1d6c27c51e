"""RONI, reject on negative impact, around any scikit-learn model (Nelson et al., "Exploiting
machine learning to subvert your spam filter", LEET 2008).
"""

import abc

import numpy as np
from jaxtyping import Bool

from bilevel.tools import require_count

from .._arguments import balance_argument
from ..sanitise._quotas import BALANCE, by_quota
from ..sanitise._selection import no_worse
from ..sanitise._sets import others, told_apart
from ..sanitise.roni import draw_seeds, mean_impact
from ._rows import Rows, seed_of
from ._sanitiser import Sanitiser, Seen
from ._tasks import Classes, Numbers


class Roni(Sanitiser):
    """Rejects rows that make small models worse. Shared by both tasks."""

    _fewest_rows = 3

    def __init__(
        self,
        estimator,
        draws=5,
        train=20,
        validation=50,
        tolerance=0.0,
        random_state=None,
        balance=BALANCE,
    ):
        self.estimator = estimator
        self.draws = draws
        self.train = train
        self.validation = validation
        self.tolerance = tolerance
        self.random_state = random_state
        self.balance = balance

    def _inspect(self, rows: Rows) -> Seen:
        draws, balance = require_count("draws", self.draws), balance_argument(self.balance)
        train, validation = self._sizes(rows)
        used, groups = np.ones(rows.y.size, bool), self._groups(rows)
        hashes = [rows.hashes(seed) for seed in draw_seeds(draws, seed_of(self.random_state))]
        harm = np.zeros((draws, rows.y.size))
        for of_draw, each in zip(harm, hashes, strict=True):
            sets = np.asarray(others(told_apart(each), used, groups, train, validation))
            for row, chosen in enumerate(sets):
                held_out = rows.take(chosen[train:])
                without = self._train(rows.take(chosen[:train]))
                joined = self._train(rows.take(np.append(chosen[:train], row)))
                rise = self._badness(joined, held_out) - self._badness(without, held_out)
                of_draw[row] = rise
        impact = mean_impact(harm, used, hashes[0])
        harmless = no_worse(impact, self.tolerance, used)
        keep = by_quota(impact, harmless, used, self._group(rows), balance)
        return Seen(rows.y, keep, impact, 2 * harm.size)

    @abc.abstractmethod
    def _groups(self, rows: Rows) -> Bool[np.ndarray, "k n"]:
        """Rows of which every training set must hold one, masks."""

    def _sizes(self, rows: Rows) -> tuple[int, int]:
        """How many rows to train on, and how many others to validate on."""
        train, validation = (
            require_count(name, getattr(self, name)) for name in ("train", "validation")
        )
        rest, groups = rows.y.size - 1, len(self._groups(rows))
        train = max(min(train, rest // 2), groups)
        if train >= rest:
            raise ValueError(
                f"y: got {groups} classes in {rest + 1} rows, expected enough rows to "
                "validate on others than one of each class; give more rows"
            )
        return train, min(validation, rest - train)


class RoniClassifier(Classes, Roni):
    """Drop a row if adding it to `draws` random training sets of `train` rows makes the accuracy
    on `validation` other rows worse on average, by more than `tolerance`. The least harmful
    rows of each class stay in any case: `balance` times the share kept of the others.

    Training sets hold a row of each class; of few rows, half are drawn to train. Equal rows are
    judged together. It trains 2 draws n models. One row's effect is small, and the rows that judge
    it are as poisoned as it is: rows that harm much are stopped, as mails that hold every word are,
    optimised poison is not, and clean rows go with it. See `Sanitiser` for what it holds once
    fitted.
    """

    def _groups(self, rows: Rows) -> Bool[np.ndarray, "k n"]:
        return rows.target[None, :] == np.unique(rows.target)[:, None]


class RoniRegressor(Numbers, Roni):
    """Drop a row if it makes the mean squared error worse on average, by more than `tolerance`.

    Otherwise `RoniClassifier`. About half of the clean rows do, by a little: set `tolerance`. Where
    gross errors are many, the error on them is what it lowers: it can be worse than no defense.
    """

    def _groups(self, rows: Rows) -> Bool[np.ndarray, "k n"]:
        return np.zeros((0, rows.y.size), bool)
