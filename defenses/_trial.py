"""One training made to judge rows, with the point where its problem is solved."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from bilevel import Data, Point
from bilevel.derivatives import Implicit
from bilevel.learners import AbstractLearner, AbstractModel
from bilevel.tools import hoist, stop_gradient, worst


class Trial(NamedTuple):
    """A trained model, the worst code on the way to it, and the point of its problem, if any."""

    model: AbstractModel
    result: Int[Array, ""]
    point: Point | None


def trial(
    learner: AbstractLearner, data: Data, warm: PyTree | None, key: PRNGKeyArray | None
) -> Trial:
    """Train without a derivative, as `Learner.fit` does, and keep the point."""
    training = stop_gradient(learner.training(data, key=key))
    solver, problem, point = learner.solver, training.problem, training.point
    if problem is None:
        value, point = None, None
    else:
        problem = hoist(problem)
        if point is None or not isinstance(learner.derivative, Implicit):
            warm = warm if solver.converges else None
            point = stop_gradient(learner.derivative.attach(solver, problem, warm)[1])
        value = solver.value(problem, point.unknowns, point.frozen)
    trained = training.trained(value)
    codes = training.result, trained.result, 0 if point is None else point.result
    return Trial(trained.model, worst(*codes), point)


def traced_once(function: Callable[..., PyTree], *args: PyTree) -> tuple[Callable[..., Any], Any]:
    """(the function as it is traced on arguments of these shapes, shapes of what it returns): for
    loops whose first state has the shape of what is computed in them.
    """
    traced, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    structure = jax.tree.structure(shapes)

    def run(*args: PyTree) -> Any:
        return jax.tree.unflatten(structure, jaxpr_as_fun(traced)(*jax.tree.leaves(args)))

    return run, shapes
