"""How right a hypergradient is: residuals, margins and an error bound, from the kept factor."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend.core import Literal
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
    - `rounding_error`: what rounding does to it, of every array and of every sum, sampled.
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


SAFETY = 3.0
"""Factor on the first-order estimates; tests hold the bound against exact gradients."""

PROBES = 6


def certify(objective: AbstractBilevel, z: PyTree, warm: PyTree | None = None) -> Certificate:
    """The hypergradient of `objective` at z, with its certificate.

    Costs about ten gradients. `jit` and `vmap` it as you like.
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
    vecmat, back_transposed = matvec, back
    if not solver.symmetric:
        transposed = jax.linear_transpose(matvec, u)
        vecmat = lambda v: transposed(v)[0]  # noqa: E731
        back_transposed = lambda rhs: solver.backsolve_transposed(problem, frozen, rhs)  # noqa: E731
    v = linear.solve(vecmat, back_transposed, r)
    residual, pull = jax.vjp(lambda z: solver.conditions(hoist(objective.inner(z)), u, frozen), z)
    left = tree_sub(r, vecmat(v))
    (through,) = jax.vmap(pull)(
        jax.tree.map(lambda *pair: jnp.stack(pair), v, back_transposed(left))
    )
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
    relative perturbations of size eps of every array (those the objective holds, z, and those of
    the inner problem) and of every sum on the way to the gradient (`_rounded`).

    A backward stable computation errs by about as much as (b). Random signs rather than worst
    cases: the worst case over 1e4 entries would be 1e2 times what ever happens. Largest of few.
    """
    dtype = jax.tree.leaves(u)[0].dtype
    eps = jnp.asarray(jnp.finfo(dtype).eps, dtype)

    def noisy(tree, about, seed):
        arrays, rest = eqx.partition(tree, eqx.is_inexact_array)
        leaves, structure = jax.tree.flatten(arrays)
        leaves = [_shaken(leaf, about, seed + i, leaf.shape) for i, leaf in enumerate(leaves)]
        return eqx.combine(jax.tree.unflatten(structure, leaves), rest)

    def probe(case):
        seed, t_shift, t_noise = case

        def gradient(shift, t):
            about = 1 - t, 1 + t
            perturbed = noisy(objective, about, seed)
            shifted = jax.tree.map(lambda a, d: a + shift * d, u, delta)

            def score(z):
                *_, value = _attached(
                    perturbed, z, shifted, frozen, lambda p: noisy(p, about, seed + 50)
                )
                return perturbed.outer(z, value)

            return _rounded(jax.grad(score), noisy(z, about, seed + 90), about, seed + 1000)

        zero = jnp.zeros((), dtype)
        g, moved = jax.jvp(gradient, (zero, zero), (t_shift, t_noise))
        return norm(moved) + t_noise * norm(g)

    seeds = jnp.arange(1 + PROBES, dtype=jnp.uint32) * 100
    first = seeds == 0
    moved = jax.lax.map(probe, (seeds, first.astype(dtype), jnp.where(first, 0, eps)))
    return moved[0], jnp.max(moved[1:])


SUMS = frozenset(
    ("add", "sub", "add_any", "reduce_sum", "cumsum", "scatter-add", "dot_general",
     "conv_general_dilated")
)  # fmt: skip
"""What adds, by JAX's names."""


def _rounded(
    function: Callable[[PyTree], PyTree], at: PyTree, about: tuple[Array, Array], seed: Array
) -> PyTree:
    """`function(at)` with the terms of every sum multiplied by one or the other of two numbers
    `about` 1, each use of a term by its own draw.

    This is Monte Carlo arithmetic (Parker 1997) where it matters. A product is right to its last
    digit; only a sum whose terms cancel makes more of that, and terms may cancel anywhere: in an
    objective, a learner, a kernel, or between the two ends of a derivative. The linear solve stays
    as it is, for its residual is known; so does the inside of loops (`scan`, `while`, `cond`) in an
    objective, whose own rounding is not seen.
    """
    leaves, structure = jax.tree.flatten(at)
    closed, shape = jax.make_jaxpr(
        lambda *leaves: function(jax.tree.unflatten(structure, leaves)), return_shape=True
    )(*leaves)
    sums = 0

    def noisy(name, terms):
        nonlocal sums
        sums += 1
        terms, draw = list(terms), seed + sums
        if name in ("add", "sub"):
            # A draw for every entry of the result, as each rounds on its own, and opposite signs
            # on the two sides, so that terms which cancel show it.
            shape = jnp.broadcast_shapes(*map(jnp.shape, terms))
            low, high = about
            terms[1] = _shaken(terms[1], (high, low), draw, shape)
            terms[0] = _shaken(terms[0], about, draw, shape)
            return terms
        # Of a product one factor, the larger: of a matrix and a vector the matrix, whose entries
        # round each on its own.
        which = 2 if name == "scatter-add" else 0
        if name == "dot_general" and jnp.size(terms[1]) > jnp.size(terms[0]):
            which = 1
        terms[which] = _shaken(terms[which], about, draw, jnp.shape(terms[which]))
        return terms

    def evaluate(jaxpr, consts, arguments):
        values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True))

        def read(atom):
            return atom.val if isinstance(atom, Literal) else values[atom]

        for equation in jaxpr.eqns:
            primitive, inputs = equation.primitive, [read(atom) for atom in equation.invars]
            if primitive.name == "jit":
                inner = equation.params["jaxpr"]
                out = evaluate(inner.jaxpr, inner.consts, inputs)
            else:
                if primitive.name in SUMS and _rounds(inputs[0]):
                    inputs = noisy(primitive.name, inputs)
                out = primitive.bind(*inputs, **primitive.get_bind_params(equation.params))
                out = out if primitive.multiple_results else [out]
            values.update(zip(equation.outvars, out, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    out = evaluate(closed.jaxpr, closed.consts, leaves)
    return jax.tree.unflatten(jax.tree.structure(shape), out)


def _rounds(a) -> bool:
    return jnp.issubdtype(jnp.result_type(a), jnp.inexact)


def _shaken(a: Array, about: tuple[Array, Array], seed: Array, shape: tuple[int, ...]) -> Array:
    """`a`, broadcast to `shape`, with every entry times one or the other of two numbers `about` 1,
    by an integer hash of its position: as random as needed, cheap to compile, no sum in it.
    """
    position = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    h = (position + seed * jnp.uint32(0x9E3779B1)) * jnp.uint32(0x85EBCA77)
    h = (h ^ (h >> 15)) * jnp.uint32(0xC2B2AE3D)
    return a * jnp.where((h >> 16) & 1 == 1, *about).astype(jnp.result_type(a))


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
