"""RONI, reject on negative impact, around any scikit-learn model (Nelson et al., "Exploiting
machine learning to subvert your spam filter", LEET 2008).
"""

import abc
import time
import warnings

import numpy as np
from jaxtyping import Bool
from joblib import effective_n_jobs

from bilevel.tools import require_count

from .._arguments import balance_argument
from ..sanitise._quotas import BALANCE, by_quota
from ..sanitise._selection import no_worse
from ..sanitise._sets import others, told_apart
from ..sanitise.roni import draw_seeds, mean_impact
from ._rows import Rows, seed_of
from ._sanitiser import Sanitiser, Seen
from ._tasks import Classes, Numbers, in_parallel

FIRST = 10
"""Trials that the time of all is estimated by."""
LONG = 60.0
"""Seconds beyond which it is told."""
CHUNKS = 64
"""Of trials, that processes share."""


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
        budget=None,
        check=False,
        n_jobs=None,
    ):
        self.estimator = estimator
        self.draws = draws
        self.train = train
        self.validation = validation
        self.tolerance = tolerance
        self.random_state = random_state
        self.balance = balance
        self.budget = budget
        self.check = check
        self.n_jobs = n_jobs

    def _inspect(self, rows: Rows) -> Seen:
        draws, balance = require_count("draws", self.draws), balance_argument(self.balance)
        train, validation = self._sizes(rows)
        used, groups = np.ones(rows.y.size, bool), self._groups(rows)
        hashes = [rows.hashes(seed) for seed in draw_seeds(draws, seed_of(self.random_state))]
        sets = np.concatenate([
            np.asarray(others(told_apart(each, used), used, groups, train, validation))
            for each in hashes
        ])  # fmt: skip
        many = self._trials(len(sets))

        def rise(trial: np.integer) -> float:
            chosen, row = sets[trial], trial % used.size
            held_out = rows.take(chosen[train:])
            without = self._train(rows.take(chosen[:train]))
            joined = self._train(rows.take(np.append(chosen[:train], row)))
            return self._badness(joined, held_out) - self._badness(without, held_out)

        def rises(trials: np.ndarray) -> list[float]:
            return [rise(trial) for trial in trials]

        harm, began = np.zeros(len(sets)), time.perf_counter()
        first, rest = np.split(np.arange(many), [FIRST])
        harm[first] = rises(first)
        self._say_first(many, (time.perf_counter() - began) / first.size)
        chunks = np.array_split(rest, min(CHUNKS, max(1, rest.size)))
        harm[rest] = np.concatenate(in_parallel(self.n_jobs, rises, chunks))
        made = (np.arange(len(sets)) < many).reshape(draws, used.size)
        impact = mean_impact(harm.reshape(made.shape), made, hashes[0])
        harmless = no_worse(impact, self.tolerance, used)
        keep = by_quota(impact, harmless, used, self._group(rows), balance)
        unjudged = int(np.sum(~made.any(axis=0)))
        remark = f"{unjudged} rows beyond the budget were not judged" if unjudged else ""
        return Seen(rows.y, keep, impact, 2 * many, remark)

    def _trials(self, most: int) -> int:
        """How many trials the budget allows, of two trainings each."""
        if self.budget is None:
            return most
        return min(most, require_count("budget", self.budget, 2) // 2)

    def _say_first(self, trials: int, seconds: float) -> None:
        """Warn of the time that all trials take, if one takes so many seconds."""
        jobs: int = effective_n_jobs(self.n_jobs)  # pyright: ignore[reportArgumentType]
        left = seconds * trials / jobs
        if left > LONG:
            warnings.warn(
                f"RONI trains {2 * trials} models, which takes about {left / 60:.0f} minutes by "
                f"the first {2 * FIRST}; budget bounds their number, n_jobs shares them",
                stacklevel=5,
            )

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
    judged together. One row's effect is small, and the rows that judge it are as poisoned as it is:
    rows that harm much are stopped, as mails that hold every word are, optimised poison is not, and
    clean rows go with it.

    It trains 2 draws n models, and warns first if that takes more than a minute. `budget` is the
    most to train: rows are tried draw by draw while it lasts, in an order that depends on their
    content, and rows that are never tried stay. `n_jobs` processes share the trainings. See
    `Sanitiser` for what it holds once fitted.
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
