"""What the experiments on fairness share: all attackers against the share of poison."""

import dataclasses
from typing import Annotated, Any, Literal

import numpy as np

from attacks import fairness
from benchmarks.options import SOME, Count, Share, Shares, check
from benchmarks.report import Report
from benchmarks.twins import CLASSIFIERS, DEFAULT, Twin, retrained

from ..transfer._network import NETWORK, NetworkClassifier
from ._attackers import ATTACKERS, RIVALS, Setting, lower, reverse, within
from ._cases import Audited, Case, Sizes, adult, compas

TWINS: dict[str, Twin] = {**CLASSIFIERS, "network": NETWORK}
HALF = 0.45  # of the error that the error-generic attack adds: less than half, on test rows too
TABLES = ("shares", "black-box", "defended")
Table = Literal["shares", "black-box", "defended"]


@dataclasses.dataclass(frozen=True)
class Options:
    """How much poison, on which rows."""

    tables: Annotated[tuple[Table, ...], SOME] = TABLES
    """Tables to make: every attacker against the share of poison, other victims, defenses."""
    shares: Shares = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
    """Shares of poison among all training rows."""
    share: Share = 0.2
    """Share of poison in the tables of other victims and of defenses, and where attackers are
    compared at an equal loss of accuracy."""
    seeds: Count = 5
    """Number of random draws."""
    train: Count = 1000
    """Clean training rows; the attacker who does not know them has as many."""
    validation: Count = 1000
    """Validation rows of the attacker."""
    test: Count = 5000
    """Test rows, at most."""
    learner: Literal["logistic", "svm", "network"] = "logistic"
    """The victim of the first table, whom the attacker knows."""
    steps: Count = 70
    """Steps of an attack."""

    def __post_init__(self):
        check(self)

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.train, self.validation, self.test)

    def case(self, data: str, seed: int) -> Case:
        """A draw of a table."""
        return {"compas": compas, "adult": adult}[data]()(self.sizes, seed)

    def points(self, share: float) -> int:
        """Poison rows beside the clean ones."""
        return max(1, round(share * self.train / (1 - share)))

    def setting(self, case: Case, share: float, seed: int, train: Audited | None = None) -> Setting:
        """The attacker of the victim, or of a surrogate on other rows. All shares have the same
        slots, and so compiled programs in common.
        """
        slots, count = self.points(max(*self.shares, self.share)), self.points(share)
        learner = TWINS[self.learner].ours(DEFAULT, self.train + count)
        rows = case.train if train is None else train
        return Setting(rows, case, learner, slots, count, seed, self.steps)


def cells(model: Any, test: Audited) -> dict[str, float]:
    """Figures of a trained scikit-learn estimator on test rows, group 0 against group 1."""
    return figures(model.predict(test.x), test)


def figures(predicted: np.ndarray, test: Audited) -> dict[str, float]:
    """The same of predictions."""
    found = fairness.report(test.y, np.where(np.asarray(predicted) > 0, 1, -1), test.group)
    between = found.between(0, 1)
    rates = {"fnr": found.false_negative_rates, "fpr": found.false_positive_rates}
    return {
        "test_err": 1 - found.accuracy,
        "impact": between.disparate_impact,
        "parity": between.parity_difference,
        "opportunity": between.equal_opportunity_difference,
        "odds": between.equalised_odds_difference,
        "average_odds": between.average_odds_difference,
        **{f"{name}_{g}": float(rate[g]) for name, rate in rates.items() for g in (0, 1)},
    }


def judged(options: Options, case: Case, poison: Audited | None, seed: int) -> dict[str, float]:
    """Figures of scikit-learn's learner, trained anew."""
    if options.learner == "network":
        theirs = NetworkClassifier(DEFAULT, seed)
    else:
        theirs = TWINS[options.learner].theirs(DEFAULT)
    return cells(retrained(theirs, case.train, *(() if poison is None else (poison,))), case.test)


def make_share(options: Options, data: str, seed: int, share: float) -> dict[str, list]:
    """The rows of all attackers at one share of poison, 0 for none, and draw."""
    case = options.case(data, seed)
    rows = []
    for name in ATTACKERS if share else ("none",):
        poison = ATTACKERS[name](options.setting(case, share, seed)) if share else None
        key = {"table": "shares", "attacker": name, "share": share, "seed": seed}
        rows.append(key | judged(options, case, poison, seed))
    return {"rows": rows}


def make_equal(options: Options, data: str, seed: int) -> dict[str, list]:
    """The rows of attackers that cost as much accuracy as another one, or half as much."""
    case = options.case(data, seed)
    setting = options.setting(case, options.share, seed)
    poison = {
        f"impact-as-{rival}": within(setting, lower, setting.mistakes(ATTACKERS[rival](setting)))
        for rival in RIVALS
    }
    clean, generic = setting.mistakes(), setting.mistakes(ATTACKERS["error-generic"](setting))
    for name, drive in (("impact", lower), ("reverse", reverse)):
        poison[f"{name}-at-half"] = within(setting, drive, clean + HALF * (generic - clean))
    rows = [
        {
            "table": "shares", "attacker": name, "share": options.share, "seed": seed,
            **judged(options, case, rows, seed),
        }
        for name, rows in poison.items()
    ]  # fmt: skip
    return {"rows": rows}


def shares(data: str, options: Options, report: Report) -> None:
    """One row per attacker, share and draw."""
    draws = [{"data": data, "seed": seed} for seed in range(options.seeds)]
    units = [unit | {"share": s} for unit in draws for s in (0.0, *options.shares)]
    report.each(make_share, options, units, "shares")
    report.each(make_equal, options, draws, "at an equal loss of accuracy")
