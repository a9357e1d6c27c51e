"""Memory that a hypergradient needs, as XLA plans it for many rows."""

import jax
import jax.numpy as jnp
import pytest

from bilevel import Data
from bilevel.learners import SVM, Huber, Lasso, Logistic, Ridge
from bilevel.losses import Logistic as LogisticLoss

ROWS, FEATURES = 20_000, 100
LEARNERS = {
    "ridge": Ridge(1e-3),
    "svm": SVM(1.0),
    "huber": Huber(1e-3, 0.5),
    "logistic": Logistic(1e-3),
    "lasso": Lasso(1e-2),
}
SLOW = ("huber", "logistic", "lasso")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in LEARNERS]
)
def test_a_hypergradient_in_all_rows_needs_few_copies_of_them(name):
    """Rows, their gradient, and at most two copies at a time."""

    def value(x, y):
        model = LEARNERS[name].fit(Data(x, y), throw=False).model
        return jnp.mean(LogisticLoss()(y[:1000], model.decision(x[:1000])))

    shapes = [jax.ShapeDtypeStruct(shape, float) for shape in ((ROWS, FEATURES), (ROWS,))]
    needed = jax.jit(jax.grad(value)).lower(*shapes).compile().memory_analysis()
    assert needed is not None
    total = sum(getattr(needed, f"{part}_size_in_bytes") for part in ("argument", "output", "temp"))
    assert total < 4.2 * 8 * ROWS * FEATURES
