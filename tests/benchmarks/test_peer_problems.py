"""What other libraries are asked to solve is what ours is."""

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.peers import Dual, jaxopt_peer


def test_jaxopt_gets_the_dual_with_its_equality(monkeypatch) -> None:
    """Rows 0 <= a <= C and labels'a = 0, of the dual a'Qa / 2 - sum a."""
    asked: dict[str, Any] = {}

    class BoxOSQP:
        SOLVED = 1

        def __init__(self, **settings):
            asked["settings"] = settings

        def run(self, start, **given):
            asked.update(given, start=start)
            solution = SimpleNamespace(primal=(jnp.arange(3.0), None))
            return solution, SimpleNamespace(status=1)

    monkeypatch.setattr(jaxopt_peer, "load", lambda name: SimpleNamespace(BoxOSQP=BoxOSQP))
    labels = jnp.asarray([1.0, -1.0, 1.0])
    solve = jaxopt_peer._box_osqp(tol=1e-3)
    point, solved = solve(Dual(jnp.eye(3), labels, jnp.asarray(0.7)))
    np.testing.assert_array_equal(point, np.arange(3))
    assert solved
    assert asked["settings"] == {"tol": 1e-3}
    Q, q = asked["params_obj"]
    np.testing.assert_array_equal(Q, np.eye(3))
    np.testing.assert_array_equal(q, -np.ones(3))
    np.testing.assert_array_equal(asked["params_eq"], [*np.eye(3), labels])
    lower, upper = asked["params_ineq"]
    np.testing.assert_allclose(lower, np.zeros(4))
    np.testing.assert_allclose(upper, [0.7, 0.7, 0.7, 0])
