"""Mails that hold every word, and RONI: how much ham a spam filter loses, with and without.

Nelson et al., "Exploiting machine learning to subvert your spam filter", LEET 2008: attack mails of
all words, labelled spam, make every word suspect; a defense rejects mails that have a negative
impact on small filters. Beside them, optimised poison, by an attacker that does not know RONI, and
the same mails not moved.

Mails are binary bags of words. The paper's filter is SpamBayes; ours is its scores of words, added
up (`tokens`), and logistic regression, to which the dictionary attack does little.
"""

import dataclasses
import time
from typing import Annotated, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression

from attacks import poison_classifier
from benchmarks.ascents import CLASSIFIERS as ASCENT
from benchmarks.clock import timed
from benchmarks.data import Parts, Table, spambase
from benchmarks.data.enron import enron
from benchmarks.options import Count, Positive, Share, check, share_below
from benchmarks.report import Report, band
from benchmarks.twins import CLASSIFIERS, Strengths
from bilevel import Data
from bilevel.learners import AbstractLearner
from defenses import Inspection, Roni

from ._token_filter import TokenFilter

LEARNERS = ("tokens", "logistic")
WORDS_OF_SPAMBASE = 54
"""Its first columns: how often 48 words and 6 characters occur."""
TIMED = 50
"""Rows whose trainings scikit-learn is timed on."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Mails, shares of attack mails, and settings of RONI."""

    data: Literal["spambase", "enron"] = "spambase"
    """Which mails; enron is enron1 of Metsis et al. (2006) from the folder BILEVEL_DATA."""
    words: Count = 1000
    """Number of words of enron, the most frequent ones."""
    shares: Annotated[tuple[float, ...], share_below(0.5)] = (0.01, 0.02, 0.05, 0.1, 0.2)
    """Shares of attack mails among the training mails."""
    optimised: Share = 0.05
    """Share of optimised poison among the training mails, and of its control, not moved."""
    splits: Count = 10
    """Number of random splits."""
    train: Count = 1000
    """Training mails, attack mails included."""
    calibration: Count = 600
    """Clean mails that set RONI's tolerance."""
    validation: Count = 1000
    """The attacker's own mails: optimised poison starts from some, and raises the loss of all."""
    test: Count = 2000
    """Held-out test mails."""
    draws: Count = 5
    """Trials of RONI per mail."""
    keep: Share = 0.99
    """Share of clean mails that RONI keeps: its tolerance is this quantile of their impacts."""
    C: Positive = 1.0
    """Weight of the mails in the logistic regression, as scikit-learn counts it."""
    steps: Count = 50
    """Steps of the optimised attack."""

    def __post_init__(self):
        check(self)


def mails(options: Options) -> Table:
    """Rows of 0 and 1; +1 is spam."""
    if options.data == "enron":
        return enron(options.words)
    held = spambase()
    words = slice(0, WORDS_OF_SPAMBASE)
    return Table((held.x[:, words] > 0).astype(float), held.y, held.names[words])


def filter_of(kind: str, options: Options) -> AbstractLearner:
    """Of as many mails as there are to train on."""
    if kind == "tokens":
        return TokenFilter()
    return CLASSIFIERS[kind].ours(Strengths(C=options.C), options.train)


@eqx.filter_jit
def inspected(defended: Roni, data: Data) -> Inspection:
    """What RONI makes of the mails, compiled."""
    return defended.inspect(data)


def lost(of: AbstractLearner, data: Data, test: Table) -> tuple[float, float]:
    """Share of ham taken for spam, share of all mails that are misjudged."""
    wrong = test.y * np.asarray(of.fit(data).model.decision(jnp.asarray(test.x))) <= 0
    return float(np.mean(wrong[test.y < 0])), float(np.mean(wrong))


def poison(kind: str, many: int, parts: Parts, of: AbstractLearner, steps: int) -> np.ndarray:
    """Attack mails (many, words), to be labelled spam. Optimised ones start as ham, are moved in
    [0, 1], and rounded to mails at the end; the control is not moved.
    """
    if kind == "dictionary":
        return np.ones((many, parts.train.x.shape[1]))
    clean, held = (Data(rows.x, rows.y) for rows in (parts.train, parts.validation))
    start = jnp.asarray(parts.validation.x[parts.validation.y < 0][:many])
    if kind == "not-moved":
        return np.asarray(start)
    attack = poison_classifier(clean, start, jnp.ones(many), held, of, steps=steps, ascent=ASCENT)
    return np.round(np.asarray(attack.climb().z))


def dealt(table: Table, options: Options, split: int) -> tuple[Parts, Table]:
    """Training, validation and test mails, and those that set RONI's tolerance: disjoint."""
    train, own = options.train, options.calibration
    parts = table.split(train + own, options.validation, options.test, split)
    rows, calibration = np.split(np.arange(train + own), [train])
    return parts._replace(train=parts.train.rows(rows)), parts.train.rows(calibration)


def make_rows(options: Options, learner: str, split: int) -> dict[str, list]:
    """The rows of all attacks on a learner and split."""
    parts, own = dealt(mails(options), options, split)
    of = filter_of(learner, options)
    trial = Roni(of, options.draws)
    impacts = inspected(trial, Data(own.x, own.y)).score
    defended = Roni(of, options.draws, tolerance=jnp.quantile(impacts, options.keep))
    rows = [
        {
            "learner": learner, "attack": attack, "share": share, "split": split,
            **_attacked(attack, share, parts, defended, options, split),
        }
        for attack, share in _attacks(options)
    ]  # fmt: skip
    return {"rows": rows}


def run(options: Options, report: Report) -> None:
    """One row per learner, attack, share and split."""
    units = [{"learner": kind, "split": s} for kind in LEARNERS for s in range(options.splits)]
    report.each(make_rows, options, units, f"roni-spam, {options.data}")
    _notes(options, report)
    report.note(_speed(mails(options), options))
    if report.out is not None:
        from benchmarks.pictures.roni_spam import draw

        report.figure("roni-spam", draw(options.data, report.rows))


def _attacks(options: Options) -> list[tuple[str, float]]:
    """Names and shares; a share of 0 is no attack."""
    words = [("dictionary", share) for share in (0.0, *options.shares)]
    return [*words, ("optimised", options.optimised), ("not-moved", options.optimised)]


def _attacked(
    attack: str, share: float, parts: Parts, defended: Roni, options: Options, split: int
) -> dict[str, float]:
    many = round(share * options.train)
    kept = parts.train.rows(np.arange(options.train - many))
    clean = parts._replace(train=kept)
    bad = poison(attack, many, clean, defended.learner, options.steps)
    mixed = np.random.default_rng([1, split]).permutation(options.train)
    x = np.concatenate([kept.x, bad])[mixed]
    y = np.concatenate([kept.y, np.ones(many)])[mixed]
    is_bad = mixed >= len(kept.y)
    data = Data(x, y)
    inspection, _, cpu = timed(lambda: inspected(defended, data))
    out = ~np.asarray(inspection.kept)
    undefended, error = lost(defended.learner, data, parts.test)
    with_roni, error_with = lost(defended.learner, inspection.data, parts.test)
    return {
        "ham_lost_err": undefended, "ham_lost_roni_err": with_roni,
        "test_err": error, "test_roni_err": error_with,
        "poison_rejected": float(np.mean(out[is_bad])) if many else float("nan"),
        "ham_rejected": float(np.mean(out[~is_bad & (y < 0)])),
        "spam_rejected": float(np.mean(out[~is_bad & (y > 0)])),
        "tolerance": float(defended.tolerance), "cpu_seconds": cpu,
    }  # fmt: skip


def _notes(options: Options, report: Report) -> None:
    for kind in LEARNERS:
        for attack, share in _attacks(options):
            key = (kind, attack, share)
            rows = [r for r in report.rows if (r["learner"], r["attack"], r["share"]) == key]
            figures = ", ".join(
                f"{what} {band([100 * r[cell] for r in rows])}"
                for what, cell in (
                    ("ham lost", "ham_lost_err"), ("with RONI", "ham_lost_roni_err"),
                    ("test error", "test_err"), ("with RONI", "test_roni_err"),
                    ("ham rejected", "ham_rejected"), ("ordinary spam rejected", "spam_rejected"),
                )
            )  # fmt: skip
            rejected = [100 * r["poison_rejected"] for r in rows] if share else []
            poison = f", poison rejected {band(rejected)}" if share else ""
            report.note(
                f"{kind}, {attack}, {100 * share:g} % of the mails, per cent: {figures}{poison}"
            )
    report.note(f"each: {options.splits} splits")


def _speed(table: Table, options: Options) -> str:
    """RONI beside a loop of the same trainings and predictions by scikit-learn, in CPU seconds."""
    parts = table.split(options.train, 0, 0, 0)
    data = Data(parts.train.x, parts.train.y)
    defended = Roni(filter_of("logistic", options), options.draws)
    timed(lambda: inspected(defended, data))
    ours = min(timed(lambda: inspected(defended, data))[2] for _ in range(3))
    rng, x, y = np.random.default_rng(0), parts.train.x, parts.train.y
    model = LogisticRegression(C=options.C * options.train / defended.train)
    many = min(TIMED, options.train)
    begin = time.process_time()
    for _ in range(many * options.draws):
        others = rng.permutation(len(y))[: defended.train + defended.validation - 1]
        drawn = np.concatenate([[np.argmax(y > 0), np.argmax(y < 0)], others])  # of both classes
        for rows in (drawn[: defended.train], drawn[: defended.train + 1]):
            model.fit(x[rows], y[rows]).predict(x[drawn[defended.train + 1 :]])
    theirs = (time.process_time() - begin) * options.train / many
    return (
        f"RONI on {options.train} mails, {2 * options.draws * options.train} trainings of the "
        f"logistic filter: {ours:.3g} CPU s, {theirs / ours:.0f} times faster than scikit-learn in "
        f"a loop ({theirs:.3g} s, from {many} mails)"
    )
