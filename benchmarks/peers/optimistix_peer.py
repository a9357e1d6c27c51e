"""optimistix (Rader, Lyons & Kidger 2024): jaxopt's maintained successor for smooth problems.

Its minimisers stop when steps and decrease are small, which leaves L-BFGS at 1e-7 however tight
the tolerance. Its best is a composition: L-BFGS to come near, then a root of the gradient by the
chord method, which factorises one Hessian. It has no default tolerance; 1e-5 is its README's.
"""

import jax
import jax.numpy as jnp

from . import Method, Training, load, loss

LONG = 2000


def _start(problem: Training):
    return jnp.zeros(problem.columns.shape[0])


def _minimise(tol: float, **settings):
    optx = load("optimistix")

    def solve(problem: Training):
        solver = optx.LBFGS(rtol=tol, atol=tol)
        solution = optx.minimise(loss, solver, _start(problem), problem, throw=False, **settings)
        return solution.value, solution.result == optx.RESULTS.successful

    return solve


def _root(kind: str, tol: float, near: float | None = None):
    """Newton's method, or the chord method, on the gradient; from L-BFGS at `near` if given."""
    optx, lineax = load("optimistix"), load("lineax")
    root_finder = getattr(optx, kind)(rtol=tol, atol=tol, linear_solver=lineax.Cholesky())
    tags = frozenset({lineax.positive_semidefinite_tag})

    def solve(problem: Training):
        start = _start(problem)
        if near is not None:
            start = jax.lax.stop_gradient(_minimise(near)(problem)[0])
        solution = optx.root_find(
            jax.grad(loss), root_finder, start, problem, tags=tags, throw=False
        )
        return solution.value, solution.result == optx.RESULTS.successful

    return solve


def duals() -> list[Method]:
    """None: it has no quadratic programs."""
    return []


def logistics() -> list[Method]:
    """Methods for `Training` problems."""
    tags = frozenset({load("lineax").positive_semidefinite_tag})
    tight = _minimise(1e-12, tags=tags, max_steps=LONG)
    return [
        Method("LBFGS, tol=1e-5", _minimise(1e-5)),
        Method("LBFGS, tol=1e-12, Cholesky", tight),
        Method("Newton on the gradient, tol=1e-8, Cholesky", _root("Newton", 1e-8)),
        Method("LBFGS tol=.03, then Chord tol=1e-12, Cholesky", _root("Chord", 1e-12, near=0.03)),
    ]


def lassos() -> list[Method]:
    """None: it has no proximal methods."""
    return []
