"""Poisoning networks by back-gradient optimisation (Munoz-Gonzalez et al., AISec 2017).

The attacker knows the training rows, the architecture, the training procedure and, for an attack on
one initialisation, its key. The attacker inserts rows with labels of choice, and climbs a loss on
validation rows along the derivative of the whole training path. Against fresh initial weights the
effect is smaller: average over several keys, and report both.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from bilevel import Ascent, Data, Expected, append
from bilevel.learners import AbstractLearner

from .._compose import compose
from ..capabilities import Insert
from ..domains import AbstractDomain, Box
from ..goals import AbstractGoal, indiscriminate
from ._recipe import Recipe, recipe


def poison_network(
    train: Data,
    start: Float[ArrayLike, "m ..."],
    labels: Shaped[ArrayLike, " m"],
    validation: Data,
    learner: AbstractLearner,
    keys: Key[Array, ""] | Key[Array, " k"],
    *,
    weight: Float[ArrayLike, " m"] | None = None,
    goal: AbstractGoal | None = None,
    domain: AbstractDomain | None = None,
    steps: int = 50,
    ascent: Ascent = Ascent(),
) -> Recipe:
    """Insert m rows that raise the validation loss of the network trained on them.

    - `train`: the clean training rows.
    - `start` (m, ...): usually validation rows, with another label.
    - `labels` (m,): the attacker's labels.
    - `validation`: rows of the default goal.
    - `learner`: the victim; its derivative is that of the ascent.
    - `keys`: a typed key, for one initialisation and order of rows, or (k,) keys, over whose
      trainings the goal is averaged.
    - `weight` (m,): of the inserted rows, by default ones; rows of weight zero have no effect.
    - `goal`: by default the learner's loss on `validation`.
    - `domain`: of the rows, by default [0, 1] in every pixel.
    - `steps`: number of evaluations of value and hypergradient.
    - `ascent`: lengths of the steps, root mean square over rows and in units of a feature's range.

    Raises `ValueError` for parts that do not match and for a start outside the domain.
    """
    reach = Insert(labels, Box(0.0, 1.0) if domain is None else domain, weight)
    if goal is None:
        goal = indiscriminate(validation.x, validation.y, learner.loss)
    single = keys.ndim == 0
    attack = compose(learner, reach, goal, train, key=keys if single else keys[0])
    made = recipe(attack, start, ascent, steps)
    return made if single else Recipe(Expected(attack, keys), made.start, ascent, steps)


class Greedy(eqx.Module):
    """Rows that were added one after another.

    - `x` (m, ...), `y` (m,): the rows added so far.
    - `values` (m,): the attacker's objective after each.
    - `start` (m, ...): where each started.
    """

    x: Float[Array, "m ..."]
    y: Shaped[Array, " m"]
    values: Float[Array, " m"]
    start: Float[Array, "m ..."]


def one_by_one(
    train: Data,
    start: Float[ArrayLike, "m ..."],
    labels: Shaped[ArrayLike, " m"],
    pose: Callable[[Data, Array, Array], Recipe],
    *,
    done: Greedy | None = None,
    after: Callable[[Greedy], None] = lambda done: None,
) -> Greedy:
    """Add rows greedily: each climbs with the rows before it fixed (Munoz-Gonzalez et al.
    2017). All points share one compiled program: rows wait in slots of weight zero.

    - `start` (m, ...), `labels` (m,): of the rows, in their order.
    - `pose(data, start, labels) -> Recipe`: the attack with one free row, start (1, ...) and
      labels (1,); for example `poison_network` with all its other arguments.
    - `done`: rows of an interrupted run, of the same start and labels; it goes on after them, to
      the same bits.
    - `after(done)`: called after each row, for a progress bar or to save a `bilevel.Checkpoint`.

    Raises `ValueError` for rows of another run, and `ValueError` and `SolveError` as the recipe
    does.
    """
    start = jnp.asarray(start, train.x.dtype)
    labels = jnp.asarray(labels).astype(train.y.dtype)
    slots = len(labels)
    if done is None:
        done = Greedy(start[:0], labels[:0], jnp.zeros(0, train.x.dtype), start[:0])
    count = len(done.y)
    if not np.array_equal(done.y, labels[:count]):
        raise ValueError(
            f"done: got rows with labels {done.y}, expected the first of {labels}; start without "
            "the rows of another run"
        )
    if not np.array_equal(done.start, start[:count]):
        raise ValueError(
            f"done: got {count} rows that did not start at the first {count} of `start`; start "
            "without the rows of another run"
        )
    for index in range(count, slots):
        weight = jnp.asarray(np.arange(slots) < index, train.weight.dtype)
        held = jnp.concatenate([done.x, start[index:]])
        data = append(train, held, labels, weight)
        result = pose(data, start[index : index + 1], labels[index : index + 1]).climb()
        done = Greedy(
            jnp.concatenate([done.x, result.z]),
            labels[: index + 1],
            jnp.append(done.values, result.value.astype(done.values.dtype)),
            start[: index + 1],
        )
        after(jax.block_until_ready(done))
    return done
