"""Poisoned learners behind a defense: what it keeps is found again, independently, and the learner
is solved exactly on it.
"""

from collections.abc import Callable

import numpy as np

from bilevel.learners import SVM, AbstractLearner, Logistic, Ridge
from defenses import Filter, Relabel, SoftFilter, SoftRelabel, SoftTrim, Trim

from .exact import sanitised
from .exact.svm import linear
from .learners import Found, Solution, labels, logistic, numbers, poisoned, ridge, svm
from .tables import Table

SHARE = 0.2


def _hard(selected: Callable[..., bool], solution: Solution, drops: bool = True) -> Solution:
    """Exact on the rows that we keep, with the labels that we give them: `selected(table, kept,
    labels, decisions)` judges these. A row of weight zero is dropped, if the defense drops rows.
    """

    def on(face: Found):
        seen, exactly_on = face.report.data, solution(face)
        y = np.asarray(seen.y)

        def solved(t: Table, strength):
            kept = np.asarray(seen.weight > 0) | (not drops)
            found = exactly_on(t._replace(y=y, weight=t.weight * kept), strength)
            right = selected(t, kept, y, np.real(found.decision(t.x)))
            return found if right else found._replace(slack=-1.0)

        return solved

    return on


def _trimmed(rank):
    def selected(t: Table, kept, y, decisions):
        return sanitised.trimmed(rank(t.y, decisions), t.y, np.real(t.weight), kept, SHARE)

    return selected


def _filtered(t: Table, kept, y, decisions):
    return sanitised.filtered(np.real(t.x), t.y, np.real(t.weight), kept, SHARE)


def _relabelled(t: Table, kept, y, decisions):
    return sanitised.relabelled(np.real(t.x), t.y, np.real(t.weight), y)


def _squares(y, f):
    return (f - y) ** 2 / 2


def _smooth_hinge(y, f):
    return np.log1p(np.exp(1 - y * f))


def _logistic_loss(y, f):
    return np.log1p(np.exp(-y * f))


def _soft_trim(loss, solution: Solution) -> Solution:
    def on(face: Found):
        exactly_on = solution(face)
        settled = sanitised.SoftTrim(loss, SHARE, np.asarray(face.report.data.weight))

        def solved(t: Table, strength):
            def train(weight):
                return exactly_on(t._replace(weight=weight), strength)

            return settled(train, t.x, t.y, t.weight)

        return solved

    return on


def _soft_filter(solution: Solution) -> Solution:
    def on(face: Found):
        exactly_on = solution(face)

        def solved(t: Table, strength):
            share = sanitised.soft_filter(t.x, t.y, t.weight, SHARE)
            return exactly_on(t._replace(weight=t.weight * share), strength)

        return solved

    return on


def _soft_relabel(solution: Solution) -> Solution:
    def on(face: Found):
        exactly_on = solution(face)

        def solved(t: Table, strength):
            y, share = sanitised.soft_relabel(t.x, t.y, t.weight)
            return exactly_on(t._replace(y=y, weight=t.weight * share), strength)

        return solved

    return on


def _machine(s) -> AbstractLearner:
    return SVM(s)


def _line(s) -> AbstractLearner:
    return Ridge(0.1 * s)


def _sigmoid(s) -> AbstractLearner:
    return Logistic(0.1 * s)


def _margin(y, f):
    return 1 - y * f


margin = svm(linear)
DEFENDED = {
    "trim-ridge": poisoned(
        lambda s: Trim(_line(s), SHARE), numbers, _hard(_trimmed(_squares), ridge)
    ),
    "trim-svm": poisoned(
        lambda s: Trim(_machine(s), SHARE), labels, _hard(_trimmed(_margin), margin)
    ),
    "filter-svm": poisoned(lambda s: Filter(_machine(s), contamination=SHARE), labels,
                           _hard(_filtered, margin)),
    "relabel-logistic": poisoned(lambda s: Relabel(_sigmoid(s)), labels,
                                 _hard(_relabelled, logistic, drops=False)),
    "soft-trim-ridge": poisoned(lambda s: SoftTrim(_line(s), SHARE), numbers,
                                _soft_trim(_squares, ridge)),
    "soft-trim-logistic": poisoned(lambda s: SoftTrim(_sigmoid(s), SHARE), labels,
                                   _soft_trim(_logistic_loss, logistic)),
    "soft-trim-svm": poisoned(lambda s: SoftTrim(_machine(s), SHARE), labels,
                              _soft_trim(_smooth_hinge, margin)),
    "soft-filter-svm": poisoned(lambda s: SoftFilter(_machine(s), contamination=SHARE), labels,
                                _soft_filter(margin)),
    "soft-filter-logistic": poisoned(lambda s: SoftFilter(_sigmoid(s), contamination=SHARE), labels,
                                     _soft_filter(logistic)),
    "soft-relabel-logistic": poisoned(lambda s: SoftRelabel(_sigmoid(s)), labels,
                                      _soft_relabel(logistic)),
}  # fmt: skip
