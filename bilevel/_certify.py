"""Certificates of hypergradients: residuals, margins and an error bound."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ._argmin import hoist
from ._bilevel import AbstractBilevel, AbstractObjective, Function, worst
from ._certificate import Certificate
from ._certify_path import SAFETY, certify_path
from ._devices import alone
from ._program import program
from ._rounding import Noise, rounded
from ._tree import norm, require_floating, stop_gradient, tree_sub
from .derivatives import Implicit, implicit_root
from .results import CONVERGED

PROBES, FINE = 6, 2


def certify(
    objective: AbstractObjective | Callable[[PyTree], Array],
    z: PyTree,
    warm: PyTree | None = None,
) -> Certificate:
    """The hypergradient of `objective` at z, as `jax.grad` returns it, with its certificate.

    The reference of an implicit derivative is the gradient at the exact minimiser: the bound sums
    the effects of the inner residual, the adjoint residual and rounding. The reference of a
    derivative along a path (`Unroll`, `Truncated`, `BackGradient`, ...) is the derivative of that
    path: the gradient is compared with exact directional derivatives along random directions.

    - `objective`: a composed attack, a `Bilevel`, or a plain function z -> scalar.
    - `z`: the point, a pytree of floating arrays.
    - `warm`: start of the inner solve, as `evaluate` returns it. It changes the cost, not the
      certificate.

    It costs about twelve gradients and supports `jit` and `vmap`. Raises `ValueError` if z has a
    leaf that is not numbers. A failed inner solve is reported in `Certificate.result`.
    """
    if not isinstance(objective, AbstractObjective):
        objective = Function(objective)
    return _certify(objective.prepared(), require_floating("z", z), warm)


@partial(program, effort=0)
def _certify(objective: AbstractObjective, z: PyTree, warm: PyTree | None) -> Certificate:
    if isinstance(objective, AbstractBilevel):
        objective = objective.pinned(z)
        if isinstance(objective.derivative, Implicit):
            posed = objective.pose(z)
            if posed.problem is not None:
                return alone(lambda z: _implicit(objective, posed, z, warm))(z)
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
        """The outer objective and the conditions, with u held fixed as z varies."""
        posed = objective.pose(z)
        problem = hoist(posed.problem)
        outcome = posed.outcome(solver.value(problem, u, frozen))
        kinks = jnp.zeros(0) if outcome.kinks is None else outcome.kinks()
        undetermined, unmet = solver.unmet(problem, u, frozen)
        outputs = outcome.score, solver.conditions(problem, u, frozen), unmet
        return outputs, (kinks, outcome.result, undetermined)

    outputs, pull_parts, (kinks, finished, undetermined) = jax.vjp(parts, u, z, has_aux=True)
    score, residual, unmet = outputs
    nothing = jax.tree.map(jnp.zeros_like, residual)
    r, direct = pull_parts((jnp.ones_like(score), nothing, jnp.zeros_like(unmet)))
    jump = norm(pull_parts((jnp.zeros_like(score), nothing, jnp.ones_like(unmet)))[1])
    vecmat, back_transposed = matvec, back
    if not solver.symmetric:
        transposed = jax.linear_transpose(matvec, u)
        vecmat = lambda v: transposed(v)[0]  # noqa: E731
        back_transposed = lambda rhs: solver.backsolve_transposed(problem, frozen, rhs)  # noqa: E731
    v = linear.solve(vecmat, back_transposed, r)
    left = tree_sub(r, vecmat(v))

    # The two halves of the gradient are pulled back as one: they cancel, and an `argmin` inside the
    # objective solves for their sum, as `jax.grad` does, not for each to its own tolerance.
    corrected = jax.tree.map(
        lambda *pair: jnp.stack(pair), jax.tree.map(jnp.negative, v), back_transposed(left)
    )
    zero = jnp.zeros((2, *unmet.shape), unmet.dtype)
    ones = jnp.stack((jnp.ones_like(score), jnp.zeros_like(score)))
    both = jax.vmap(pull_parts)((ones, corrected, zero))[1]
    gradient = jax.tree.map(lambda b: b[0], both)
    adjoint_error = norm(jax.tree.map(lambda b: b[1], both))
    follow = partial(linear.solve, matvec, back)
    delta = jax.tree.map(jnp.negative, back(residual))
    small = _moved(delta, residual, follow, objective, z, gradient, u, frozen)
    inner_error, rounding_error, reach = small

    slack = solver.slack(problem, u, frozen)
    eps = jnp.finfo(slack.dtype).eps
    tiny = jnp.finfo(slack.dtype).tiny
    margin = jnp.min(slack, initial=jnp.inf)
    condition = _norm_by_power(matvec, r) * _norm_by_power(back, r)
    degenerate = jump > eps**0.5
    degenerate |= ~((margin > eps**0.75) & (condition * eps <= 1e-6))
    result = worst(posed.result, point.result, finished)
    solved = result == CONVERGED
    terms = jax.tree.map(lambda d, g: jnp.abs(d) + jnp.abs(d - g), direct, gradient)
    rounding_error = rounding_error + eps * norm(terms)
    bound = SAFETY * (inner_error + adjoint_error + rounding_error)
    # a system that cannot be solved to half the digits has no derivative to speak of
    degenerate |= ~jnp.isfinite(bound + norm(gradient))
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
        reach=reach,
        degenerate=degenerate,
        undetermined=undetermined,
        zero=solved & (norm(gradient) <= bound),
        result=result,
        truth="the minimiser",
        precision=str(jnp.result_type(*jax.tree.leaves(u))),
    )


def _scaled(tree: PyTree, factor: Array) -> PyTree:
    return jax.tree.map(lambda leaf: factor * leaf, tree)


def _norm_by_power(product: Callable[[PyTree], PyTree], start: PyTree) -> Array:
    """Lower estimate of the largest |eigenvalue| of a symmetric operator: powers on `start`."""

    def body(_, state):
        x, _ = state
        size = norm(x)
        x = product(_scaled(x, 1 / jnp.where(size > 0, size, 1)))
        return x, norm(x)

    return jax.lax.fori_loop(0, 8, body, (start, norm(start)))[1]


def _moved(
    delta: PyTree,
    residual: PyTree,
    follow: Callable[[PyTree], PyTree],
    objective: AbstractBilevel,
    z: PyTree,
    gradient: PyTree,
    u: PyTree,
    frozen: PyTree,
) -> tuple[Array, Array, Array]:
    """First-order effects of small changes, as three numbers.

    - the change of the gradient if the unknowns move by `delta`;
    - the change of the gradient under relative perturbations of size eps of every array (those of
      the objective, z, and those of the inner problem) and of every sum (`rounded`). The error of
      a backward stable computation is about as large. The signs are random: the worst case over
      1e4 entries is 1e2 times what occurs. The result is the largest of `PROBES` draws whose
      perturbations are magnified, and of `FINE` ones of size eps: solves inside the objective end
      elsewhere within their tolerance, whatever the size of a perturbation;
    - the distance along the gradient's direction to the next change of active set or outer kink.

    All three are differences of one program. The steps are large enough that the rounding of the
    difference does not matter, and small enough that the difference is linear at every condition
    number that is certified.
    """
    solver = objective.solver
    dtype = jax.tree.leaves(u)[0].dtype
    eps = jnp.asarray(jnp.finfo(dtype).eps, dtype)
    size = norm(gradient)
    towards = _scaled(gradient, 1 / jnp.where(size > 0, size, 1))
    # Steps: of delta in units of the unknowns, of z in units of z, of perturbations in eps.
    length = norm(delta)
    shift = eps**0.5 * (norm(u) + eps) / jnp.where(length > 0, length, 1)
    ahead = eps**0.5 * (norm(z) + eps**0.5)
    steps = 1024.0

    def case(at):
        seed, t_shift, t_ahead, t_noise = at
        noise = Noise(seed, t_noise)
        perturbed = noise.arrays(objective)
        there = jax.tree.map(lambda a, d: a + t_ahead * d, noise.arrays(z), towards)

        def attached(z, u):
            posed = perturbed.pose(z)
            problem = noise.arrays(hoist(posed.problem))
            u = implicit_root(u, problem, frozen, solver, objective.linear)
            return posed, problem, u

        _, problem, _ = attached(there, u)
        there_left = rounded(lambda u: solver.conditions(problem, u, frozen), u, noise)
        change = tree_sub(there_left, residual)
        moved = follow(change)
        follows = jnp.where(t_shift == 0, 1, 0).astype(dtype)
        unknowns = jax.tree.map(lambda a, d, m: a + t_shift * d - follows * m, u, delta, moved)

        def score(z):
            posed, problem, u = attached(z, unknowns)
            value = solver.value(problem, u, frozen)
            outcome = posed.outcome(value)
            kinks = jnp.zeros(0, dtype) if outcome.kinks is None else outcome.kinks()
            return outcome.score, (solver.slack(problem, u, frozen), kinks)

        return rounded(jax.grad(score, has_aux=True), there, noise)

    seeds = jnp.arange(3 + PROBES + FINE, dtype=jnp.uint32)
    only = lambda number: (seeds == number).astype(dtype)  # noqa: E731
    noisy = jnp.where(seeds > 2, jnp.where(seeds < 3 + PROBES, steps, 1) * eps, 0)
    gradients, distances = jax.lax.map(case, (seeds, shift * only(1), ahead * only(2), noisy))
    apart = jax.vmap(lambda g, base: norm(tree_sub(g, base)), in_axes=(0, None))(
        gradients, jax.tree.map(lambda g: g[0], gradients)
    )
    reach = [
        jnp.min(_quotient(jnp.abs(d[0]), jnp.abs(d[2] - d[0]) / ahead), initial=jnp.inf)
        for d in distances
    ]
    inner = jnp.where(length > 0, apart[1] / shift, 0)
    sampled = jnp.maximum(jnp.max(apart[3 : 3 + PROBES]) / steps, jnp.max(apart[3 + PROBES :]))
    return inner, sampled + eps * size, jnp.minimum(*reach)


def _quotient(a: Array, b: Array) -> Array:
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), jnp.inf)
