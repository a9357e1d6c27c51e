"""How right a hypergradient is: residuals, margins and an error bound, from the kept factor."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ._argmin import hoist
from ._bilevel import AbstractBilevel
from ._solution import CONVERGED, SENTENCES
from ._tree import norm, stop_gradient, tree_sub
from .derivatives import implicit_root


class Certificate(eqx.Module):
    """A hypergradient and what is known of its error. All fields are arrays; `str()` explains.

    - `value`, `gradient`: F(z, w*(z)) and dF/dz.
    - `error_bound`: bound on |gradient - true gradient| (Euclidean, all leaves together); infinite
      where the derivative is not unique (see `degenerate`) or the inner solve failed.
    - `inner_error`: what the distance of the returned point from the exact one does to the
      gradient: |dg . delta| with delta = -A^-1 F, the Newton correction, by the kept factor.
    - `adjoint_error`: what the residual of the adjoint system does to the gradient.
    - `rounding_error`: what rounding of the inner problem's arrays does to it, sampled.
    - `inner_residual`, `adjoint_residual`: |F| and |r - A v| / |r|.
    - `condition`: of the reduced KKT system, estimated by power iterations on A and its factor.
    - `margin`: least distance to a change of active set (strict complementarity).
    - `kink_margin`: least distance of the outer objective to one of its own kinks.
    - `reach`: how far z may move along the gradient's direction (Euclidean) before, to first
      order, an active set or an outer kink changes: finite differences must stay well within.
    - `degenerate`: an active set is on the point of changing or the KKT system is singular.
      The derivative is then one-sided, and `gradient` is one element of a set.
    - `zero`: the gradient is zero, exactly or as far as its error bound can tell.
    - `result`: the inner solve's code.
    """

    value: Float[Array, ""]
    gradient: PyTree
    error_bound: Float[Array, ""]
    inner_error: Float[Array, ""]
    adjoint_error: Float[Array, ""]
    rounding_error: Float[Array, ""]
    inner_residual: Float[Array, ""]
    adjoint_residual: Float[Array, ""]
    condition: Float[Array, ""]
    margin: Float[Array, ""]
    kink_margin: Float[Array, ""]
    reach: Float[Array, ""]
    degenerate: Array
    zero: Array
    result: Int[Array, ""]

    def __str__(self) -> str:
        size = float(norm(self.gradient))
        bound = float(self.error_bound)
        lines = [
            f"value {float(self.value):.6g}, |gradient| {size:.6g} ({self.value.dtype}), "
            f"error at most {bound:.2g}" + (f" ({bound / size:.1g} of it)" if size > 0 else ""),
            f"  inner residual {float(self.inner_residual):.1e} "
            f"(moves the gradient by {float(self.inner_error):.1e}), "
            f"adjoint residual {float(self.adjoint_residual):.1e} "
            f"(by {float(self.adjoint_error):.1e}), rounding by {float(self.rounding_error):.1e}",
            f"  condition {float(self.condition):.1e}, active-set margin {float(self.margin):.1e}, "
            f"kink margin {float(self.kink_margin):.1e}, smooth along the gradient for a step of "
            f"{float(self.reach):.1e}",
        ]
        if int(self.result) != CONVERGED:
            lines.append(f"  NOT SOLVED: {SENTENCES[int(self.result)]}")
        if bool(self.degenerate):
            lines.append(
                "  DEGENERATE: an active set is about to change or rows are duplicated; the "
                "derivative is one-sided and this gradient is one element of a set"
            )
        if bool(self.zero):
            lines.append(
                "  ZERO: the gradient is zero to its error; no decision variable touches the "
                "solution (an SVM: no poison point is a support vector). Start elsewhere"
            )
        return "\n".join(lines)


SAFETY = 4.0
"""Factor on the first-order estimates; tests hold the bound against exact gradients."""

PROBES = 3


def certify(objective: AbstractBilevel, z: PyTree, warm: PyTree | None = None) -> Certificate:
    """The hypergradient of `objective` at z, with its certificate.

    Costs a few gradients. `jit` and `vmap` it as you like.
    """
    return _certify(objective, z, warm)


@eqx.filter_jit
def _certify(objective: AbstractBilevel, z: PyTree, warm: PyTree | None) -> Certificate:
    solver, linear = objective.solver, objective.linear
    problem = hoist(objective.inner(z))
    point = stop_gradient(solver.run(problem, solver.cold(problem) if warm is None else warm))
    u, frozen = point.unknowns, point.frozen
    _, matvec = jax.linearize(lambda u: solver.conditions(problem, u, frozen), u)

    def back(rhs):
        return solver.backsolve(problem, frozen, rhs)

    def outer(u, z):
        return objective.outer(z, solver.value(hoist(objective.inner(z)), u, frozen))

    r, direct = jax.grad(outer, argnums=(0, 1))(u, z)
    v = linear.solve(matvec, back, r)
    residual, pull = jax.vjp(lambda z: solver.conditions(hoist(objective.inner(z)), u, frozen), z)
    left = tree_sub(r, matvec(v))
    (through,) = jax.vmap(pull)(jax.tree.map(lambda *pair: jnp.stack(pair), v, back(left)))
    gradient = jax.tree.map(lambda d, t: d - t[0], direct, through)
    adjoint_error = norm(jax.tree.map(lambda t: t[1], through))
    delta = jax.tree.map(jnp.negative, back(residual))
    inner_error, rounding_error = _moved_by(delta, objective, z, u, frozen)

    slack = solver.slack(problem, u, frozen)
    value = solver.value(problem, u, frozen)
    eps = jnp.finfo(slack.dtype).eps
    tiny = jnp.finfo(slack.dtype).tiny
    margin = jnp.min(slack, initial=jnp.inf)
    condition = _norm_by_power(matvec, r) * _norm_by_power(back, r)
    degenerate = (margin <= eps**0.75) | (condition * eps > 1e-6)
    solved = point.result == CONVERGED
    terms = jax.tree.map(lambda d, t: jnp.abs(d) + jnp.abs(t[0]), direct, through)
    rounding_error = rounding_error + eps * norm(terms)
    bound = SAFETY * (inner_error + adjoint_error + rounding_error)
    # No gradient is known better than a value's last digit shows over the length of z: where a
    # kernel saturates, what is left of a derivative is the rounding of its entries.
    lengths = jnp.stack([norm(leaf) for leaf in jax.tree.leaves(z)])
    shown = jnp.abs(objective.outer(z, value)) * jnp.max(jnp.where(lengths > 0, 1 / lengths, 0))
    bound = bound + jnp.where(norm(gradient) > 0, 0.25 * eps * shown, 0)
    return Certificate(
        value=objective.outer(z, value),
        gradient=gradient,
        error_bound=jnp.where(degenerate | ~solved, jnp.inf, bound),
        inner_error=inner_error,
        adjoint_error=adjoint_error,
        rounding_error=rounding_error,
        inner_residual=norm(residual),
        adjoint_residual=norm(left) / jnp.maximum(norm(r), tiny),
        condition=condition,
        margin=margin,
        kink_margin=jnp.min(jnp.abs(objective.kinks(z, value)), initial=jnp.inf),
        reach=_reach(objective, z, gradient, u, frozen),
        degenerate=degenerate,
        zero=solved & (norm(gradient) <= bound),
        result=point.result,
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
    """Problem and value as differentiable functions of z, on the face of the solution."""
    problem = noise(hoist(objective.inner(z)))
    u = implicit_root(u, problem, frozen, objective.solver, objective.linear)
    return problem, u, objective.solver.value(problem, u, frozen)


def _moved_by(delta, objective, z, u, frozen) -> tuple[Array, Array]:
    """First-order change of the gradient (a) if the unknowns move by `delta`, and (b) under
    relative perturbations of size eps of every array: those the objective holds, z, and those of
    the inner problem, whose forming rounds as well.

    A backward stable computation errs by about as much as (b). Random signs rather than worst
    cases: the worst case over 1e4 entries would be 1e2 times what ever happens. Largest of few.
    """
    dtype = jax.tree.leaves(u)[0].dtype
    eps = jnp.asarray(jnp.finfo(dtype).eps, dtype)

    def noisy(tree, t, seed):
        arrays, rest = eqx.partition(tree, eqx.is_inexact_array)
        leaves, structure = jax.tree.flatten(arrays)
        leaves = [
            leaf * (1 + (t * _signs(leaf.shape, seed + i)).astype(leaf.dtype))
            for i, leaf in enumerate(leaves)
        ]
        return eqx.combine(jax.tree.unflatten(structure, leaves), rest)

    def probe(case):
        seed, t_shift, t_noise = case

        def gradient(shift, t):
            perturbed = noisy(objective, t, seed)
            shifted = jax.tree.map(lambda a, d: a + shift * d, u, delta)

            def score(z):
                *_, value = _attached(
                    perturbed, z, shifted, frozen, lambda p: noisy(p, t, seed + 50)
                )
                return perturbed.outer(z, noisy(value, t, seed + 70))

            return jax.grad(score)(noisy(z, t, seed + 90))

        zero = jnp.zeros((), dtype)
        g, moved = jax.jvp(gradient, (zero, zero), (t_shift, t_noise))
        return norm(moved) + t_noise * norm(g)

    seeds = jnp.arange(1 + PROBES, dtype=jnp.uint32) * 100
    first = seeds == 0
    moved = jax.lax.map(probe, (seeds, first.astype(dtype), jnp.where(first, 0, eps)))
    return moved[0], jnp.max(moved[1:])


def _signs(shape: tuple[int, ...], seed: Array) -> Array:
    """Signs +-1 by an integer hash of the position: as random as needed, cheap to compile."""
    position = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    h = (position + seed * jnp.uint32(0x9E3779B1)) * jnp.uint32(0x85EBCA77)
    h = (h ^ (h >> 15)) * jnp.uint32(0xC2B2AE3D)
    return 1.0 - 2.0 * ((h >> 16) & 1).astype(float)


def _reach(objective, z, gradient, u, frozen) -> Array:
    """First-order distance along the gradient's direction to the next change, either way."""
    size = norm(gradient)
    direction = _scaled(gradient, 1 / jnp.where(size > 0, size, 1))

    def distances(z):
        problem, unknowns, value = _attached(objective, z, u, frozen)
        return objective.solver.slack(problem, unknowns, frozen), objective.kinks(z, value)

    now, rate = jax.jvp(distances, (z,), (direction,))
    steps = [
        jnp.min(jnp.where(d != 0, jnp.abs(n) / jnp.where(d != 0, jnp.abs(d), 1), jnp.inf),
                initial=jnp.inf)
        for n, d in zip(now, rate, strict=True)
    ]  # fmt: skip
    return jnp.minimum(*steps)
