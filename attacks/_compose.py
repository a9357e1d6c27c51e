"""learner x reach x goal: an attack is their composition, a pure function of the poison."""

import jax.numpy as jnp

from bilevel import AbstractBilevel, Data
from bilevel._solver import AbstractSolver
from bilevel.derivatives import AbstractDerivative, Implicit
from bilevel.learners import AbstractLearner

from .capabilities import AbstractCapability
from .goals import AbstractGoal


class Attack(AbstractBilevel):
    """z -> goal(learner.fit(reach.inject(z, data))).

    Hyper-parameters: compose inside the function you differentiate; what was prepared from them
    is not recomputed when a leaf of a composed attack is replaced.

    A defended learner is a learner, so an adaptive attack is the same composition.
    """

    learner: AbstractLearner
    reach: AbstractCapability
    goal: AbstractGoal
    data: Data
    solver: AbstractSolver
    derivative: AbstractDerivative

    def __init__(self, learner, reach, goal, data, derivative):
        self.learner, self.reach, self.goal, self.data = learner, reach, goal, data
        self.solver, self.derivative = learner.solver, derivative

    def inner(self, z):
        return self.learner.problem(self.reach.inject(z, self.data))

    def outer(self, z, value):
        return self.goal.score(self.learner.model(self.reach.inject(z, self.data), value))

    def kinks(self, z, value):
        data = self.reach.inject(z, self.data)
        of_goal = self.goal.kinks(self.learner.model(data, value))
        return jnp.concatenate([of_goal, self.learner.kinks(data)])


def compose(
    learner: AbstractLearner,
    reach: AbstractCapability,
    goal: AbstractGoal,
    data: Data,
    derivative: AbstractDerivative | None = None,
) -> Attack:
    """Check the parts against each other, prepare what does not depend on the poison, compose."""
    learner.check(data)
    reach.check(data)
    goal.check(data)
    z = reach.example(data)
    learner.check(reach.inject(z, data))
    if reach.keeps_rows:
        learner = learner.prepare(data)
        goal = goal.prepare(learner)
    return Attack(learner, reach, goal, data, Implicit() if derivative is None else derivative)
