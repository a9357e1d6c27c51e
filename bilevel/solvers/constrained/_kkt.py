"""The Karush-Kuhn-Tucker system of a constrained problem: its terms, and its factorisation."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float, PyTree

from ...problems.box_qp import BoxQP
from ...problems.constrained import AbstractConstrained
from ...problems.qp import QP
from ..qp._face import equality, pinned, slope


class KKTPoint(NamedTuple):
    """A point and its multipliers: the gradient of cost + nu'equality + lam'inequality is zero.

    Multipliers of inequalities are non-negative, zero where the inequality holds strictly.
    """

    x: PyTree
    nu: Float[Array, " p"]
    lam: Float[Array, " m"]


class Pins(eqx.Module):
    """The pinned variables of a box (lower = upper), and which of these follow, when their bounds
    part, the upper one: those that press against it.
    """

    fixed: Bool[Array, " n"]
    up: Bool[Array, " n"]

    def place(self, qp: BoxQP, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """x, with the pinned variables at their bounds."""
        return jnp.where(self.fixed, jnp.where(self.up, qp.upper, qp.lower), x)


def pins(problem: PyTree, x: Array | None = None, nu: Array | None = None) -> Pins | None:
    """The pinned variables of a `BoxQP`, at x and the multipliers nu of its equality if given; None
    for other problems.
    """
    if not isinstance(problem, BoxQP):
        return None
    fixed = pinned(problem)
    if x is None or nu is None:
        return Pins(fixed, jnp.zeros_like(fixed))
    at = jnp.where(fixed, problem.lower, x)
    return Pins(fixed, fixed & (slope(problem, at, jnp.sum(nu)) < 0))


class _Box(AbstractConstrained):
    """A `BoxQP` as an `AbstractConstrained`. A missing bound becomes -1 <= 0. A pinned variable
    is a dummy with its own square in the cost.
    """

    qp: BoxQP
    pins: Pins

    def initial(self):
        return jnp.zeros_like(self.qp.q)

    def cost(self, x):
        qp = self.qp
        dummy = 0.5 * jnp.sum(jnp.where(self.pins.fixed, x, 0) ** 2)
        x = self.pins.place(qp, x)
        return x @ (0.5 * (qp.Q @ x) + qp.q) + dummy

    def equality(self, x):
        if self.qp.e is None:
            return None
        e, b = equality(self.qp)
        return (e @ self.pins.place(self.qp, x) - b)[None]

    def inequality(self, x):
        qp = self.qp
        bounds = jnp.stack([qp.lower, qp.upper])
        has = jnp.isfinite(bounds) & ~self.pins.fixed[None, :]
        bounds = jnp.where(has, bounds, 0)  # a difference with infinity has no derivative
        sides = jnp.stack([bounds[0] - x, x - bounds[1]])
        return jnp.where(has, sides, -1).reshape(-1)


def constrained(problem: PyTree, known: Pins | None = None) -> AbstractConstrained:
    """The problem as one with a cost, equalities and inequalities; of a box with `known` pins."""
    if isinstance(problem, AbstractConstrained):
        return problem
    found = pins(problem) if known is None else known
    if found is not None:
        return _Box(problem, found)
    raise ValueError(
        f"problem: got {type(problem).__name__}; expected Constrained, QP or BoxQP, or another "
        "AbstractConstrained; use another solver for this problem"
    )


class Units(NamedTuple):
    """Units of a problem: of its variables (n,), and, in these, a length and a slope that count as
    large.
    """

    x: Float[Array, " n"]
    length: Float[Array, ""]
    slope: Float[Array, ""]


def units(problem: PyTree) -> Units:
    """Units in which curvatures are about one: powers of two, which round nothing. Of a `QP` or
    `BoxQP` by its matrix; of other problems by the start, where the cost must be curved along all
    variables, and so that the first Newton step, or the way to the constraints, is about one too.
    """
    if isinstance(problem, QP | BoxQP):
        diagonal = problem.Q.diagonal()
        if isinstance(problem, BoxQP):
            diagonal = jnp.where(pinned(problem), 1, diagonal)  # a dummy with its own square
        curved = (diagonal > 0) & jnp.isfinite(diagonal)
        x = _power_of_two(lax.rsqrt(jnp.where(curved, diagonal, 1)))
        steep = jnp.max(jnp.abs(x * problem.q))
        steep = jnp.where(steep > 0, steep, 1)
        return Units(x, steep, steep)
    flat = Flat(problem)
    local = flat.local(flat.start, jnp.zeros(flat.p + flat.m, flat.start.dtype))
    diagonal = jnp.diagonal(local.H)
    curved = jnp.all((diagonal > 0) & jnp.isfinite(diagonal))
    x = lax.rsqrt(jnp.where(curved, diagonal, 1))
    size = jnp.sqrt(jnp.sum((local.J * x[None, :]) ** 2, axis=1))
    unmet = jnp.concatenate([jnp.abs(local.c[: flat.p]), jnp.maximum(local.c[flat.p :], 0)])
    away = jnp.where(size > 0, unmet / jnp.where(size > 0, size, 1), 0)
    length = jnp.max(jnp.append(away, jnp.abs(x * local.gradient)))
    known = curved & (length > 0) & jnp.isfinite(length)
    length = jnp.where(known, length, 1)
    x = _power_of_two(jnp.where(known, x * length, 1))
    return Units(x, jnp.ones_like(length), length**2)


def _power_of_two(x: Array) -> Array:
    return jnp.exp2(jnp.round(jnp.log2(x)))


class Flat:
    """A problem over the raveled x in units, by default the user's. `functions(x)` is a vector of
    1 + p + m: the cost, the equalities and the inequalities, of which `given` are the user's.
    """

    def __init__(self, problem: AbstractConstrained, units: Units | None = None):
        self.problem = problem
        start, self.unravel = ravel_pytree(problem.initial())
        one = jnp.ones((), start.dtype)
        self.units = Units(jnp.ones_like(start), one, one) if units is None else units
        self.start = start / self.units.x
        shapes = jax.eval_shape(self._parts, problem.initial())
        for name, part, rank in zip(("objective", "equalities", "inequalities"), shapes, (0, 1, 1),
                                    strict=True):  # fmt: skip
            if part.ndim != rank:
                expected = "a scalar" if rank == 0 else "a vector"
                raise ValueError(f"{name}: returned shape {part.shape}, expected {expected}")
        self.p, self.given = shapes[1].size, shapes[2].size
        # Without inequalities, add one that always holds: XLA:CPU on a single core fails to
        # compile some loops over empty arrays.
        self.m = max(self.given, 1)

    def _parts(self, x):
        empty = jnp.zeros(0, self.start.dtype)
        parts = self.problem.cost(x), self.problem.equality(x), self.problem.inequality(x)
        return tuple(empty if part is None else part for part in parts)

    def functions(self, x: Float[Array, " n"]) -> Float[Array, " k"]:
        cost, equal, unequal = self._parts(self.unravel(self.units.x * x))
        always = -jnp.ones(self.m - self.given, x.dtype)
        return jnp.concatenate([cost[None], equal, unequal, always])

    def padded(self, lam: Float[Array, " given"]) -> Float[Array, " m"]:
        return jnp.concatenate([lam, jnp.zeros(self.m - self.given, lam.dtype)])

    def local(self, x: Float[Array, " n"], y: Float[Array, " c"]) -> "Local":
        """The terms of Newton's method at x and the multipliers y = (nu, lam)."""
        weights = jnp.concatenate([jnp.ones(1, x.dtype), y])
        jacobian = jax.jacfwd if x.size < weights.size else jax.jacrev
        J = jacobian(self.functions)(x)
        H = jax.jacfwd(jax.grad(lambda x: weights @ self.functions(x)))(x)
        value = self.functions(x)
        return Local(value[0], value[1:], J[0], J[1:], (H + H.T) / 2)


class Local(eqx.Module):
    """Cost and its gradient, constraints and their Jacobian, Hessian of the Lagrangian."""

    cost: Float[Array, ""]
    c: Float[Array, " c"]
    gradient: Float[Array, " n"]
    J: Float[Array, "c n"]
    H: Float[Array, "n n"]

    def scaled(self, cost: Array, rows: Array) -> "Local":
        return Local(cost * self.cost, rows * self.c, cost * self.gradient,
                     rows[:, None] * self.J, cost * self.H)  # fmt: skip


class Factor(eqx.Module):
    """Factorisation of [[H, J'], [J, -D]] with D >= 0 diagonal, by two Cholesky factors.

    With the rows of J normalised, the system is equivalent to that of M = H + J' Sigma J, with
    scaled multipliers, for any diagonal Sigma with Sigma D < 1. For large Sigma, M is positive
    definite if, and only if, H is positive definite on the null space of the rows with D = 0
    (Debreu 1952): this is the second-order condition. The Schur complement of M is singular if, and
    only if, the rows with D = 0 depend on each other.

    - `curved`, `independent`: whether both conditions hold beyond rounding. If they do not, a ridge
      makes the factors exist, and iterative refinement corrects for it.
    """

    size: Float[Array, " c"]
    J: Float[Array, "c n"]
    sigma: Float[Array, " c"]
    shrink: Float[Array, " c"]  # 1 / (1 - Sigma D)
    chol: Float[Array, "n n"]
    T: Float[Array, "n c"]
    schur: Float[Array, "c c"]
    equilibrate: Float[Array, " c"]
    curved: Bool[Array, ""]
    independent: Bool[Array, ""]

    def solve(self, a: Float[Array, " n"], b: Float[Array, " c"]) -> tuple[Array, Array]:
        """(x, y) with H x + J'y = a and J x - D y = b."""
        b = b / self.size
        w = cho_solve((self.chol, True), a + (self.sigma * b) @ self.J)
        scale = self.equilibrate
        y = scale * cho_solve((self.schur, True), scale * (self.J @ w - b))
        return w - self.T @ y, self.shrink * y / self.size


def factorise(H: Array, J: Array, D: Array) -> Factor:
    """The `Factor` of H (n, n), J (c, n) and D (c,)."""
    n, k, eps = H.shape[0], J.shape[0], float(jnp.finfo(H.dtype).eps)
    size = jnp.sqrt(jnp.sum(J**2, axis=1))
    size = jnp.where(size > 0, size, 1)
    J, D = J / size[:, None], D / size**2
    top = jnp.max(jnp.abs(H))
    top = jnp.where(top > 0, top, 1)

    def attempt(state):
        """Cholesky factor of M for this Sigma; the next attempt has a larger one."""
        sigma, *_, tries = state
        shrink = 1 + sigma * D
        rows = sigma / shrink
        M = H + J.T @ (rows[:, None] * J)
        widest = jnp.max(jnp.abs(jnp.diagonal(M)))
        chol = lax.linalg.cholesky(M + 16 * n * eps * widest * jnp.eye(n, dtype=H.dtype),
                                   symmetrize_input=False)  # fmt: skip
        curved = jnp.min(jnp.diagonal(chol)) ** 2 > 64 * n * eps * widest
        return 100 * sigma, chol, rows, shrink, curved, tries + 1

    zero = jnp.zeros((n, n), H.dtype)
    start = top, zero, D, D, jnp.bool_(False), jnp.int32(0)
    _, chol, rows, shrink, curved, _ = lax.while_loop(lambda s: ~s[4] & (s[5] < 4), attempt, start)
    # An indefinite M has no factor. Any other can replace it: the result is "singular".
    usable = jnp.all(jnp.isfinite(chol))
    chol = jnp.where(usable, chol, jnp.sqrt(top) * jnp.eye(n, dtype=H.dtype))
    T = cho_solve((chol, True), J.T)
    S = J @ T
    S = S + jnp.diag(D * shrink)
    diagonal = jnp.diagonal(S)
    equilibrate = lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1))
    S = equilibrate[:, None] * S * equilibrate[None, :]
    S = S + 16 * k * eps * jnp.eye(k, dtype=H.dtype)
    schur = lax.linalg.cholesky(S, symmetrize_input=False)
    independent = jnp.min(jnp.diagonal(schur)) ** 2 > 64 * k * eps
    schur = jnp.where(jnp.all(jnp.isfinite(schur)), schur, jnp.eye(k, dtype=H.dtype))
    return Factor(size, J, rows, shrink, chol, T, schur, equilibrate, curved & usable, independent)
