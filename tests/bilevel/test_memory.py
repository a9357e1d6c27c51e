"""Memory that a hypergradient needs, as XLA plans it for many rows."""

import jax
import jax.numpy as jnp
import pytest

from bilevel import Data
from bilevel.learners import SVM, Huber, Lasso, Logistic, Ridge
from bilevel.losses import Logistic as LogisticLoss

ROWS, FEATURES = 20_000, 100
LEARNERS = {  # and the most copies of the rows, with their gradient
    "ridge": (Ridge(1e-3), 2.5),
    "svm": (SVM(1.0), 3.7),
    "huber": (Huber(1e-3, 0.5), 2.5),
    "logistic": (Logistic(1e-3), 2.5),
    "lasso": (Lasso(1e-2), 4.2),
}
SLOW = ("huber", "logistic", "lasso")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in LEARNERS]
)
def test_a_hypergradient_in_all_rows_needs_few_copies_of_them(name):
    learner, most = LEARNERS[name]

    def value(x, y):
        model = learner.fit(Data(x, y), throw=False).model
        return jnp.mean(LogisticLoss()(y[:1000], model.decision(x[:1000])))

    shapes = [jax.ShapeDtypeStruct(shape, float) for shape in ((ROWS, FEATURES), (ROWS,))]
    needed = jax.jit(jax.grad(value)).lower(*shapes).compile().memory_analysis()
    assert needed is not None
    total = sum(getattr(needed, f"{part}_size_in_bytes") for part in ("argument", "output", "temp"))
    assert total < most * 8 * ROWS * FEATURES
