"""Poison that meets other victims: black boxes, sanitisers, learners of fairness; unaware of them
and adapted to them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

import defenses
from attacks import Box, Columns, World
from benchmarks.twins import DEFAULT, retrained
from bilevel import Data
from bilevel.learners import AbstractLearner
from defenses import AbstractDefense, Inspection

from ._attackers import ATTACKERS, Setting, impact, lower, starts
from ._cases import Audited, Case, together
from ._shares import Options, cells, figures
from ._victims import BLACK_BOXES, FAIR, limited

POISONS = ("none", "group-flips", "impact", "hide")
DEFENSES: Mapping[str, Callable[[AbstractLearner], AbstractDefense]] = {
    "filter": defenses.Filter,
    "trim": defenses.Trim,
    "sever": defenses.Sever,
    "relabel": defenses.Relabel,
    "micro-models": defenses.MicroModels,
    "confident-learning": defenses.ConfidentLearning,
    "roni": defenses.Roni,
    "duplicates": defenses.Duplicates,
    "partition": lambda learner: defenses.Partition(learner, 10),
}
"""Each at its defaults, but for 10 partitions: the 50 of the default are too many for some hundred
rows with copies.
"""
STEPS = 30  # of an adapted attack, from one start


def make_black_boxes(options: Options, data: str, seed: int) -> dict[str, list]:
    """The rows of all victims and poisons on a draw. The attacker has other training rows and a
    surrogate.
    """
    case = options.case(data, seed)
    setting = options.setting(case, options.share, seed, case.surrogate)
    rows = []
    for name in POISONS:
        poison = None if name == "none" else ATTACKERS[name](setting)
        for victim, make in BLACK_BOXES.items():
            model = retrained(make(seed), together(case.train, poison))
            key = {"table": "black-box", "victim": victim, "attacker": name, "seed": seed}
            rows.append(key | cells(model, case.test))
    return {"rows": rows}


def sanitised(defense: AbstractDefense, train: Audited, test: Audited) -> dict[str, float]:
    """Figures of scikit-learn's logistic regression on the rows that a sanitiser keeps, or of the
    votes of an ensemble.
    """
    rows = Data(train.x, train.y)
    fitted = defense.fit(rows)
    if not isinstance(fitted.report, Inspection):
        return figures(np.asarray(fitted.model.predict(test.x)), test)
    weight, y = (np.asarray(a) for a in (fitted.report.data.weight, fitted.report.data.y))
    strength = DEFAULT.C * len(train.y) / weight.sum()  # that of the learner, which averages
    model = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000)
    return cells(model.fit(train.x, y, sample_weight=weight), test)


def better(setting: Setting, victim: AbstractLearner, *poisons: Audited) -> Audited:
    """The poison after which the victim's smooth disparate impact on validation rows is lowest."""
    goal = impact(setting.case.validation)

    def value(poison: Audited) -> float:
        rows = together(setting.train, poison)
        model = victim.fit(Data(rows.x, rows.y), throw=False).model
        return float(np.nan_to_num(goal.score(model, World(setting.data)), nan=np.inf))

    return min(poisons, key=value)


def adapted(setting: Setting, surrogate: AbstractLearner) -> Audited:
    """Poison against a surrogate of a defended learner, from one start."""
    short = setting._replace(learner=surrogate, slots=setting.count, steps=STEPS)
    return lower(short, options=starts(short)[:1])


def make_sanitised(options: Options, data: str, seed: int) -> dict[str, list]:
    """The rows of all defenses and poisons on a draw."""
    case = options.case(data, seed)
    setting = options.setting(case, options.share, seed)
    poison = {name: ATTACKERS[name](setting) for name in POISONS if name != "none"}
    unaware = {"none": case.train} | {n: together(case.train, p) for n, p in poison.items()}
    rows = []
    for name, wrap in DEFENSES.items():
        defense = wrap(setting.learner)
        made = adapted(setting, defense.surrogate(setting.data))
        best = better(setting, defense, poison["impact"], made)
        for attacker, train in {**unaware, "adapted": together(case.train, best)}.items():
            key = {"table": "defended", "victim": name, "attacker": attacker, "seed": seed}
            rows.append(key | sanitised(defense, train, case.test))
    return {"rows": rows}


def with_group(case: Case) -> Case:
    """The group as the last feature, which the attacker chooses among its values."""

    def widened(rows: Audited) -> Audited:
        x = rows.x if case.protected is None else np.delete(rows.x, case.protected, axis=1)
        return Audited(np.column_stack([x, rows.group]), rows.y, rows.group)

    parts = [widened(rows) for rows in case[:4]]
    return Case(*parts, domain=_with_group(case), protected=parts[0].x.shape[1] - 1)


def _with_group(case: Case) -> Columns:
    domain = case.domain
    assert isinstance(domain, Box | Columns)
    d = case.train.x.shape[1]
    spacing = domain.spacing if isinstance(domain, Columns) else 0.0
    ends = [np.broadcast_to(np.asarray(a), (d,)) for a in (domain.lower, domain.upper, spacing)]
    kept = [i for i in range(d) if i != case.protected]
    lower, upper, spacing = (
        np.append(a[kept], last) for a, last in zip(ends, (0, 1, 1), strict=True)
    )
    place = {old: new for new, old in enumerate(kept)}
    groups = domain.groups if isinstance(domain, Columns) else ()
    optional = domain.optional if isinstance(domain, Columns) else ()
    renamed = [[place[i] for i in group] for group in groups]
    return Columns(lower, upper, spacing, renamed, optional)


def make_fair(options: Options, data: str, seed: int) -> dict[str, list]:
    """The rows of all learners of fairness and poisons on a draw. Poison adapted to any of them is
    made against `FairLogistic`, exactly; the group is a feature.
    """
    case = with_group(options.case(data, seed))
    setting = options.setting(case, options.share, seed)
    names = (n for n in POISONS if n != "none")
    poison: dict[str, Any] = {"none": None} | {n: ATTACKERS[n](setting) for n in names}
    assert case.protected is not None
    fair = limited(case.protected, options.train + setting.count)
    poison["adapted"] = lower(setting._replace(learner=fair))
    rows = [
        {
            "table": "fair", "victim": victim, "attacker": attacker, "seed": seed,
            **figures(fit(together(case.train, bad), case.test, seed), case.test),
        }
        for victim, fit in FAIR.items()
        for attacker, bad in poison.items()
    ]  # fmt: skip
    return {"rows": rows}
