"""A backdoor in a linear model: 7s with a white corner are to be read as 3s, MNIST.

Copies of training 7s with a white corner, labelled 3 (BadNets, Gu et al. 2017), for logistic
regression and ridge at several penalties. No clean digit has ink in the corner, so that ridge has a
closed form: a rank-one update of the model of the same copies without the corner. On it three
claims about the square loss are checked (Flynn et al., arXiv 2605.22481, for mixtures of Gaussians
in high dimension): with a stronger trigger in training, while that of the test stays, clean
accuracy rises; attack success has its peak at a finite strength; and of all directions the
eigenvector of the covariance's smallest eigenvalue is the most successful trigger.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

from attacks import AllToOne, Rates, Stamp, backdoor, compose, stamp, victims
from attacks.triggers import AbstractTrigger, Added, Patch, square
from benchmarks.data import mnist
from benchmarks.options import Count, Positive, Positives, Share, Shares, check
from benchmarks.report import Report, UsageError
from benchmarks.rows import column, distinct, where
from bilevel import Data
from bilevel.learners import LinearModel, Logistic, Ridge
from bilevel.losses import Squares

LEARNERS = {"logistic": Logistic, "ridge": Ridge}
LABELS = AllToOne(1.0)
WORKS = 0.5
"""Attack success from which on a share of copies counts as one that works."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Shares, penalties, strengths and sizes."""

    shares: Shares = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
    """Stamped copies, in units of the clean training digits."""
    l2s: Positives = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """Strengths of the penalty."""
    size: Count = 2
    """Pixels of a side of the corner."""
    strengths: Positives = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
    """Values of the corner in training, for ridge; that of the test is 1."""
    share: Share = 0.03
    """Stamped copies where strengths and directions are compared."""
    l2: Positive = 0.1
    """Penalty there."""
    directions: Count = 12
    """Eigenvectors that are compared as triggers."""
    splits: Count = 10
    """Random splits of the digits."""
    train: Count = 600
    """Clean training digits."""

    def __post_init__(self):
        check(self)
        if self.train > 900:
            raise UsageError(f"--train: got {self.train}, expected at most 900 of 1,000 digits")


class Case(NamedTuple):
    """Digits of a split, and the most copies with a white corner."""

    train: Data
    test: Data
    full: Stamp


def case(options: Options, split: int) -> Case:
    """Random digits: +1 for 3, -1 for 7."""
    digits = mnist()
    rows = np.flatnonzero(np.isin(digits.labels, (3, 7)))
    rows = np.random.default_rng(split).permutation(rows)
    x, y = digits.images[rows] / 255.0, np.where(digits.labels[rows] == 3, 1.0, -1.0)
    train, test = (Data(x[part], y[part]) for part in np.split(np.arange(len(y)), [options.train]))
    white = square((28, 28, 1), options.size)
    trigger = Patch(white.mask.ravel(), white.pattern.ravel())
    most = max(*options.shares, options.share)
    return Case(train, test, stamp(jax.random.key(split), trigger, train, most, LABELS))


def copies(of: Case, share: float, trigger: AbstractTrigger | None = None) -> Stamp:
    """The first copies of the draw. The others have weight zero, so that nothing compiles anew."""
    count = round(share * of.train.rows)
    weight = np.arange(of.full.rows.shape[0]) < count
    return Stamp(trigger or of.full.trigger, of.full.rows, of.full.labels, weight.astype(float))


def make_rows(options: Options, split: int) -> dict[str, Any]:
    """The rows of a split."""
    of = case(options, split)
    rows = [
        row
        for name, learner in LEARNERS.items()
        for l2 in options.l2s
        for row in _shares(options, of, name, learner(l2))
    ]
    rows += [*_strengths(options, of), *_directions(options, of)]
    return {"rows": [{"split": split, **row} for row in rows]}


def run(options: Options, report: Report) -> None:
    """Rows of three parts: shares and penalties, strengths, directions."""
    units = [{"split": split} for split in range(options.splits)]
    report.each(make_rows, options, units, "toy-backdoor")
    _notes(options, report)
    if report.out is not None:
        from benchmarks.pictures.toy_backdoor import draw

        report.figure("toy-backdoor", draw(report.rows))


def _shares(
    options: Options, of: Case, name: str, learner: Logistic | Ridge
) -> Iterator[dict[str, Any]]:
    for share in options.shares:
        reach = copies(of, share)
        goal = backdoor(of.test.x, of.test.y, of.test.x, of.test.y, learner.loss)
        attack = compose(learner, reach, goal, of.train)
        judged = victims(attack, reach.example(of.train), of.test, LABELS)
        yield {
            "part": "share", "learner": name, "l2": float(learner.l2), "share": share,
            "success": judged.attacked.success.mean, "clean_success": judged.clean.success.mean,
            "test_err": 1 - judged.attacked.accuracy.mean,
            "clean_test_err": 1 - judged.clean.accuracy.mean,
        }  # fmt: skip


def corner(reach: Stamp) -> np.ndarray:
    """The pixels (784,) of the corner."""
    assert isinstance(reach.trigger, Patch)
    return np.asarray(reach.trigger.mask) > 0


def closed_form(of: Case, reach: Stamp, l2: float, strength: float) -> LinearModel:
    """Ridge with copies whose corner has the value `strength`: the model of the copies without a
    corner, and a rank-one update for the corner, in whose pixels the clean digits are zero.
    """
    mask = corner(reach)
    weight = np.asarray(reach.weight)
    rows, chosen = np.asarray(of.train.x), np.asarray(reach.rows)
    ones = np.ones((len(rows) + len(chosen), 1))
    x = np.hstack([np.vstack([rows, rows[chosen]]), ones])
    y = np.r_[of.train.y, reach.labels]
    share = np.r_[np.ones(len(rows)), weight] / (len(rows) + weight.sum())
    penalty = np.r_[np.full(x.shape[1] - 1, l2), 0.0]
    hessian = x.T @ (share[:, None] * x) + np.diag(penalty)
    stamped = np.r_[np.zeros(len(rows)), np.ones(len(chosen))] * share
    mean, label = stamped @ x, stamped @ y  # of the copies
    plain, moved = np.linalg.solve(hessian, np.stack([x.T @ (share * y), mean], axis=1)).T
    length = strength * mask.sum() ** 0.5
    along = length * (label - mean @ plain) / (
        l2 + length**2 * (stamped.sum() - mean @ moved)
    )  # fmt: skip
    w = plain - length * along * moved
    pixels = w[:-1] + along * mask / mask.sum() ** 0.5
    return LinearModel(jnp.asarray(pixels), jnp.asarray(w[-1]))


def peak(of: Case, reach: Stamp, l2: float) -> float:
    """The strength at which the weight of the corner is largest: from two closed forms."""
    mask = corner(reach)
    weak, strong = 1e-6, 1e6  # along(s) = a s / (l2 + b s^2): a from a small s, a / b from a large
    low, high = (
        np.sum(np.asarray(closed_form(of, reach, l2, s).w)[mask]) / mask.sum() ** 0.5
        for s in (weak, strong)
    )
    slope, limit = low * l2 / weak, high * strong
    return float((l2 * limit / slope) ** 0.5)


def _strengths(options: Options, of: Case) -> Iterator[dict[str, Any]]:
    reach = copies(of, options.share)
    best = peak(of, reach, options.l2)
    for strength in options.strengths:
        model = closed_form(of, reach, options.l2, strength)
        fitted = Ridge(options.l2).fit(reach.inject(strength * reach.example(of.train), of.train))
        assert isinstance(fitted.model, LinearModel)
        gap = max(
            float(jnp.max(jnp.abs(model.w - fitted.model.w))),
            float(jnp.abs(model.bias - fitted.model.bias)),
        )
        shown = reach.present(reach.example(of.train), of.test.x)
        plain = np.asarray(fitted.model.predict(of.test.x))
        wanted = np.asarray(fitted.model.predict(shown)) == 1
        y = np.asarray(of.test.y)
        loss = Squares()(of.test.y, fitted.model.decision(of.test.x))
        yield {
            "part": "strength", "strength": strength, "peak": best, "gap": gap,
            "success": float(np.mean(wanted[(y < 0) & (plain == y)])),
            "test_err": float(np.mean(plain != y)), "loss": float(jnp.mean(loss)),
        }  # fmt: skip


def _directions(options: Options, of: Case) -> Iterator[dict[str, Any]]:
    """Eigenvectors of the covariance within classes, as long as the corner, with both signs."""
    x, y = np.asarray(of.train.x), np.asarray(of.train.y)
    centred = np.where((y > 0)[:, None], x - x[y > 0].mean(0), x - x[y < 0].mean(0))
    values, vectors = np.linalg.eigh(centred.T @ centred / len(y))
    known = np.flatnonzero(values > 1e-10 * values[-1])
    chosen = known[
        np.unique(np.linspace(0, known.size - 1, options.directions).round().astype(int))
    ]
    learner = Ridge(options.l2)
    for number, index in enumerate(chosen):
        success, clean = [], []
        for sign in (-1, 1):
            reach = copies(of, options.share, Added(sign * options.size * vectors[:, index]))
            goal = backdoor(of.test.x, of.test.y, of.test.x, of.test.y, learner.loss)
            attack = compose(learner, reach, goal, of.train)
            judged = victims(attack, reach.example(of.train), of.test, LABELS)
            success.append(judged.attacked.success.mean)
            clean.append(judged.clean.success.mean)
        yield {
            "part": "direction", "direction": number, "variance": float(values[index]),
            "success": float(np.mean(success)), "clean_success": float(np.mean(clean)),
        }  # fmt: skip


def _rates(values: list[float]) -> str:
    """Mean and 95 % interval over the splits."""
    rates = Rates(jnp.asarray(values), jnp.ones(len(values), int))
    low, high = rates.interval
    return f"{rates.mean:.3f} [{low:.3f}, {high:.3f}]"


def _notes(options: Options, report: Report) -> None:
    rows = where(report.rows, part="share")
    for name in distinct(rows, "learner"):
        for l2 in options.l2s:
            mine = where(rows, learner=name, l2=l2)
            means = {s: float(np.mean(column(mine, "success", share=s))) for s in options.shares}
            first = next((f"{100 * s:g} %" for s, m in means.items() if m >= WORKS), "none")
            control = _rates(column(mine, "clean_success", share=options.shares[0]))
            worst = max(
                np.mean(column(mine, "test_err", share=s)) - np.mean(column(mine, "clean_test_err"))
                for s in options.shares
            )
            report.note(
                f"{name}, l2 {l2:g}: attack success "
                + ", ".join(f"{m:.2f} at {100 * s:g} %" for s, m in means.items())
                + f"; first share that works ({WORKS:g}): {first}; clean control {control}; clean "
                f"error rises by {100 * worst:.1f} points at most"
            )
    _claims(options, report)


def _claims(options: Options, report: Report) -> None:
    rows = where(report.rows, part="strength")
    report.note(f"ridge: closed form and trained model differ by {max(column(rows, 'gap')):.1e}")
    weak, strong = min(options.strengths), max(options.strengths)
    lift, loss = (
        np.subtract(column(rows, name, strength=weak), column(rows, name, strength=strong))
        for name in ("test_err", "loss")
    )
    report.note(
        f"claim 1, clean accuracy rises with the strength in training, from {weak:g} to "
        f"{strong:g}: by {100 * lift.mean():.2f} +- {100 * lift.std():.2f} points "
        f"({_verdict(lift)}); square loss falls by {loss.mean():.4f} +- {loss.std():.4f} "
        f"({_verdict(loss)})"
    )
    means = [float(np.mean(column(rows, "success", strength=s))) for s in options.strengths]
    at = int(np.argmax(means))
    inside = 0 < at < len(means) - 1 and means[-1] < means[at]
    report.note(
        f"claim 2, success peaks at a finite strength: {means[at]:.3f} at "
        f"{options.strengths[at]:g}, {means[0]:.3f} at {weak:g}, {means[-1]:.3f} at {strong:g} "
        f"({'holds' if inside else 'does not hold'}); the corner's weight is largest at "
        f"{np.mean(column(rows, 'peak')):.2f} by the closed form"
    )
    rows = where(report.rows, part="direction")
    numbers = distinct(rows, "direction")  # from the smallest variance to the largest
    success = np.array([column(rows, "success", direction=number) for number in numbers])
    best = int(np.argmax(success.mean(axis=1)))
    order = [
        spearmanr(column(rows, "variance", split=s), column(rows, "success", split=s))[0]
        for s in distinct(rows, "split")
    ]
    short = success[best] - success[0]
    report.note(
        "claim 3, the eigenvector of the smallest variance is the best trigger: success "
        f"{success[0].mean():.3f} of it, {success[-1].mean():.3f} of the largest; the best, number "
        f"{best + 1} of {len(numbers)}, is ahead by {short.mean():.3f} +- {short.std():.3f} "
        f"({'does not hold' if _verdict(short) == 'holds' else 'holds'}); rank correlation of "
        f"variance and success {np.mean(order):.2f}"  # pyright: ignore
    )


def _verdict(gains: np.ndarray) -> str:
    """Whether all or most of the paired gains are above zero, as a t interval says."""
    half = 2.0 * gains.std(ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else np.inf
    return "holds" if gains.mean() > half else "does not hold"
