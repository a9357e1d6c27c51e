"""Poisoned learners: ours, and the exact solution on the active set that ours returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from bilevel import AbstractBilevel, AbstractSolver, Data, Outcome, Posed
from bilevel.derivatives import AbstractDerivative
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

from . import exact
from .exact.arithmetic import Exact
from .exact.svm import linear, polynomial, rbf
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
    solver: AbstractSolver
    derivative: AbstractDerivative

    def pose(self, z):
        rows, weight, strength = z
        k = self.data.rows - rows.shape[0]
        data = Data(
            jnp.concatenate([self.data.x[:k], rows]),
            self.data.y,
            jnp.concatenate([self.data.weight[:k], weight]),
        )
        learner = eqx.tree_at(_strength, self.learner, strength)
        training = learner.training(data)

        def outcome(value):
            decision = training.trained(value).model.decision(self.x_val)
            return Outcome(0.5 * jnp.mean((decision - self.y_val) ** 2), training.result)

        return Posed(training.problem, outcome)

    def using(self, solver, derivative):
        return eqx.tree_at(lambda p: (p.solver, p.derivative), self, (solver, derivative))


def _strength(learner: Any):
    if isinstance(learner, SVM):
        return learner.C
    return learner.l2 if hasattr(learner, "l2") else learner.l1


class Kind(NamedTuple):
    """A learner of a strength; targets that suit it; and the exact solution.

    `solution(table, strength, model, warm)` is an `Exact`, on the active set of our solution.
    """

    make: Callable[[Any], AbstractLearner]
    targets: Callable[[np.ndarray, np.ndarray], np.ndarray]
    decisions: Callable[[np.ndarray], np.ndarray]
    solution: Callable[..., Exact]


def _labels(y, x):
    return y


def _numbers(y, x):
    """Targets with a part that no feature explains."""
    spread = np.std(x, axis=0)
    return y + ((x - np.mean(x, axis=0)) / np.where(spread > 0, spread, 1))[:, 0] ** 2


def _classes(y, x):
    return (np.arange(len(y)) % CLASSES).astype(int)


def _same(y):
    return y


def _svm(kernel):
    def solution(t: Table, strength, model, warm):
        return exact.svm(kernel, t.x, t.y, t.weight, strength, warm.lower, warm.upper)

    return solution


def _ridge(t: Table, strength, model, warm):
    return exact.ridge(t.x, t.y, t.weight, strength)


def _huber(t: Table, strength, model, warm):
    r = np.real(np.asarray(t.x)) @ model.w + model.bias - np.real(t.y)
    near, sign = np.abs(r) < DELTA, np.sign(r)
    return exact.huber(t.x, t.y, t.weight, strength, DELTA, near, sign)


def _lasso(t: Table, strength, model, warm):
    return exact.sparse(t.x, t.y, t.weight, strength, 0.0, np.sign(model.w))


def _elastic(t: Table, strength, model, warm):
    return exact.sparse(t.x, t.y, t.weight, L1, strength, np.sign(model.w))


def _logistic(t: Table, strength, model, warm):
    return exact.logistic(t.x, t.y, t.weight, strength, np.append(model.w, model.bias))


def _softmax(t: Table, strength, model, warm):
    return exact.softmax(t.x, t.y, t.weight, strength, (model.W, model.bias))


DELTA, L1 = 0.7, 0.03
KINDS = {
    "svm-linear": Kind(lambda s: SVM(s), _labels, _same, _svm(linear)),
    "svm-rbf": Kind(lambda s: SVM(s, kernels.RBF(GAMMA)), _labels, _same, _svm(rbf(GAMMA))),
    "svm-polynomial": Kind(
        lambda s: SVM(s, kernels.Polynomial(DEGREE, GAMMA, 1.0)), _labels, _same,
        _svm(polynomial(GAMMA, DEGREE)),
    ),
    "ridge": Kind(lambda s: Ridge(0.1 * s), _numbers, _same, _ridge),
    "huber": Kind(lambda s: Huber(0.1 * s, DELTA), _numbers, _same, _huber),
    "lasso": Kind(lambda s: Lasso(0.03 * s), _numbers, _same, _lasso),
    "elastic-net": Kind(lambda s: ElasticNet(L1, 0.1 * s), _numbers, _same, _elastic),
    "logistic": Kind(lambda s: Logistic(0.1 * s), _labels, _same, _logistic),
    "softmax": Kind(
        lambda s: Softmax(CLASSES, 0.1 * s), _classes, lambda y: np.eye(CLASSES)[y % CLASSES],
        _softmax,
    ),
}  # fmt: skip


def posed(kind: Kind, table: Table) -> tuple[Poisoned, Any]:
    """Our objective, and where it is differentiated."""
    learner = kind.make(table.strength)
    data = Data(table.x, kind.targets(table.y, table.x), table.weight)
    y_val = kind.decisions(kind.targets(table.y_val, table.x_val)).astype(float)
    objective = Poisoned(
        learner, data, jnp.asarray(table.x_val), jnp.asarray(y_val),
        learner.solver, learner.derivative,
    )  # fmt: skip
    return objective, (data.x[-POISON:], data.weight[-POISON:], _strength(learner))


def exact_gradient(kind: Kind, objective: Poisoned, z, model, warm):
    """(gradient by complex steps, flat; slack; condition) on the active set of our solution."""
    data = objective.data
    rows, weight, strength = (np.asarray(a) for a in z)
    at = np.concatenate([rows.ravel(), weight.ravel(), strength.ravel()]).astype(np.longdouble)
    x_val, y_val = np.asarray(objective.x_val), np.asarray(objective.y_val)
    step = np.longdouble(1e-60)

    def solved(flat):
        x, w = np.asarray(data.x).astype(flat.dtype), np.asarray(data.weight).astype(flat.dtype)
        x[-POISON:] = flat[: rows.size].reshape(rows.shape)
        w[-POISON:] = flat[rows.size : rows.size + POISON]
        table = Table(x, np.asarray(data.y), w, x_val, y_val, 1.0)
        return kind.solution(table, flat[-1], model, warm)

    gradient = []
    for j in range(at.size):
        moved = at.astype(np.clongdouble)
        moved[j] += 1j * step
        f = solved(moved).decision(x_val)
        gradient.append(np.imag(0.5 * np.mean((f - y_val) ** 2)) / step)
    real = solved(at)
    return np.array(gradient), real.slack, real.condition


def flat(tree) -> np.ndarray:
    """The leaves of a gradient as one long double vector."""
    return np.concatenate([np.asarray(a, np.longdouble).ravel() for a in jax.tree.leaves(tree)])
