"""The certified bound of the audit: what no poison within the reach exceeds."""

import math
from typing import Any

import numpy as np

from bilevel import Data
from bilevel.learners import Logistic, Ridge

from .certified import Inserted, Mixed, Relabelled, certify_damage
from .certified._damage import WIDEST
from .judge import Judge, Parts, Rows

SOLVED_BY = {
    "solver", "tol", "max_iter", "random_state", "n_jobs", "verbose", "warm_start", "copy_X",
    "multi_class", "dual", "intercept_scaling",
}  # fmt: skip
"""Parameters of scikit-learn's models that change how a problem is solved, and not which; but the
solver liblinear penalises the intercept, too.
"""


def certified_of(judge: Judge, parts: Parts, count: int, reach: str) -> float | None:
    """An upper bound of the judge's error after any attack of `count` rows within the reach, some
    added and some of other labels, of classes at most 1; None for a judge whose training has no
    such bound. It is of the solution: a solver that stops early may end elsewhere.
    """
    match = judge.match
    if match.takes_frames or not _twins(match.judge, match.twin()):
        return None
    train, test = parts.train, parts.test
    learner = match.ours(float(np.sum(train.weight)))
    domain = judge.table.encoding.domain
    targets = (-1.0, 1.0) if judge.table.task == "classes" else (0.0, 1.0)
    within: Mixed | Relabelled = Relabelled(targets)
    if reach == "observed":
        bounds = np.asarray(domain.lower, float), np.asarray(domain.upper, float)
        within = Mixed(Inserted(*bounds, targets, domain.groups, domain.optional))
    rows = Data(train.x, train.y, train.weight)
    found = certify_damage(learner, rows, Data(test.x, test.y, test.weight), count, within)
    if found is None:  # of these learners the attacker may move the model without limit
        known = isinstance(learner, Ridge | Logistic) and train.x.shape[1] <= WIDEST
        return (1.0 if judge.table.task == "classes" else math.inf) if known else None
    if judge.table.task != "classes":
        return (found.clean_loss + found.loss) / _spread(test)
    assert found.error is not None
    assert found.clean_error is not None
    worst = found.clean_error + found.error
    return 1.0 if worst >= 1 - 1e-9 else worst


def _spread(rows: Rows) -> float:
    mean = np.average(rows.y, weights=rows.weight)
    spread = np.average((rows.y - mean) ** 2, weights=rows.weight)
    return max(float(spread), np.finfo(float).tiny)


def _twins(model: Any, twin: Any) -> bool:
    """Whether two scikit-learn models solve the same problem."""
    if type(model) is not type(twin) or getattr(model, "solver", None) == "liblinear":
        return False
    ours, theirs = (
        {name: value for name, value in m.get_params().items() if name not in SOLVED_BY}
        for m in (model, twin)
    )
    return ours == theirs
