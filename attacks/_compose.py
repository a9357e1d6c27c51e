"""Attacks: compositions of a learner, a capability and a goal, as functions of the poison."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, PyTree

from bilevel import AbstractBilevel, AbstractSolver, Data, Outcome, Posed
from bilevel.derivatives import AbstractDerivative
from bilevel.learners import AbstractLearner, Training
from bilevel.tools import program

from ._world import World
from .capabilities import AbstractCapability
from .goals import AbstractGoal


class _Memo:
    """The prepared parts of an attack, and the parts that they were prepared from.

    It is not a pytree and is equal to every other memo, so that it does not cause compilations. It
    may be used only if the parts are the identical arrays.
    """

    def __init__(self, learner: AbstractLearner, goal: AbstractGoal, data: Data):
        self.source, self.goal_source = _identity(learner, data), _identity(goal, None)
        self.learner = learner.prepare(data)
        self.goal = goal.prepare(self.learner)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Memo)

    def __hash__(self) -> int:
        return hash(_Memo)

    def parts(
        self, learner: AbstractLearner, goal: AbstractGoal, data: Data
    ) -> tuple[AbstractLearner, AbstractGoal]:
        """The prepared (learner, goal), or the given parts if their arrays were replaced."""
        if not _same(self.source, _identity(learner, data)):
            return learner, goal
        same = _same(self.goal_source, _identity(goal, None))
        return self.learner, self.goal if same else goal


def _identity(part: eqx.Module, data: Data | None) -> tuple:
    leaves, structure = jax.tree.flatten((part, None if data is None else (data.x, data.y)))
    return structure, leaves


def _same(a: tuple, b: tuple) -> bool:
    return a[0] == b[0] and all(x is y for x, y in zip(a[1], b[1], strict=True))


def training_key(key: PRNGKeyArray) -> PRNGKeyArray:
    """The key with which an attack composed with `key` trains: `learner.fit(world.train,
    key=training_key(key))` is the same training.
    """
    return jax.random.fold_in(key, 1)


class Attack(AbstractBilevel):
    """z -> goal.score(learner.fit(world.train).model, world) with world = reach.world(z, data).

    A defended learner is a learner, so that an adaptive attack is the same composition. Values are
    differentiable in every leaf, and leaves can be replaced (`eqx.tree_at`): hyper-parameters,
    clean rows, weights, validation rows. Computations that do not depend on z are done once, in
    `compose`, and again if a leaf that they depend on is replaced. Made by `compose`.

    - `learner`, `reach`, `goal`, `data`: see `compose`.
    - `key`: randomness of the training, of presented rows and of the goal. With the same key the
      attack is the same function of z. None if nothing is random.
    - `memo`: the prepared parts.
    """

    learner: AbstractLearner
    reach: AbstractCapability
    goal: AbstractGoal
    data: Data
    key: PRNGKeyArray | None = None
    memo: _Memo | None = eqx.field(static=True, default=None, repr=False)

    @property
    def solver(self) -> AbstractSolver:
        return self.learner.solver

    @property
    def derivative(self) -> AbstractDerivative:
        return self.learner.derivative

    def using(self, solver, derivative):
        learner = self.learner.using(solver, derivative)
        return Attack(learner, self.reach, self.goal, self.data, self.key)

    def prepared(self):
        if self.memo is None:
            return self
        learner, goal = self.memo.parts(self.learner, self.goal, self.data)
        return Attack(learner, self.reach, goal, self.data, self.key)

    def keyed(self, key):
        return Attack(self.learner, self.reach, self.goal, self.data, key, self.memo)

    def pinned(self, z):
        attack = self.prepared()
        training = attack._training(attack.world(z))
        learner = attack.learner.pinned(training)
        return Attack(learner, attack.reach, attack.goal, attack.data, attack.key)

    def cold(self, z):
        # Without `pose`: a defense would inspect the rows for the shapes of a start.
        attack = self.prepared()
        return attack.learner.cold(attack.world(z).train, key=attack.training_key)

    def project(self, z):
        return self.reach.project(z)

    def scale(self, z):
        return self.reach.scale(z, self.data)

    def direction(self, gradient):
        return self.reach.direction(gradient)

    def world(self, z: PyTree) -> World:
        """The data as changed by z."""
        return self.reach.world(z, self.data, key=self._key(0))

    def pose(self, z):
        return self.posed(self.world(z))

    def posed(self, world: World) -> Posed:
        """The inner problem in a world, and the goal as a function of its solution."""
        attack = self.prepared()
        training = attack._training(world)
        places = attack.reach.places(attack.data)

        def outcome(value):
            trained = training.trained(value)

            def kinks():
                of_goal = attack.goal.kinks(trained.model, world)
                return jnp.concatenate([of_goal, training.kinks(value)])

            score = attack.goal.score(trained.model, world, key=attack._key(2))
            touched = None
            if training.make_support is not None and places.shape[0]:
                touched = jnp.any(training.support(value)[places])
            return Outcome(score, trained.result, kinks, touched)

        return Posed(training.problem, outcome, training.result, training.point)

    def _training(self, world: World) -> Training:
        return self.learner.training(world.train, key=self.training_key)

    @property
    def training_key(self) -> PRNGKeyArray | None:
        """The key of its trainings; None if nothing is random."""
        return None if self.key is None else training_key(self.key)

    def _key(self, number: int) -> PRNGKeyArray | None:
        return None if self.key is None else jax.random.fold_in(self.key, number)


@program
def _injected(reach: AbstractCapability, data: Data) -> Data:
    """The data with some feasible poison, as one program: op by op it costs more than an attack."""
    return reach.inject(reach.example(data), data)


def compose(
    learner: AbstractLearner,
    reach: AbstractCapability,
    goal: AbstractGoal,
    data: Data,
    *,
    key: PRNGKeyArray | None = None,
) -> Attack:
    """Check that the parts match, do computations that do not depend on the poison, compose.

    - `learner`: the victim, with or without a defense. Its solver and derivative are the attack's.
    - `reach`: the capability: feasible changes of the training rows and of rows to predict.
    - `goal`: the objective that the attacker maximises.
    - `data`: the clean training rows.
    - `key`: typed key, for a learner, a capability or a goal with randomness.

    Raises `ValueError`, with a sentence that names the argument, if the parts do not match.
    """
    learner.check(data)
    reach.check(data)
    goal.check(data)
    learner.check(_injected(reach, data))
    memo = _Memo(learner, goal, data) if reach.keeps_rows else None
    return Attack(learner, reach, goal, data, key, memo)
