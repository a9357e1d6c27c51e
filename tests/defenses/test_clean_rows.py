"""What the weights of the defender's clean rows mean to repairs: a row of weight 2 is the row
twice, and a row of weight 0 is not there.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from drawn import drawn

from bilevel import Data
from bilevel.learners import Fixed, NetworkModel
from bilevel.losses import CrossEntropy
from bilevel.networks import MLP
from bilevel.solvers import Descent, Picard
from defenses import FinePrune, FineTune, Prune, Unlearn, repair
from defenses.repair import Ball, Tuning
from defenses.repair._network import AbstractCleanRepair

N, SHAPE = 12, (3, 2, 1)
RNG = np.random.default_rng(0)
X, Y = RNG.uniform(size=(N, *SHAPE)), (np.arange(N) % 3).astype(np.int32)
HEAVY, FAR = 4, N - 1
KEY = jax.random.key(1)
NET = MLP((4,), 3)
MODEL = NetworkModel(drawn(NET, SHAPE), NET)
LEARNER = Fixed(MODEL, CrossEntropy())
WEIGHT = RNG.uniform(0.5, 1.5, N)


def clean(twice: bool) -> Data:
    """A row of weight 2 and one of weight 0, or the first in the place of both."""
    x, y, weight = X.copy(), Y.copy(), WEIGHT.copy()
    weight[[HEAVY, FAR]] = (1, 1) if twice else (2, 0)
    if twice:
        x[FAR], y[FAR] = x[HEAVY], y[HEAVY]
    return Data(x, y, weight)


TUNING = Tuning(Descent(optax.sgd(0.3), 3), batch=None)
MASK = np.zeros(SHAPE)
MASK[0] = 1


def read(defense) -> jax.Array:
    return defense.fit(Data(X, Y), key=KEY).model.decision(jnp.asarray(X))


def pruned(rows: Data) -> jax.Array:
    report = Prune(LEARNER, rows, "dense0", 2).fit(rows).report
    return jnp.concatenate([report.activity, report.curve])


REPAIRS = {
    "FineTune": lambda rows: read(FineTune(LEARNER, rows, TUNING)),
    "Prune": pruned,
    "FinePrune": lambda rows: read(FinePrune(LEARNER, rows, "dense0", 1, tuning=TUNING)),
    "Unlearn": lambda rows: read(Unlearn(LEARNER, rows, MASK, 0.5, share=0.99, tuning=TUNING)),
    # Its training draws the rows that are shifted by their places; what they are shifted by:
    "ImplicitUnlearning": lambda rows: Ball(0.5, solver=Picard(3)).worst(
        NET, MODEL.parameters, rows, CrossEntropy()
    ),
}


@pytest.mark.parametrize("name", REPAIRS)
def test_a_clean_row_of_weight_two_is_the_row_twice(name):
    once, twice, plain = (
        np.asarray(REPAIRS[name](rows)) for rows in (clean(False), clean(True), Data(X, Y))
    )
    np.testing.assert_allclose(once, twice, rtol=1e-9)
    assert np.max(np.abs(once - plain)) > 1e-4


def test_every_repair_with_clean_rows_is_in_the_table():
    of_clean = {
        name for name, value in vars(repair).items()
        if isinstance(value, type) and issubclass(value, AbstractCleanRepair)
    }  # fmt: skip
    assert of_clean - {"AbstractCleanRepair"} == REPAIRS.keys()


def test_pruning_ends_at_the_first_fall_of_accuracy():
    """Without the least active unit all is wrong, without the two least active all is right."""
    linear = MLP((3,), 2, lambda a: a)
    parameters = {
        "dense0": {"weight": jnp.asarray([[0.1, 0.2, 0.3]]), "bias": jnp.zeros(3)},
        "logits": {
            "weight": jnp.asarray([[9.0, -9.0], [-3.0, 3.0], [1.0, -1.0]]), "bias": jnp.zeros(2),
        },
    }  # fmt: skip
    rows = Data(np.array([[1.0], [-1.0]] * 5), np.array([0, 1] * 5))
    model = Fixed(NetworkModel(parameters, linear), CrossEntropy())
    report = Prune(model, rows, "dense0").fit(rows).report
    np.testing.assert_allclose(report.curve, [1, 0, 1, 0.5])
    assert np.all(report.kept)
