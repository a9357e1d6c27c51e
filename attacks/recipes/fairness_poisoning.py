"""Poisoning fairness between groups (Solans, Biggio & Castillo, ECML 2020).

The attacker knows the training rows, the learner and its strengths, and validation rows with their
groups; for a black box a surrogate learner and other rows. The attacker inserts rows with labels of
choice; whether the protected attribute of a row is chosen too is part of the domain:
`fairness.chosen`, `fairness.fixed`. Defenses: filters and label sanitisation in `defenses`. A
learner with a limit on fairness (`FairLogistic`) equalises poisoned training rows, not clean ones.
"""

from jaxtyping import ArrayLike, Float, Shaped

from bilevel import Ascent, Data
from bilevel.learners import AbstractLearner

from .._compose import compose
from ..capabilities import Insert
from ..domains import AbstractDomain, Box
from ..goals import AbstractGoal, unwanted
from ._recipe import Recipe, recipe


def poison_fairness(
    train: Data,
    start: Float[ArrayLike, "m d"],
    labels: Shaped[ArrayLike, " m"],
    validation: Data,
    group,
    learner: AbstractLearner,
    *,
    against: int = 0,
    weight: Float[ArrayLike, " m"] | None = None,
    goal: AbstractGoal | None = None,
    domain: AbstractDomain | None = None,
    steps: int = 70,
    ascent: Ascent = Ascent(),
) -> Recipe:
    """Insert m rows that make the retrained classifier decide against a group; all move at once.

    - `train`: the clean training rows, with labels -1 and +1, the favourable outcome.
    - `start` (m, d), `labels` (m,): poison rows, and labels that they keep; usually those of
      `flip_groups`.
    - `validation`, `group` (n,): rows of the default goal and their groups 0 ... k - 1.
    - `learner`: the victim; its derivative is that of the ascent.
    - `against`: the group that shall be refused, while all others are accepted. The other group
      hides a disparity.
    - `weight` (m,): of the inserted rows, by default ones; rows of weight zero have no effect.
    - `goal`: by default the paper's, on the labels that the attacker does not want: the logistic
      loss of +1 in group `against` + lambda that of -1 in the others, with lambda such that groups
      count the same (`group_loss`). In the authors' published code the first term has the weight
      -p_privileged / p_unprivileged, which raises the decisions of both groups. Measures that an
      auditor reports, constraints and directions are goals too: `disparity`, `goals.Near`,
      `goals.AtMost`.
    - `domain`: of the rows, by default [0, 1] in every feature.
    - `steps`: number of evaluations of value and hypergradient.
    - `ascent`: lengths of the steps, root mean square over rows and in units of a feature's range.

    Raises `ValueError` for parts that do not match and for a start outside the domain.
    """
    reach = Insert(labels, Box(0.0, 1.0) if domain is None else domain, weight)
    goal = unwanted(validation.x, group, against) if goal is None else goal
    return recipe(compose(learner, reach, goal, train), start, ascent, steps)
