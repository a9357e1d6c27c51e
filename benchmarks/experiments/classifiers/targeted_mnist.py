"""Digits 8 classified as 3, the others as before: a targeted attack on softmax regression, MNIST.

Munoz-Gonzalez et al., AISec 2017, with the exact hypergradient: copies of training 8s, labelled 3,
are moved so that the retrained classifier takes validation 8s for 3s and loses little elsewhere.
`keep` weighs the second against the first: a row for each draws the trade-off. Success and
accuracies are scikit-learn's, trained anew, on digits that the attacker has not seen.
"""

import dataclasses
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression

from attacks import Box, poison_classifier, targeted
from benchmarks.clock import timed
from benchmarks.data import Rows, mnist
from benchmarks.options import Count, Positive, Share, at_least, between, check, refuse
from benchmarks.report import Report, UsageError, band
from benchmarks.twins import retrained
from bilevel import Ascent, Data, Optimized
from bilevel.derivatives import Implicit
from bilevel.learners import Softmax
from bilevel.linear import CG
from bilevel.losses import CrossEntropy
from bilevel.solvers import NewtonCG

ROUGH = 1e-6
"""Tolerance of inner solves and adjoints: an ascent needs no more, and CG pays for each digit."""
ASCENT = Ascent(first=6.0, last=0.1)
"""Lengths of the steps; pixels are in [0, 1]."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Source and wanted class, amount of poison, and sizes."""

    source: Annotated[int, between(0, 9)] = 8
    """Digit that is to be misclassified."""
    wanted: Annotated[int, between(0, 9)] = 3
    """Digit that it is to be classified as."""
    rate: Share = 0.05
    """Poisoning rate: share of poison among all training rows."""
    keeps: Annotated[tuple[float, ...], at_least(0)] = (0.1, 0.3, 1.0)
    """Weights of the loss on the other digits."""
    splits: Count = 10
    """Random splits of 5,000 digits."""
    train: Count = 1000
    """Clean training digits."""
    validation: Count = 1500
    """Validation digits: the attacker raises the loss on them."""
    steps: Count = 90
    """Steps of the attack."""
    l2: Positive = 0.01
    """Strength of the penalty."""

    def __post_init__(self):
        check(self)
        if self.source == self.wanted:
            refuse("wanted", self.wanted, "another digit than --source")
        if self.train + self.validation >= 5000:
            raise UsageError(
                f"--train, --validation: got {self.train}, {self.validation}, expected fewer than "
                "5,000 in all: the other digits are test digits"
            )


def parts(options: Options, split: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training, validation and test digits."""
    digits = mnist()
    order = np.random.default_rng(split).permutation(len(digits.labels))
    ends = np.cumsum([options.train, options.validation])
    return [
        (digits.images[rows] / 255.0, digits.labels[rows].astype(float))
        for rows in np.split(order, ends)
    ]


def attack(options: Options, train, validation, start: np.ndarray, keep: float) -> Optimized:
    """Move the rows of `start`, labelled as wanted."""
    (x, y), source = validation, validation[1] == options.source
    wanted = np.full(int(source.sum()), float(options.wanted))
    goal = targeted(x[source], wanted, x[~source], y[~source], CrossEntropy(), keep)
    learner = Softmax(
        10, options.l2, solver=NewtonCG(tol=ROUGH, cg_tol=ROUGH),
        derivative=Implicit(CG(ROUGH, precondition=False)),
    )  # fmt: skip
    return poison_classifier(
        Data(*train), jnp.asarray(start), jnp.full(len(start), float(options.wanted)),
        Data(x, y), learner, goal=goal, domain=Box(0.0, 1.0), steps=options.steps,
        ascent=ASCENT,
    ).climb()  # fmt: skip


def outcome(options: Options, train, test, poison: np.ndarray) -> dict[str, float]:
    """Of scikit-learn's softmax regression with the poison, on test digits."""
    added = Rows(poison, np.full(len(poison), float(options.wanted)))
    C = 1 / (options.l2 * (len(train[1]) + len(poison)))
    softmax = LogisticRegression(C=C, max_iter=1000, tol=1e-6)
    predicted = retrained(softmax, Rows(*train), added).predict(test[0])
    source = test[1] == options.source
    return {
        "success": float(np.mean(predicted[source] == options.wanted)),
        "source_err": float(np.mean(predicted[source] != options.source)),
        "rest_err": float(np.mean(predicted[~source] != test[1][~source])),
    }


def make_rows(options: Options, split: int, keep: float) -> dict[str, Any]:
    """The row of one split and weight."""
    train, validation, test = parts(options, split)
    count = max(1, round(options.rate * options.train / (1 - options.rate)))
    sources = train[0][train[1] == options.source]
    start = np.resize(sources, (count, sources.shape[1]))
    result, _, cpu = timed(lambda: attack(options, train, validation, start, keep))
    clean = outcome(options, train, test, start[:0])
    flipped = outcome(options, train, test, start)
    poisoned = outcome(options, train, test, np.asarray(result.z))
    row = {
        "split": split, "keep": keep, "points": count, "success": poisoned["success"],
        "flip_success": flipped["success"], "clean_success": clean["success"],
        "rest_err": poisoned["rest_err"], "flip_rest_err": flipped["rest_err"],
        "clean_rest_err": clean["rest_err"], "source_err": poisoned["source_err"],
        "clean_source_err": clean["source_err"], "cpu_seconds": cpu,
    }  # fmt: skip
    return {"rows": [row]}


def run(options: Options, report: Report) -> None:
    """One row per split and weight."""
    units = [{"split": s, "keep": keep} for s in range(options.splits) for keep in options.keeps]
    report.each(make_rows, options, units, "targeted-mnist")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.targeted_mnist import draw

        figure = draw(report.rows, options.source, options.wanted, options.rate)
        report.figure("targeted-mnist", figure)


def _notes(options: Options, report: Report) -> None:
    for keep in options.keeps:
        rows = [row for row in report.rows if row["keep"] == keep]
        moved, flipped, clean = (
            band([100 * row[f"{kind}success"] for row in rows]) for kind in ("", "flip_", "clean_")
        )
        lost, flips_lost = (
            band([100 * (row[f"{kind}rest_err"] - row["clean_rest_err"]) for row in rows])
            for kind in ("", "flip_")
        )
        report.note(
            f"keep {keep}: {moved} % of unseen {options.source}s become {options.wanted} (flipped "
            f"and not moved {flipped} %, clean {clean} %); {lost} points of accuracy lost "
            f"elsewhere (flipped and not moved {flips_lost}); {len(rows)} splits"
        )
