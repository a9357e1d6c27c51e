"""Clean-label poison for one target by colliding features (Poison Frogs, Shafahi et al. 2018;
Convex Polytope, Zhu et al. 2019; Bullseye Polytope, Aghakhani et al. 2021).

The attacker moves a few training rows of a class by little, and keeps their labels, which are
right. Known: the target, and networks like the victim's: the same one (white box), another
initialisation of it (grey box) or another architecture (black box); no other training rows. A
victim that trains its last layer, or all of it, on the poison gives the target the poison's class.
Among defenses are those that compare rows with their neighbours in the space of features (Peri et
al. 2020).
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from bilevel import Ascent, Data, Together
from bilevel.learners import AbstractModel, Fixed
from bilevel.tools import concrete

from .._compose import compose
from ..capabilities import Perturb
from ..capabilities._capability import indices
from ..domains import AbstractDomain, Box, LinfBall
from ..goals.bullseye import Bullseye
from ..goals.collide import AbstractCollision, Collide, Layers
from ._recipe import Recipe, recipe

EPS = 8 / 255
"""Largest change of a pixel in the field's benchmark (Schwarzschild et al., ICML 2021)."""


def collide_features(
    train: Data,
    rows,
    target: Float[ArrayLike, "..."],
    label,
    networks: Sequence[AbstractModel],
    collision: AbstractCollision = Bullseye(),
    *,
    layers: Layers = "last",
    draws: int = 0,
    key: PRNGKeyArray | None = None,
    domain: AbstractDomain | None = None,
    start: Float[ArrayLike, "m ..."] | None = None,
    steps: int = 200,
    ascent: Ascent = Ascent(),
) -> Recipe:
    """Move training rows of one class until the target's features meet theirs in all networks.

    - `train`: the training rows, those to be moved among them.
    - `rows` (m,): indices of the rows to move, all of the class that the target shall get.
    - `target` (...): one row. `label`: its true class.
    - `networks`: one or more trained models; the objective is the mean over them.
    - `collision`: `Frogs()`, `Polytope()` or `Bullseye()`.
    - `layers`, `draws`: see `goals.Collide`. `key`: typed key of the draws.
    - `domain`: of the moved rows, by default within 8/255 of the clean ones and in [0, 1].
    - `start` (m, ...): by default the clean rows, or the nearest in the domain.
    - `steps`: number of evaluations of value and gradient. `ascent`: lengths of the steps.

    Raises `ValueError` for parts that do not match, rows of several classes, rows of the target's
    own class, and a start outside the domain.
    """
    if not len(networks):
        raise ValueError("networks: got none, expected one or more trained models")
    rows = indices(rows)
    domain = LinfBall(train.x[rows], EPS, Box(0.0, 1.0)) if domain is None else domain
    reach = Perturb(rows, domain)
    goal = Collide(jnp.asarray(target, train.x.dtype)[None], collision, layers, draws)
    attacks = [compose(Fixed(network), reach, goal, train, key=key) for network in networks]
    _check_classes(train.y[rows], label)
    start = reach.example(train) if start is None else jnp.asarray(start, train.x.dtype)
    made = recipe(attacks[0], start, ascent, steps)
    return Recipe(Together(attacks), made.start, ascent, steps) if len(attacks) > 1 else made


def _check_classes(y: Array, label) -> None:
    if not (concrete(y) and concrete(label)):
        return
    classes = np.unique(np.asarray(y))
    if classes.size > 1:
        raise ValueError(
            f"rows: are of the classes {classes.tolist()}, expected one, the class that the target "
            "shall get"
        )
    if float(classes[0]) == float(label):
        raise ValueError(
            f"label: got {label}, the class of the rows to move; the target is of that class "
            "already. Move rows of the class that it shall get"
        )
