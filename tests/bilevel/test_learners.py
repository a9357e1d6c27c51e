"""What all learners share, whatever they train."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bilevel import Data, learners
from bilevel.derivatives import Implicit
from bilevel.learners import (
    SVM,
    AbstractLearner,
    ElasticNet,
    FairLogistic,
    Fixed,
    Huber,
    Lasso,
    LinearModel,
    Logistic,
    Network,
    OnFeatures,
    Ridge,
    Softmax,
    Trained,
    Training,
    Within,
)
from bilevel.linear import Dense
from bilevel.losses import Logistic as LogisticLoss
from bilevel.networks import MLP
from bilevel.results import CONVERGED, INFEASIBLE, MAX_STEPS, NON_FINITE
from bilevel.solvers import Newton

MODEL = LinearModel(jnp.zeros(2), jnp.zeros(()))
LEARNERS = {
    "ElasticNet": lambda: ElasticNet(0.2, 0.3),
    "FairLogistic": lambda: FairLogistic([0], Within(0.1)),
    "Fixed": lambda: Fixed(MODEL),
    "Huber": lambda: Huber(0.2),
    "Lasso": lambda: Lasso(0.2),
    "Logistic": lambda: Logistic(0.2),
    "Network": lambda: Network(MLP((3,), 1), l2=0.3, batch=4),
    "OnFeatures": lambda: OnFeatures(MODEL, SVM(0.2)),
    "Ridge": lambda: Ridge(0.2),
    "SVM": lambda: SVM(0.2),
    "Softmax": lambda: Softmax(3, 0.2),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_another_solver_and_derivative_change_nothing_else(name):
    learner = LEARNERS[name]()
    solver, derivative = Newton(max_steps=7), Implicit(Dense())
    other = learner.using(solver, derivative)
    assert eqx.tree_equal((other.solver, other.derivative), (solver, derivative))
    back = other.using(learner.solver, learner.derivative)
    (ours, kind), (theirs, same) = (jax.tree.flatten(each) for each in (back, learner))
    assert kind == same
    assert all(a is b for a, b in zip(ours, theirs, strict=True))


def test_every_learner_is_in_the_table():
    made = {
        name
        for name, kind in vars(learners).items()
        if isinstance(kind, type) and issubclass(kind, AbstractLearner)
    }
    assert LEARNERS.keys() == {name for name in made if not name.startswith("Abstract")}


class Stub(AbstractLearner):
    """Trains nothing: the codes and the records are given, of the training and of its repair."""

    codes: np.ndarray
    reports: tuple[float | None, float | None]
    solver: Newton = Newton()
    derivative: Implicit = Implicit()

    @property
    def loss(self):
        return LogisticLoss()

    def training(self, data, *, key=None):
        del key
        (first, last), (before, after) = self.codes, self.reports
        model = LinearModel(jnp.zeros(2), jnp.zeros(()))
        made = eqx.Partial(lambda code, _: Trained(model, code, after), last)
        return Training(data, None, made, result=first, report=before)


DATA = Data(np.eye(2), np.array([1.0, -1.0]))


def fitted(codes, reports=(None, None)):
    return Stub(np.array(codes, np.int32), reports).fit(DATA, throw=False)


@pytest.mark.parametrize(
    "codes",
    [(CONVERGED, NON_FINITE), (NON_FINITE, CONVERGED), (MAX_STEPS, INFEASIBLE), (NON_FINITE, 1)],
)
def test_the_worst_code_of_a_training_and_its_repair_is_told(codes):
    assert int(fitted(codes).result) == max(codes)


@pytest.mark.parametrize(
    ("reports", "told"), [((1.0, None), 1.0), ((None, 2.0), 2.0), ((1.0, 2.0), 2.0)]
)
def test_the_record_of_a_repair_comes_before_that_of_the_training(reports, told):
    assert fitted((CONVERGED, CONVERGED), reports).report == told
