"""A published attack: what is climbed, from where, and how."""

from collections.abc import Callable

import equinox as eqx
from jaxtyping import PRNGKeyArray, PyTree

import bilevel
from bilevel import Ascent, Optimized, State, Step, value_only
from bilevel.tools import require_count

from .._compose import Attack


class Recipe(eqx.Module):
    """A composed attack and how to climb it.

    - `attack`: the objective, for `jax.grad`, `bilevel.certify` and whatever else takes one.
    - `start`: the poison that the ascent starts from.
    - `ascent`: lengths of the steps.
    - `steps`: evaluations of value and hypergradient.
    """

    attack: Attack
    start: PyTree
    ascent: Ascent
    steps: int

    def climb(
        self,
        *,
        record: Callable[[Step], PyTree] = value_only,
        reseed: Callable[[PRNGKeyArray, PyTree, PyTree], PyTree] | None = None,
        state: State | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Optimized:
        """`bilevel.maximize` as the recipe says. The arguments are those of `maximize`; `reseed`
        is for rows that are no support vectors, `Reseed(pool)`.
        """
        return bilevel.maximize(
            self.attack, self.start, steps=self.steps, optimizer=self.ascent,
            record=record, reseed=reseed, state=state, key=key,
        )  # fmt: skip


def recipe(attack: Attack, start: PyTree, ascent: Ascent, steps: int) -> Recipe:
    """A recipe with a start that is checked against the attack's domain."""
    start = attack.reach.check_start(start, attack.data)
    return Recipe(attack, start, ascent, require_count("steps", steps))
