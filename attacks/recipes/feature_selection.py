"""Poisoning feature selection (Xiao et al., "Is feature selection secure against training data
poisoning?", ICML 2015): LASSO, elastic net and ridge select features by their weights.

The attacker knows the training rows, the learner and its strengths, and validation rows. The
attacker inserts a few rows with labels of choice. Defenses: outlier filters and label
sanitisation, in `defenses`; the experiment `arena` measures the attack against them.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float, Shaped

from bilevel import Ascent, Data
from bilevel.learners import ElasticNet, Lasso, Ridge
from bilevel.losses import Squares

from ..domains import AbstractDomain
from ..goals import Penalised, indiscriminate
from ._recipe import Recipe
from .classifier_poisoning import poison_classifier

Features = Sequence[int] | np.ndarray
"""Indices of selected features, in any order."""

Sets = Sequence[Features]


def poison_feature_selection(
    train: Data,
    start: Float[ArrayLike, "m d"],
    labels: Shaped[ArrayLike, " m"],
    validation: Data,
    learner: Lasso | ElasticNet | Ridge,
    *,
    weight: Float[ArrayLike, " m"] | None = None,
    domain: AbstractDomain | None = None,
    steps: int = 70,
    ascent: Ascent = Ascent(),
) -> Recipe:
    """`poison_classifier` with the paper's objective: the learner's objective on validation rows.

    It is the mean of half the squares on `validation` plus the learner's penalty of its weights. It
    does not depend on the selected features directly; `kuncheva_index` measures their change. The
    arguments and errors are those of `poison_classifier`.
    """
    strengths: dict[str, Any] = {
        name: getattr(learner, name) for name in ("l1", "l2") if hasattr(learner, name)
    }
    goal = Penalised(indiscriminate(validation.x, validation.y, Squares()), **strengths)
    return poison_classifier(
        train, start, labels, validation, learner,
        weight=weight, goal=goal, domain=domain, steps=steps, ascent=ascent,
    )  # fmt: skip


def selected(weights: Float[np.ndarray, " d"], count: int | None = None) -> np.ndarray:
    """Indices (k,), ascending, of the features that a linear model selects.

    - `weights` (d,): of the model.
    - `count`: select the features of the `count` largest |weights|; among equal weights the first
      ones. By default all features of weight other than 0. ValueError unless 1 <= `count` <= d.
    """
    weights = np.asarray(weights)
    if count is None:
        return np.flatnonzero(weights)
    if not 1 <= count <= weights.size:
        raise ValueError(f"count: got {count}, expected 1 to {weights.size}, the features")
    return np.sort(np.argsort(-np.abs(weights), kind="stable")[:count])


def kuncheva_index(sets: Sets, features: int) -> float:
    """Kuncheva's index of the stability of sets of k selected features among d, mean of all pairs.

        (r - k^2/d) / (k - k^2/d), r the size of the intersection

    (Kuncheva, "A stability index for feature selection", 2007.) It is 1 for equal sets, about 0 for
    random sets, and at least -1.

    - `sets`: two or more, each of k different indices, 0 < k < d; otherwise ValueError. For sets of
      several sizes use `lustgarten_index`, or select the top k by |weight|.
    - `features`: their number d.
    """
    sizes = {len(s) for s in _checked(sets, features)}
    if len(sizes) > 1:
        raise ValueError(
            f"sets: got sizes {sorted(sizes)}, expected one size; use the top k features by "
            "selected(weights, k), or lustgarten_index"
        )
    k = sizes.pop()
    if not 0 < k < features:
        raise ValueError(f"sets: got {k} of {features} features, expected some but not all")
    chance = k * k / features
    return _mean_over_pairs(sets, lambda a, b: (_common(a, b) - chance) / (k - chance))


def lustgarten_index(sets: Sets, features: int) -> float:
    """Lustgarten's index of the stability of sets of selected features of any sizes k1, k2 among d,
    mean of all pairs.

        (r - k1 k2 / d) / (min(k1, k2) - max(0, k1 + k2 - d))

    (Lustgarten, Gopalakrishnan & Visweswaran, "Measuring stability of feature selection in
    biomedical datasets", 2009.) It is about 0 for random sets. Equal sets have 1 - k/d, not 1
    (for k <= d/2), so that it differs from Kuncheva's index for sets of one size. A pair whose
    intersection cannot vary (an empty set, or all features) counts 0.

    - `sets`: two or more, each of different indices; otherwise ValueError.
    - `features`: their number d.
    """

    def one(a, b):
        k1, k2 = len(a), len(b)
        room = min(k1, k2) - max(0, k1 + k2 - features)
        return (_common(a, b) - k1 * k2 / features) / room if room else 0.0

    return _mean_over_pairs(_checked(sets, features), one)


def _checked(sets: Sets, features: int) -> Sets:
    if len(sets) < 2:
        raise ValueError(f"sets: got {len(sets)}, expected two or more sets of features")
    for one in sets:
        if len(set(map(int, one))) < len(one) or not all(0 <= int(j) < features for j in one):
            raise ValueError(
                f"sets: got {np.asarray(one)}, expected different indices from 0 to "
                f"{features - 1}; for a mask give np.flatnonzero(mask)"
            )
    return sets


def _common(a: Features, b: Features) -> int:
    return len(np.intersect1d(a, b))


def _mean_over_pairs(sets, index: Callable[[Any, Any], float]) -> float:
    return float(np.mean([index(a, b) for a, b in itertools.combinations(sets, 2)]))
