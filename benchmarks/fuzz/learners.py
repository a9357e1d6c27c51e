"""Poisoned learners: ours, and the exact solution on the active set that ours returns."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from bilevel import AbstractBilevel, Data, Outcome, Posed
from bilevel.learners import (
    SVM,
    AbstractLearner,
    ElasticNet,
    Huber,
    Lasso,
    Logistic,
    Ridge,
    Softmax,
    kernels,
)
from defenses import AbstractDefense

from . import exact
from .exact.arithmetic import Exact, Reference, mean_square
from .exact.svm import linear, polynomial, rbf
from .kind import Exactly, Kind, Point
from .tables import POISON, Table

GAMMA, DEGREE, CLASSES = 0.3, 3, 3


class Poisoned(AbstractBilevel):
    """(poison rows, their weights, the learner's strength) -> mean of half the squared errors of
    the decisions on validation rows.
    """

    learner: AbstractLearner
    data: Data
    x_val: Array
    y_val: Array

    def pose(self, z):
        learner, data = self.changed(z)
        training = learner.training(data)

        def outcome(value):
            decision = training.trained(value).model.decision(self.x_val)
            return Outcome(0.5 * jnp.mean((decision - self.y_val) ** 2), training.result)

        return Posed(training.problem, outcome)

    def using(self, solver, derivative):
        learner = self.learner.using(solver, derivative)
        return Poisoned(learner, self.data, self.x_val, self.y_val)

    def pinned(self, z):
        learner, data = self.changed(z)
        pinned = self.learner.pinned(learner.training(data))
        return Poisoned(pinned, self.data, self.x_val, self.y_val)

    def point(self, poison: int) -> Point:
        """The last rows with their weights, and the strength, as they are."""
        data = self.data
        return data.x[-poison:], data.weight[-poison:], _strength(self.learner)

    @property
    def solver(self):
        return self.learner.solver

    @property
    def derivative(self):
        return self.learner.derivative

    def changed(self, z) -> tuple[AbstractLearner, Data]:
        """The learner and the rows of z."""
        rows, weight, strength = z
        k = self.data.rows - rows.shape[0]
        data = Data(
            jnp.concatenate([self.data.x[:k], rows]),
            self.data.y,
            jnp.concatenate([self.data.weight[:k], weight]),
        )
        return eqx.tree_at(_strength, self.learner, strength), data


def _strength(learner: Any):
    if isinstance(learner, AbstractDefense):
        return _strength(learner.learner)
    if isinstance(learner, SVM):
        return learner.C
    return learner.l2 if hasattr(learner, "l2") else learner.l1


class Found(NamedTuple):
    """Our model, the warm start with its active set, and what a defense reports."""

    model: Any
    warm: Any
    report: Any


Solution = Callable[[Found], Callable[[Table, Any], Exact]]
"""From our face to a function of the table, whose last rows have moved, and of the strength."""


def found(objective: Poisoned, z: Point) -> Found:
    """What we find on the rows of z."""
    fitted = objective.learner.fit(objective.changed(z)[1], throw=False)
    return Found(fitted.model, fitted.warm, fitted.report)


def poisoned(
    make: Callable[[Any], AbstractLearner],
    targets: Callable[[np.ndarray, np.ndarray], np.ndarray],
    solution: Solution,
    decisions: Callable[[np.ndarray], np.ndarray] = lambda y: y,
) -> Kind:
    """A kind of poisoned learners.

    - `make(strength)`: the learner. `targets(labels, rows)`: targets that suit it. `decisions`:
      those that it should make, of targets.
    """

    def pose(table: Table):
        learner = make(table.strength)
        data = Data(table.x, targets(table.y, table.x), table.weight)
        y_val = decisions(targets(table.y_val, table.x_val)).astype(float)
        objective = Poisoned(learner, data, jnp.asarray(table.x_val), jnp.asarray(y_val))
        return objective, objective.point(POISON)

    return Kind(pose, found, partial(exactly, solution))


def exactly(solution: Solution, objective: Poisoned, face: Found) -> Exactly:
    """The value of the objective as a function of z, on our face."""
    data = objective.data
    x_val, y_val = np.asarray(objective.x_val), np.asarray(objective.y_val)
    exactly_on = solution(face)

    def at(z):
        rows, weight, strength = z
        x, w = (np.asarray(a).astype(rows.dtype) for a in (data.x, data.weight))
        x[-len(rows) :], w[-len(rows) :] = rows, weight
        table = Table(x, np.asarray(data.y), w, x_val, y_val, 1.0)
        solved = exactly_on(table, strength)
        return Reference(mean_square(solved.decision(x_val), y_val), *solved[1:])

    return at


def labels(y, x):
    """The labels themselves."""
    return y


def numbers(y, x):
    """Targets with a part that no feature explains."""
    spread = np.std(x, axis=0)
    return y + ((x - np.mean(x, axis=0)) / np.where(spread > 0, spread, 1))[:, 0] ** 2


def _classes(y, x):
    return (np.arange(len(y)) % CLASSES).astype(int)


def svm(kernel) -> Solution:
    """The machine with our multipliers at their bounds."""

    def on(face: Found):
        lower, upper = face.warm.lower, face.warm.upper
        return lambda t, s: exact.svm(kernel, t.x, t.y, t.weight, s, lower, upper)

    return on


def ridge(face: Found):
    """Ridge regression, which has no active set."""
    del face
    return lambda t, s: exact.ridge(t.x, t.y, t.weight, s)


def huber(delta: float) -> Solution:
    """Huber regression with our rows within delta."""

    def on(face: Found):
        def solved(t: Table, s):
            r = np.real(np.asarray(t.x)) @ face.model.w + face.model.bias - np.real(t.y)
            near, sign = np.abs(r) < delta, np.sign(r)
            return exact.huber(t.x, t.y, t.weight, s, delta, near, sign)

        return solved

    return on


def lasso(face: Found):
    """The LASSO with the signs of our weights."""
    return lambda t, s: exact.sparse(t.x, t.y, t.weight, s, 0.0, np.sign(face.model.w))


def _elastic(face: Found):
    return lambda t, s: exact.sparse(t.x, t.y, t.weight, L1, s, np.sign(face.model.w))


def logistic(face: Found):
    """Logistic regression, from our weights."""
    start = np.append(face.model.w, face.model.bias)
    return lambda t, s: exact.logistic(t.x, t.y, t.weight, s, start)


def softmax(face: Found):
    """Softmax regression, from our weights."""
    start = face.model.W, face.model.bias
    return lambda t, s: exact.softmax(t.x, t.y, t.weight, s, start)


def _hot(y):
    return np.eye(CLASSES)[y % CLASSES]


def _of_polynomial(s):
    return SVM(s, kernels.Polynomial(DEGREE, GAMMA, 1.0))


DELTA, L1 = 0.7, 0.03
LEARNERS = {
    "svm-linear": poisoned(SVM, labels, svm(linear)),
    "svm-rbf": poisoned(lambda s: SVM(s, kernels.RBF(GAMMA)), labels, svm(rbf(GAMMA))),
    "svm-polynomial": poisoned(_of_polynomial, labels, svm(polynomial(GAMMA, DEGREE))),
    "ridge": poisoned(lambda s: Ridge(0.1 * s), numbers, ridge),
    "huber": poisoned(lambda s: Huber(0.1 * s, DELTA), numbers, huber(DELTA)),
    "lasso": poisoned(lambda s: Lasso(0.03 * s), numbers, lasso),
    "elastic-net": poisoned(lambda s: ElasticNet(L1, 0.1 * s), numbers, _elastic),
    "logistic": poisoned(lambda s: Logistic(0.1 * s), labels, logistic),
    "softmax": poisoned(lambda s: Softmax(CLASSES, 0.1 * s), _classes, softmax, _hot),
}
