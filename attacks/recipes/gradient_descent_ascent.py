"""Poisoning a network while it trains: total gradient descent ascent, TGDA (Lu, Kamath & Yu,
TMLR 2022).

The attacker knows the training rows and the architecture. Victim and poison move together: the
network descends a few steps on the clean and poisoned rows, then all poison rows ascend the total
derivative of the validation loss at those weights, d/dz F - (d2G/dz dw) (d2G/dw2)^-1 dF/dw, as if
the weights were a minimiser. No training path is unrolled, so that a step does not cost a training.
The value of the run is that of the attacker's network: train a victim anew to judge the poison.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from bilevel import Ascent
from bilevel.derivatives import Implicit
from bilevel.learners import AbstractModel, Network
from bilevel.linear import GMRES, AbstractLinearSolver, Damped
from bilevel.problems import Smooth
from bilevel.tools import program, require_count

from .._compose import Attack

ROUGH = GMRES(tol=0.1, max_steps=20, restart=20, precondition=False)
"""An adjoint to 10 %, or the best that 20 products give; the Hessian may be indefinite."""


class Joint(eqx.Module):
    """Outcome of `descend_ascend`.

    - `z`: the poison at the end. `model`: the attacker's network at the end.
    - `values` (steps,): the goal at that network, before each step of the poison.
    """

    z: PyTree
    model: AbstractModel
    values: Float[Array, " steps"]


def descend_ascend(
    attack: Attack,
    start: PyTree,
    *,
    steps: int = 100,
    ascent: Ascent = Ascent(),
    linear: AbstractLinearSolver = Damped(ROUGH, 0.1),
) -> Joint:
    """Train the network of `attack` and move the poison at once.

    - `attack`: on a `Network`, composed with a key. Before each step of the poison, the network
      goes on from its weights for the `steps` of its solver, on all rows at once; momentum begins
      anew.
    - `start`: the poison at the start.
    - `steps`: number of steps of the poison.
    - `ascent`: lengths of these steps.
    - `linear`: solver of the systems with the Hessian of the training loss, which has eigenvalues
      near zero and below.

    Raises `ValueError` for another learner, one that draws (mini-batches, augmentation, dropout),
    without a key, and for a start outside the domain. The values are NaN from the step on at which
    the training diverged.
    """
    if not isinstance(attack.learner, Network):
        raise ValueError(
            f"attack: got one on a {type(attack.learner).__name__}, expected one on a Network; "
            "convex learners are solved at every step by `bilevel.maximize`"
        )
    if attack.key is None:
        raise ValueError("attack: got no key, expected one composed with a key")
    start = attack.reach.check_start(start, attack.data)
    training = attack.learner.training(attack.world(start).train, key=attack.training_key)
    if not isinstance(training.problem, Smooth):
        raise ValueError(
            "attack: got a network that draws at its steps, expected one without batch, augment "
            "and dropout: the derivative is that of the loss of all rows"
        )
    return _joint(attack, start, require_count("steps", steps), ascent, linear)


@program
def _joint(
    attack: Attack, start: PyTree, steps: int, ascent: Ascent, linear: AbstractLinearSolver
) -> Joint:
    learner = attack.learner.using(attack.learner.solver, Implicit(linear))
    key = attack.training_key
    assert key is not None
    optimizer = ascent.optimizer(attack, steps)

    def loss(z, weights, index):
        world = attack.world(z)
        at_weights = dataclasses.replace(learner, start=weights)
        step_key = jax.random.fold_in(key, index)
        model = at_weights.fit(world.train, key=step_key, throw=False).model
        return -attack.goal.score(model, world), model.parameters

    def step(state, index):
        z, weights, memory = state
        (value, weights), gradient = jax.value_and_grad(loss, has_aux=True)(z, weights, index)
        updates, memory = optimizer.update(gradient, memory, z)
        return (attack.project(jax.tree.map(jnp.add, z, updates)), weights, memory), -value

    begun = learner.training(attack.world(start).train, key=key)
    state = start, begun.problem.start, optimizer.init(start)
    (z, weights, _), values = jax.lax.scan(step, state, jnp.arange(steps))
    return Joint(z, begun.trained(weights).model, values)
