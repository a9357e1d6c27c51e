"""Small nonlinear programs of one shape (four unknowns, one equality, three inequalities)."""

import jax.numpy as jnp

from bilevel.results import (
    ACTIVE_SET,
    CONVERGED,
    DEGENERATE,
    INFEASIBLE,
    MAX_STEPS,
    UNBOUNDED,
)


def rest(x, k):
    """Holds the unknowns that a family does not use."""
    return jnp.sum((x[k:] - 0.5) ** 2)


def three(*constraints):
    """Constraints, and others that never matter."""
    given = jnp.concatenate([jnp.atleast_1d(c) for c in constraints])
    return jnp.concatenate([given, -jnp.ones(3 - given.size)])


def fit(x, a):
    return jnp.sum((jnp.outer(a, jnp.cos(1 + jnp.arange(4.0))) @ x + jnp.sin(a) * x[0] - a) ** 2)


# objective(x, a), equality, three inequalities, start, parameters, results that are right
FAMILIES = {
    "rosenbrock in a disc": (
        lambda x, a: (a[1] - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2 + rest(x, 2),
        lambda x, a: x[2] - a[2],
        lambda x, a: three(x[0] ** 2 + x[1] ** 2 - a[0]),
        (-1.2, 1.0, 0.0, 0.0), (1.2, 1.0, 0.3, 0.0), (CONVERGED,),
    ),
    "entropy on the simplex": (
        lambda x, a: jnp.sum(x * jnp.log(x)) + a @ x,
        lambda x, a: jnp.sum(x) - 1,
        lambda x, a: three(0.4 + 0.1 * a[0] - x[0], -x[1], -x[2]),
        (0.25,) * 4, (0.5, 1.0, -0.5, 0.0), (CONVERGED,),
    ),
    "product in a sphere": (
        lambda x, a: x[0] * x[3] * (x[0] + x[1] + x[2]) + a[0] * x[2],
        lambda x, a: x @ x - 40 * a[3],
        lambda x, a: three(25 * a[1] - jnp.prod(x), 1 - x[0], x[1] - 5 * a[2]),
        (1.0, 5.0, 5.0, 1.0), (1.0, 1.0, 1.0, 1.0), (CONVERGED,),
    ),
    "least squares in a ball": (
        lambda x, a: fit(x, a) + 1e-2 * x @ x,
        lambda x, a: x[2] - x[3] * a[0],
        lambda x, a: three(x @ x - 0.3),
        (0.0,) * 4, (1.0, 2.0, -1.0, 3.0), (CONVERGED,),
    ),
    "several minimisers": (
        lambda x, a: jnp.sum(x**4 - 2 * x**2 + 0.2 * a * x),
        lambda x, a: x[2] + x[3] - 0.3 * a[0],
        lambda x, a: three(x[0] - 2, x[0] + x[1] - 1.5, -2 - x[1]),
        (0.1, 0.2, -0.1, 0.3), (0.5, -1.0, 1.0, 1.0), (CONVERGED,),
    ),
    "logarithms and a budget": (
        lambda x, a: -jnp.sum(jnp.log(x + 0.05)),
        lambda x, a: jnp.exp(0.3 * a) @ x - 1,
        lambda x, a: three(-x[0], x[1] - 0.2, x[2] ** 2 - 0.1),
        (0.2,) * 4, (1.0, 2.0, 0.5, 1.0), (CONVERGED,),
    ),
    "exponentials": (
        lambda x, a: jnp.sum(jnp.exp(a * x)) + 0.1 * x @ x,
        lambda x, a: x[0] * x[1] - x[2] - 1,
        lambda x, a: three(x[3] ** 2 + x[2] ** 2 - 1, 0.5 - x[0], x[1] - 3),
        (1.0, 2.0, 0.0, 0.5), (0.5, 0.8, -1.0, 1.0), (CONVERGED,),
    ),
    "infeasible": (
        lambda x, a: a @ x + x @ x,
        lambda x, a: x[2] - a[2],
        lambda x, a: three(x[:2] @ x[:2] - 0.5, 1.5 - x[0]),
        (0.1,) * 4, (1.0, 1.0, 1.0, 1.0), (INFEASIBLE,),
    ),
    "unbounded": (
        lambda x, a: -jnp.abs(a[0] + 2) * x[0] + rest(x, 1),
        lambda x, a: x[1] - a[1],
        lambda x, a: three(-x[0]),
        (0.1,) * 4, (1.0, 1.0, 1.0, 1.0), (UNBOUNDED,),
    ),
    "dependent gradients": (
        lambda x, a: jnp.sum((x - a - 3) ** 2),
        lambda x, a: x[3] - a[0],
        lambda x, a: three(x[0] + x[1] - 1, 2 * x[0] + 2 * x[1] - 2),
        (0.1,) * 4, (1.0, 1.0, 1.0, 1.0), (DEGENERATE,),
    ),
    "no interior": (
        lambda x, a: (jnp.abs(a[1]) + 1) * x[1] + rest(x, 2),
        lambda x, a: x[2] - a[2],
        lambda x, a: three((x[0] - 1) ** 2 + x[1] ** 2 - 1, (x[0] + 1) ** 2 + x[1] ** 2 - 1),
        (0.5, 0.2, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0), (ACTIVE_SET, MAX_STEPS),
    ),
    "weakly active": (
        lambda x, a: jnp.sum((x - a) ** 2) + jnp.sum((x - a) ** 4),
        lambda x, a: x[3] - a[3],
        lambda x, a: three(jnp.sin(x[0]) - jnp.sin(a[0])),
        (0.1,) * 4, (0.5, 1.0, 1.0, 1.0), (DEGENERATE,),
    ),
    "flat": (
        lambda x, a: (x[0] - a[0]) ** 4 + rest(x, 1),
        lambda x, a: x[3] - a[3],
        lambda x, a: three(x[1] - 0.2),
        (0.1,) * 4, (0.5, 1.0, 1.0, 1.0), (DEGENERATE, ACTIVE_SET),
    ),
}  # fmt: skip
