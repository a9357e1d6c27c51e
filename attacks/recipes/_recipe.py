"""Recipes: composed attacks with a start and the settings of an ascent."""

from collections.abc import Callable

import equinox as eqx
from jaxtyping import PRNGKeyArray, PyTree

import bilevel
from bilevel import AbstractObjective, Ascent, Optimized, State, Step, value_only
from bilevel.tools import require_count

from .._compose import Attack


class Recipe(eqx.Module):
    """A composed attack with the settings of its ascent.

    - `attack`: the objective: an `Attack`, or its mean over keys (`Expected`), for example for
      `jax.grad` and `bilevel.certify`.
    - `start`: the poison at the start of the ascent.
    - `ascent`: lengths of the steps.
    - `steps`: number of evaluations of value and hypergradient.
    """

    attack: AbstractObjective
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
        """Run `bilevel.maximize` with these settings.

        - `record`, `reseed`, `state`, `key`: see `maximize`. `Reseed(pool)` replaces rows that are
          no support vectors.

        Raises `SolveError` and `ValueError` as `maximize` does.
        """
        return bilevel.maximize(
            self.attack, self.start, steps=self.steps, optimizer=self.ascent,
            record=record, reseed=reseed, state=state, key=key,
        )  # fmt: skip


def recipe(attack: Attack, start: PyTree, ascent: Ascent, steps: int) -> Recipe:
    """A recipe; ValueError if the start is outside the attack's domain or `steps` is below 1."""
    start = attack.reach.check_start(start, attack.data)
    return Recipe(attack, start, ascent, require_count("steps", steps))
