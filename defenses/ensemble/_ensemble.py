"""The contract of ensembles: learners that train members on parts of the data."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from bilevel import AbstractSolver, Data, Point
from bilevel.derivatives import AbstractDerivative, Implicit
from bilevel.learners import AbstractLearner, AbstractModel, Trained, Training
from bilevel.solvers import Each, Stack

from .._defense import AbstractDefense
from ._parts import split


class OfMembers(AbstractDerivative):
    """The derivative of each problem of a `Stack`, by another one along the path of its solver."""

    derivative: AbstractDerivative

    def attach(self, solver: Each, problem: Stack, warm: PyTree) -> tuple[PyTree, Point]:
        del warm  # a path takes none

        def of_one(problem):
            return self.derivative.attach(solver.solver, problem, None)

        unknowns, point = eqx.filter_vmap(of_one)(problem.problem)
        return unknowns, together(point)


class AbstractEnsemble(AbstractDefense):
    """A learner that trains a member on each of several data sets made of its own, as one problem.

    Failures of a member are failures of the whole.
    """

    learner: eqx.AbstractVar[AbstractLearner]

    @abc.abstractmethod
    def members(self, data: Data, *, key: PRNGKeyArray | None = None) -> Data:
        """What each member is trained on: data sets of equal shapes, stacked."""

    @abc.abstractmethod
    def vote(self, members: AbstractModel, data: Data) -> AbstractModel:
        """The model of trained members (one model whose arrays have a leading axis), and of the
        data as given.
        """

    @property
    def solver(self):
        return Each(self.learner.solver)

    @property
    def derivative(self):
        inner = self.learner.derivative
        return inner if isinstance(inner, Implicit) else OfMembers(inner)

    def using(self, solver: AbstractSolver, derivative: AbstractDerivative):
        solver = solver.solver if isinstance(solver, Each) else solver
        derivative = derivative.derivative if isinstance(derivative, OfMembers) else derivative
        return self.around(self.learner.using(solver, derivative))

    def cold(self, data, *, key=None):
        members = self.members(data, key=key)
        cold = eqx.filter_vmap(lambda rows, key: self.learner.cold(rows, key=key))
        return cold(members, split(key, members.weight.shape[0]))

    def pinned(self, training):
        """Itself: choices of defenses that members have inside are made at every evaluation."""
        del training
        return self

    def training(self, data, *, key=None):
        members = self.members(data, key=key)
        train = eqx.filter_vmap(lambda rows, key: self.learner.training(rows, key=key))
        inner = train(members, split(key, members.weight.shape[0]))
        return Training(
            data=data,
            problem=None if inner.problem is None else Stack(inner.problem),
            make_model=eqx.Partial(_model, self, data, inner),
            make_kinks=eqx.Partial(_kinks, inner),
            result=jnp.max(jnp.asarray(inner.result, jnp.int32)),
            report=inner.report,
            point=None if inner.point is None else together(inner.point),
            inner=inner,
        )


def together(point: Point) -> Point:
    """Points of the members as one, of the stack of their problems: its code is the worst."""
    return eqx.tree_at(lambda p: p.result, point, jnp.max(point.result))


def _model(ensemble: AbstractEnsemble, data: Data, inner: Training, value: PyTree) -> Trained:
    trained = eqx.filter_vmap(lambda training, value: training.trained(value))(inner, value)
    result = jnp.max(jnp.asarray(trained.result, jnp.int32))
    return Trained(ensemble.vote(trained.model, data), result, trained.report)


def _kinks(inner: Training, value: PyTree) -> Array:
    return jnp.ravel(eqx.filter_vmap(lambda training, value: training.kinks(value))(inner, value))
