"""Goals made of goals: each part, at every place, is checked, prepared, and has its kinks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import AbstractGoal, World
from attacks.goals import AtMost, Near, Penalised, Sum, Targeted
from bilevel import Data
from bilevel.learners import LinearModel, Ridge

MODEL = LinearModel(jnp.array([0.5, -2.0]), jnp.asarray(0.0))
WORLD = World(Data(np.zeros((2, 2)), [1.0, -1.0]))


class Part(AbstractGoal):
    """A score that a key moves, and kinks of its own number."""

    number: float
    wrong: bool = False
    ready: bool = False

    def check(self, data):
        if self.wrong:
            raise ValueError(f"part {self.number}")

    def prepare(self, learner):
        return Part(self.number, self.wrong, True)

    def score(self, model, world, *, key=None):
        return jnp.asarray(self.number) + (0.0 if key is None else jax.random.normal(key))

    def kinks(self, model, world):
        return self.number * jnp.ones(int(self.number))


COMPOSITES = {
    "AtMost": (lambda a: AtMost(a, 0.25), 1, [0.75]),
    "Near": (lambda a: Near(a, 0.25), 1, []),
    "Penalised": (lambda a: Penalised(a, l1=0.5), 1, [0.5, -2.0]),
    "Sum": (lambda a, b, c: Sum([a, b, c], [1.0, -2.0, 0.5]), 3, []),
    "Targeted": (lambda a, b: Targeted(a, b, jnp.asarray(0.5)), 2, []),
}
"""How it is made, of how many, and its own kinks behind those of its parts."""


@pytest.mark.stand_ins
@pytest.mark.parametrize("name", COMPOSITES)
def test_each_part_of_a_goal_is_checked_and_prepared_draws_and_has_its_kinks(name):
    make, count, own = COMPOSITES[name]
    numbers = np.arange(1.0, count + 1)
    goal = make(*map(Part, numbers))
    kinks = np.concatenate([np.full(int(k), k) for k in numbers])
    np.testing.assert_allclose(goal.kinks(MODEL, WORLD), [*kinks, *own])
    goal.check(WORLD.train)
    for place in range(count):
        parts = [Part(k, wrong=i == place) for i, k in enumerate(numbers)]
        with pytest.raises(ValueError, match=f"part {numbers[place]}"):
            make(*parts).check(WORLD.train)
    ready = [part.ready for part in parts_of(goal.prepare(Ridge(0.1)))]
    assert ready == [True] * count
    key = jax.random.key(0)
    moved = make(*(Part(k + float(jax.random.normal(key))) for k in numbers))
    scores = [float(of.score(MODEL, WORLD, key=k)) for of, k in ((goal, key), (moved, None))]
    assert scores[0] == pytest.approx(scores[1])
    assert scores[0] != float(goal.score(MODEL, WORLD))


def parts_of(goal) -> list[Part]:
    nodes = jax.tree.leaves(goal, is_leaf=lambda node: isinstance(node, Part))
    return [node for node in nodes if isinstance(node, Part)]
