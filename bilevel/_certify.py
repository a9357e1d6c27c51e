"""How right a hypergradient is: residuals, margins and an error bound."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ._argmin import hoist
from ._bilevel import AbstractBilevel, AbstractObjective, Function, worst
from ._certificate import Certificate
from ._certify_path import SAFETY, certify_path
from ._program import program
from ._rounding import noisy, rounded
from ._tree import norm, require_floating, stop_gradient, tree_sub
from .derivatives import Implicit, implicit_root
from .results import CONVERGED

PROBES = 6


def certify(objective: AbstractObjective, z: PyTree, warm: PyTree | None = None) -> Certificate:
    """The hypergradient of `objective` at z, as `jax.grad` returns it, with its certificate.

    Of an implicit derivative the truth is the gradient at the exact minimiser: the bound counts
    the inner residual, the adjoint residual and rounding. Of a derivative along a path
    (`Unroll`, `Truncated`, `BackGradient`, ...) the truth is the derivative of that path: the
    gradient is compared with exact directional derivatives along random directions.

    - `objective`: a composed attack, a `Bilevel`, or a plain function z -> scalar.
    - `z`: where, a pytree of floating arrays.
    - `warm`: start of the inner solve; the answer does not depend on it.

    Costs about ten gradients. `jit` and `vmap` it as you like.
    """
    if not isinstance(objective, AbstractObjective):
        objective = Function(objective)
    return _certify(objective.prepared(), require_floating("z", z), warm)


@program
def _certify(objective: AbstractObjective, z: PyTree, warm: PyTree | None) -> Certificate:
    if isinstance(objective, AbstractBilevel):
        objective = objective.pinned(z)
        if isinstance(objective.derivative, Implicit):
            posed = objective.pose(z)
            if posed.problem is not None:
                return _implicit(objective, posed, z, warm)
    return certify_path(objective, z)


def _implicit(objective: AbstractBilevel, posed, z: PyTree, warm: PyTree | None) -> Certificate:
    solver, linear = objective.solver, objective.linear
    problem = hoist(posed.problem)
    known = warm is not None and solver.converges
    point = stop_gradient(solver.run(problem, warm if known else solver.cold(problem)))
    u, frozen = point.unknowns, point.frozen
    _, matvec = jax.linearize(lambda u: solver.conditions(problem, u, frozen), u)

    def back(rhs):
        return solver.backsolve(problem, frozen, rhs)

    def parts(u, z):
        """The outer objective and the conditions, at unknowns that do not follow z."""
        posed = objective.pose(z)
        problem = hoist(posed.problem)
        outcome = posed.outcome(solver.value(problem, u, frozen))
        kinks = jnp.zeros(0) if outcome.kinks is None else outcome.kinks()
        return (outcome.score, solver.conditions(problem, u, frozen)), (kinks, outcome.result)

    (score, residual), pull_parts, (kinks, finished) = jax.vjp(parts, u, z, has_aux=True)
    nothing = jax.tree.map(jnp.zeros_like, residual)
    r, direct = pull_parts((jnp.ones_like(score), nothing))
    vecmat, back_transposed = matvec, back
    if not solver.symmetric:
        transposed = jax.linear_transpose(matvec, u)
        vecmat = lambda v: transposed(v)[0]  # noqa: E731
        back_transposed = lambda rhs: solver.backsolve_transposed(problem, frozen, rhs)  # noqa: E731
    v = linear.solve(vecmat, back_transposed, r)
    left = tree_sub(r, vecmat(v))

    def pull(cotangent):
        return pull_parts((jnp.zeros_like(score), cotangent))[1]

    through = jax.vmap(pull)(jax.tree.map(lambda *pair: jnp.stack(pair), v, back_transposed(left)))
    gradient = jax.tree.map(lambda d, t: d - t[0], direct, through)
    adjoint_error = norm(jax.tree.map(lambda t: t[1], through))
    delta = jax.tree.map(jnp.negative, back(residual))
    inner_error, rounding_error = _moved_by(delta, objective, z, u, frozen)

    slack = solver.slack(problem, u, frozen)
    eps = jnp.finfo(slack.dtype).eps
    tiny = jnp.finfo(slack.dtype).tiny
    margin = jnp.min(slack, initial=jnp.inf)
    condition = _norm_by_power(matvec, r) * _norm_by_power(back, r)
    degenerate = (margin <= eps**0.75) | (condition * eps > 1e-6)
    result = worst(posed.result, point.result, finished)
    solved = result == CONVERGED
    terms = jax.tree.map(lambda d, t: jnp.abs(d) + jnp.abs(t[0]), direct, through)
    rounding_error = rounding_error + eps * norm(terms)
    bound = SAFETY * (inner_error + adjoint_error + rounding_error)
    return Certificate(
        value=score,
        gradient=gradient,
        error_bound=jnp.where(degenerate | ~solved, jnp.inf, bound),
        inner_error=inner_error,
        adjoint_error=adjoint_error,
        rounding_error=rounding_error,
        inner_residual=norm(residual),
        adjoint_residual=norm(left) / jnp.maximum(norm(r), tiny),
        condition=condition,
        margin=margin,
        kink_margin=jnp.min(jnp.abs(kinks), initial=jnp.inf).astype(score.dtype),
        reach=_reach(objective, z, gradient, u, frozen),
        degenerate=degenerate,
        zero=solved & (norm(gradient) <= bound),
        result=result,
        truth="the minimiser",
        precision=str(jnp.result_type(*jax.tree.leaves(u))),
    )


def _scaled(tree: PyTree, factor: Array) -> PyTree:
    return jax.tree.map(lambda leaf: factor * leaf, tree)


def _norm_by_power(product: Callable[[PyTree], PyTree], start: PyTree) -> Array:
    """Largest |eigenvalue| of a symmetric operator, seen from `start` (a lower estimate)."""

    def body(_, state):
        x, _ = state
        size = norm(x)
        x = product(_scaled(x, 1 / jnp.where(size > 0, size, 1)))
        return x, norm(x)

    return jax.lax.fori_loop(0, 8, body, (start, norm(start)))[1]


def _attached(objective, z, u, frozen, noise=lambda problem: problem):
    """What is posed at z, its problem, unknowns and value as differentiable functions of z, on the
    face of the solution.
    """
    posed = objective.pose(z)
    problem = noise(hoist(posed.problem))
    u = implicit_root(u, problem, frozen, objective.solver, objective.linear)
    return posed, problem, u, objective.solver.value(problem, u, frozen)


def _moved_by(delta, objective, z, u, frozen) -> tuple[Array, Array]:
    """First-order change of the gradient (a) if the unknowns move by `delta`, and (b) under
    relative perturbations of size eps of every array (those the objective holds, z, and those of
    the inner problem) and of every sum on the way to the gradient (`rounded`).

    A backward stable computation errs by about as much as (b). Random signs rather than worst
    cases: the worst case over 1e4 entries would be 1e2 times what ever happens. Largest of few.
    """
    dtype = jax.tree.leaves(u)[0].dtype
    eps = jnp.asarray(jnp.finfo(dtype).eps, dtype)

    def probe(case):
        seed, t_shift, t_noise = case

        def gradient(shift, t):
            about = 1 - t, 1 + t
            perturbed = noisy(objective, about, seed)
            shifted = jax.tree.map(lambda a, d: a + shift * d, u, delta)

            def score(z):
                posed, *_, value = _attached(
                    perturbed, z, shifted, frozen, lambda p: noisy(p, about, seed + 50)
                )
                return posed.outcome(value).score

            return rounded(jax.grad(score), noisy(z, about, seed + 90), about, seed + 1000)

        zero = jnp.zeros((), dtype)
        g, moved = jax.jvp(gradient, (zero, zero), (t_shift, t_noise))
        return norm(moved) + t_noise * norm(g)

    seeds = jnp.arange(1 + PROBES, dtype=jnp.uint32) * 100
    first = seeds == 0
    moved = jax.lax.map(probe, (seeds, first.astype(dtype), jnp.where(first, 0, eps)))
    return moved[0], jnp.max(moved[1:])


def _reach(objective, z, gradient, u, frozen) -> Array:
    """First-order distance along the gradient's direction to the next change, either way."""
    size = norm(gradient)
    direction = _scaled(gradient, 1 / jnp.where(size > 0, size, 1))

    def distances(z):
        posed, problem, unknowns, value = _attached(objective, z, u, frozen)
        return objective.solver.slack(problem, unknowns, frozen), posed.kinks(value)

    now, rate = jax.jvp(distances, (z,), (direction,))
    steps = [
        jnp.min(jnp.where(d != 0, jnp.abs(n) / jnp.where(d != 0, jnp.abs(d), 1), jnp.inf),
                initial=jnp.inf)
        for n, d in zip(now, rate, strict=True)
    ]  # fmt: skip
    return jnp.minimum(*steps)
