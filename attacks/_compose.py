"""learner x reach x goal: an attack is their composition, a pure function of the poison."""

from bilevel import AbstractBilevel, Data
from bilevel.derivatives import AbstractDerivative, Implicit
from bilevel.learners import AbstractLearner

from .capabilities import AbstractCapability
from .goals import AbstractGoal


class Attack(AbstractBilevel):
    """z -> goal(learner.fit(reach.inject(z, data))).

    A defended learner is a learner, so an adaptive attack is the same composition.
    """

    learner: AbstractLearner
    reach: AbstractCapability
    goal: AbstractGoal
    data: Data
    derivative: AbstractDerivative = Implicit()

    @property
    def solver(self):
        return self.learner.solver

    def inner(self, z):
        return self.learner.problem(self.reach.inject(z, self.data))

    def outer(self, z, value):
        return self.goal.score(self.learner.model(self.reach.inject(z, self.data), value))

    def kinks(self, z, value):
        return self.goal.kinks(self.learner.model(self.reach.inject(z, self.data), value))


def compose(
    learner: AbstractLearner,
    reach: AbstractCapability,
    goal: AbstractGoal,
    data: Data,
    derivative: AbstractDerivative | None = None,
) -> Attack:
    """Check the parts against each other, prepare what does not depend on the poison, compose."""
    reach.check(data)
    goal.check(data)
    z = reach.example(data)
    learner.check(reach.inject(z, data))
    if reach.keeps_rows:
        learner = learner.prepare(data)
    return Attack(learner, reach, goal, data, Implicit() if derivative is None else derivative)
