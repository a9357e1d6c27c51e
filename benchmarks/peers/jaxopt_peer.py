"""jaxopt (Blondel et al. 2022): implicit differentiation as most people know it; unmaintained.

What holds its defaults back is the adjoint: conjugate gradients on the normal equations, stopped
at a relative residual of 1e-5, without a word. `implicit_diff_solve` is the way out.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from . import Dual, Method, Sparse, Training, load, loss


def _direct(matvec: Any, b: Any, **_: Any) -> Any:
    """Dense LU for BoxOSQP's adjoint: jaxopt's own direct solvers take no pytree.

    The KKT matrix is singular where an equality is a pair of equal bounds, hence the ridge.
    """
    flat, unravel = ravel_pytree(b)
    matrix = jax.vmap(lambda v: ravel_pytree(matvec(unravel(v)))[0], out_axes=1)(jnp.eye(flat.size))
    return unravel(jnp.linalg.solve(matrix + 1e-14 * jnp.eye(flat.size), flat))


def _box_osqp(**settings: Any):
    jaxopt = load("jaxopt")

    def solve(problem: Dual):
        Q, labels, C = problem
        n = labels.shape[0]
        rows = jnp.concatenate([jnp.eye(n), labels[None]])
        upper = jnp.concatenate([jnp.full(n, C), jnp.zeros(1)])
        params, state = jaxopt.BoxOSQP(**settings).run(
            None,
            params_obj=(Q, -jnp.ones(n)),
            params_eq=rows,
            params_ineq=(jnp.zeros(n + 1), upper),
        )
        return params.primal[0], state.status == jaxopt.BoxOSQP.SOLVED

    return solve


def _lbfgs(**settings: Any):
    jaxopt = load("jaxopt")

    def solve(problem: Training):
        solver = jaxopt.LBFGS(fun=loss, **settings)
        params, state = solver.run(jnp.zeros(problem.columns.shape[0]), problem)
        return params, state.error <= solver.tol

    return solve


def _sparse(kind: str, **settings: Any):
    """Proximal gradient (FISTA), or block coordinate descent, on a LASSO."""
    jaxopt = load("jaxopt")

    def half_mean_square(w: Any, rows: Any, targets: Any):
        return jnp.mean((rows @ w - targets) ** 2) / 2

    def solve(problem: Sparse):
        start = jnp.zeros(problem.rows.shape[1])
        data = problem.rows, problem.targets
        if kind == "coordinates":
            solver = jaxopt.BlockCoordinateDescent(
                jaxopt.objective.least_squares, jaxopt.prox.prox_lasso, **settings
            )
            params, state = solver.run(start, problem.lam, data)
        else:
            solver = jaxopt.ProximalGradient(half_mean_square, jaxopt.prox.prox_lasso, **settings)
            params, state = solver.run(start, problem.lam, *data)
        return params, state.error <= solver.tol

    return solve


def duals() -> list[Method]:
    """Methods for `Dual` problems."""
    tight = {"tol": 1e-13, "maxiter": 20_000, "eq_qp_solve": "lu", "implicit_diff_solve": _direct}
    return [
        Method("BoxOSQP, default", _box_osqp()),
        Method("BoxOSQP, tol=1e-13, LU, dense LU adjoint", _box_osqp(**tight)),
    ]


def logistics() -> list[Method]:
    """Methods for `Training` problems."""
    cholesky = load("jaxopt.linear_solve").solve_cholesky
    return [
        Method("LBFGS, default", _lbfgs()),
        Method("LBFGS, tol=1e-12, Cholesky", _lbfgs(tol=1e-12, implicit_diff_solve=cholesky)),
        Method("LBFGS, tol=1e-14, Cholesky", _lbfgs(tol=1e-14, implicit_diff_solve=cholesky)),
    ]


def lassos() -> list[Method]:
    """Methods for `Sparse` problems.

    Below 1e-8 rounding limits the line search of proximal gradients: it takes 15 times as long.
    """
    adjoint = partial(load("jaxopt.linear_solve").solve_bicgstab, tol=1e-12, maxiter=1000)
    tight = {"tol": 1e-8, "maxiter": 20_000, "implicit_diff_solve": adjoint}
    name = "tol=1e-8, BiCGSTAB tol=1e-12"
    return [
        Method("ProximalGradient, default", _sparse("gradient")),
        Method(f"ProximalGradient, {name}", _sparse("gradient", **tight)),
        Method(
            "ProximalGradient, tol=1e-10, BiCGSTAB tol=1e-12",
            _sparse("gradient", **(tight | {"tol": 1e-10})),
        ),
        Method("BlockCoordinateDescent, default", _sparse("coordinates")),
        Method(f"BlockCoordinateDescent, {name}", _sparse("coordinates", **tight)),
    ]
