"""Seeds: neighbouring ones have no draw in common; otherwise runs over seeds are no sample."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import RidgeClassifier

from defenses.estimators import RoniClassifier
from defenses.sanitise.roni import draw_seeds
from defenses.sanitise.trim import drawn_sets

RNG = np.random.default_rng(0)
N = 24
Y = np.where(np.arange(N) % 2, 1.0, -1.0)
X = RNG.normal(size=(N, 2)) + 0.5 * Y[:, None]


class Recorded(RidgeClassifier):
    """Keeps the rows of every training."""

    seen: ClassVar[list[bytes]] = []

    def fit(self, X, y, sample_weight=None):
        self.seen.append(np.sort(X[:, 0]).tobytes())
        return super().fit(X, y, sample_weight)


def trained_on(seed: int) -> set[bytes]:
    """The sets of rows that RONI trains on to judge."""
    Recorded.seen.clear()
    RoniClassifier(Recorded(), draws=2, train=8, validation=8, random_state=seed).fit(X, Y)
    return set(Recorded.seen[:-1])


def test_roni_tries_rows_with_other_sets_for_another_seed() -> None:
    first, second = trained_on(0), trained_on(1)
    assert len(first & second) < 0.02 * len(first)
    for draws in (1, 5):
        seeds = [each for seed in range(4) for each in draw_seeds(draws, seed)]
        assert len(set(seeds)) == 4 * draws


def test_trim_restarts_from_other_sets_for_another_seed() -> None:
    used = np.arange(N) % 5 > 0
    for x, y, mask in ((X, Y, used), (jnp.asarray(X), jnp.asarray(Y), jnp.asarray(used))):
        drawn = [
            np.asarray(each).tobytes()
            for seed in range(3)
            for each in drawn_sets(x, y, mask, 12, 6, seed)
        ]
        assert len(set(drawn)) == 3 * 6
