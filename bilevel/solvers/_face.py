"""One face of the box: the reduced KKT system of its free variables, factorised."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float, Int

from ..problems import BoxQP


class Unknowns(eqx.Module):
    """Free variables and the multiplier of the equality. Entries of `x` at a bound are dummies,
    held at zero: with them the Jacobian stays square, symmetric and of one shape on every face.
    """

    x: Float[Array, " n"]
    nu: Float[Array, ""]


class Sets(eqx.Module):
    """Which variables sit at their lower and upper bound; the others are free."""

    lower: Bool[Array, " n"]
    upper: Bool[Array, " n"]

    @property
    def free(self) -> Bool[Array, " n"]:
        return ~(self.lower | self.upper)


class Face(eqx.Module):
    """Cholesky factor of Q + sigma ee' over the free variables, and what bordering it needs.

    Free variables are gathered to the front and padded to the next bucket, so that the work
    follows the number of free variables although every shape is static.
    """

    sets: Sets
    index: Int[Array, " n"]
    position: Int[Array, " n"]
    bucket: Int[Array, ""]
    chol: Float[Array, "n n"]
    t: Float[Array, " n"]  # Q_FF^-1 e_F, Q_FF standing for the factorised matrix
    gamma: Float[Array, ""]  # e_F' Q_FF^-1 e_F; zero if the equality has no free variable
    middle: Float[Array, " n"]  # then: see `Interval`
    sigma: Float[Array, ""]  # see `Scales`


def buckets(n: int) -> tuple[int, ...]:
    """Static sizes a face may be padded to: 64, 96, 128, 192, 256, ..., and n itself."""
    sizes, k = [], 64
    while 5 * k <= 4 * n:  # a size close below n would not pay for its compilation
        sizes.append(k)
        k = k * 3 // 2 if k & (k - 1) == 0 else k * 4 // 3
    return (*sizes, n)


def primal(qp: BoxQP, x: Array, sets: Sets) -> Array:
    """The point: free variables from x, the others at their bounds, which may move."""
    return jnp.where(sets.free, x, jnp.where(sets.upper, qp.upper, qp.lower))


def equality(qp: BoxQP) -> tuple[Array, Array]:
    """(e, b) of the equality; zeros, which every point meets, if the problem has none."""
    if qp.e is None or qp.b is None:
        return jnp.zeros_like(qp.q), jnp.zeros((), qp.q.dtype)
    return qp.e, jnp.asarray(qp.b)


def slope(qp: BoxQP, x: Array, nu: Array) -> Array:
    """Gradient of the Lagrangian: a bound's multiplier, where x is at one."""
    return qp.Q @ x + qp.q + nu * equality(qp)[0]


def pinned(qp: BoxQP) -> Bool[Array, " n"]:
    return qp.lower >= qp.upper


class Interval(eqx.Module):
    """Where the multiplier of the equality may lie when no variable is free.

    - `ends`: the variables that bound it from below and from above.
    - `middle`: weights with which their cuts average to its middle (libsvm's convention for the
      bias), or to its one finite end.
    """

    ends: Bool[Array, "2 n"]
    middle: Float[Array, " n"]


def cuts(qp: BoxQP, gradient: Array) -> Array:
    """Per variable, the multiplier at which the bound it sits at stops to hold it."""
    e, _ = equality(qp)
    return -gradient / jnp.where(e != 0, e, 1)


def interval(qp: BoxQP, gradient: Array, sets: Sets) -> Interval:
    e, _ = equality(qp)
    usable = (e != 0) & ~pinned(qp)
    cut = cuts(qp, gradient)
    from_below = sets.lower == (e > 0)
    sides = usable[None, :] & jnp.stack([from_below, ~from_below])
    keys = jnp.where(sides, jnp.stack([cut, -cut]), -jnp.inf)
    best = jnp.max(keys, axis=1, keepdims=True)
    ends = (keys == best) & jnp.isfinite(best)
    count = jnp.sum(ends, axis=1, dtype=cut.dtype)
    finite = (count[0] > 0).astype(cut.dtype) + (count[1] > 0).astype(cut.dtype)
    share = 1 / (jnp.maximum(count, 1) * jnp.maximum(finite, 1))
    return Interval(ends, jnp.where(ends[0], share[0], 0) + jnp.where(ends[1], share[1], 0))


class Scales(eqx.Module):
    """Numbers that a problem is factorised with, computed once.

    - `ridge` keeps the factorisation of a singular matrix defined; refinement takes its effect
      away.
    - `sigma`: Q + sigma ee' has the same KKT points, with the multiplier shifted, and is positive
      definite wherever the KKT system is regular, even if Q_FF is singular: a linear SVM in d
      dimensions has d + 1 margin vectors as a rule.
    - `floor`: 1 + max |q|.
    """

    ridge: Float[Array, ""]
    sigma: Float[Array, ""]
    floor: Float[Array, ""]


def scales(qp: BoxQP) -> Scales:
    n, dtype = qp.q.shape[0], qp.q.dtype
    rows = jnp.stack([jnp.diagonal(qp.Q), equality(qp)[0], qp.q])
    top, most, linear = jnp.max(jnp.abs(rows), axis=1)
    top = jnp.where(top > 0, top, 1)
    ridge = top * 16 * n * jnp.finfo(dtype).eps
    return Scales(ridge, top / jnp.where(most > 0, most, 1) ** 2, 1 + linear)


def conditions(qp: BoxQP, u: Unknowns, face: Face) -> Unknowns:
    """KKT residual on one face: stationarity of the free variables, and the equality; with no
    variable free, the multiplier's convention instead.
    """
    x = primal(qp, u.x, face.sets)
    gradient = qp.Q @ x + qp.q
    e, b = equality(qp)
    return Unknowns(
        jnp.where(face.sets.free, gradient + u.nu * e, u.x),
        jnp.where(face.gamma > 0, e @ x - b, u.nu - face.middle @ cuts(qp, gradient)),
    )


def solve(qp: BoxQP, sets: Sets, scales: Scales) -> tuple[Unknowns, Face, Array, Interval]:
    """Solve the KKT system of a face: its unknowns, its factorisation, the last refinement (its
    size measures the error that rounding leaves), and the interval of the multiplier.
    """
    n, dtype = qp.q.shape[0], qp.q.dtype
    free = sets.free
    position = jnp.cumsum(free.astype(jnp.int32)) - 1
    count = position[-1] + 1
    everything = jnp.arange(n, dtype=jnp.int32)
    index = lax.sort(jnp.where(free, everything, n))  # the free ones first, then padding
    sizes = buckets(n)
    bucket = sum(((count > size).astype(jnp.int32) for size in sizes[:-1]), jnp.int32(0))
    ridge, sigma = scales.ridge, scales.sigma
    e, b = equality(qp)
    x = jnp.where(sets.upper, qp.upper, jnp.where(sets.lower, qp.lower, 0))
    gradient = qp.Q @ x + qp.q
    excess = e @ x - b

    def of_size(k: int):
        def branch():
            chosen = jnp.minimum(index[:k], n - 1)
            inside = index[:k] < n
            block = qp.Q[chosen][:, chosen] + sigma * jnp.outer(e[chosen], e[chosen])
            block = jnp.where(inside[:, None] & inside[None, :], block, 0)
            diagonal = jnp.diag(jnp.where(inside, ridge, 1))
            chol = lax.linalg.cholesky(block + diagonal, symmetrize_input=False)
            rhs = jnp.where(inside[:, None], jnp.stack([-gradient, e], axis=1)[chosen], 0)

            def refine(_, state):
                y, _ = state
                dy = cho_solve((chol, True), rhs - block @ y)
                return y + dy, dy[:, 0]

            y, last = lax.fori_loop(0, 2, refine, (jnp.zeros_like(rhs), rhs[:, 0]))
            ey, gamma = rhs[:, 1] @ y
            nu = jnp.where(gamma > 0, (ey + excess) / jnp.where(gamma > 0, gamma, 1), 0)
            where = jnp.clip(position, 0, k - 1)
            padded = jnp.zeros((n, n), dtype).at[:k, :k].set(chol)
            t = jnp.zeros(n, dtype).at[:k].set(y[:, 1])
            return (y[:, 0] - y[:, 1] * nu)[where], last[where], nu, padded, t, gamma

        return branch

    y, last, nu, chol, t, gamma = lax.switch(bucket, [of_size(k) for k in sizes])
    between = interval(qp, gradient, sets)
    nu = jnp.where(gamma > 0, nu - sigma * excess, between.middle @ cuts(qp, gradient))
    face = Face(sets, index, position, bucket, chol, t, gamma, between.middle, sigma)
    return Unknowns(jnp.where(free, y, 0), nu), face, jnp.where(free, last, 0), between


def backsolve(qp: BoxQP, face: Face, rhs: Unknowns) -> Unknowns:
    """Solve the bordered system by the kept factor: two triangular solves."""
    n = rhs.x.shape[0]
    e, _ = equality(qp)
    bordered = face.gamma > 0

    def of_size(k: int):
        def branch():
            chosen = jnp.minimum(face.index[:k], n - 1)
            inside = face.index[:k] < n
            y = cho_solve((face.chol[:k, :k], True), jnp.where(inside, rhs.x[chosen], 0))
            nu = (jnp.where(inside, e[chosen], 0) @ y - rhs.nu) / jnp.where(bordered, face.gamma, 1)
            nu = jnp.where(bordered, nu, 0)
            y = y - face.t[:k] * nu
            return y[jnp.clip(face.position, 0, k - 1)], nu

        return branch

    x, nu = lax.switch(face.bucket, [of_size(k) for k in buckets(n)])
    nu = jnp.where(bordered, nu + face.sigma * rhs.nu, rhs.nu)
    return Unknowns(jnp.where(face.sets.free, x, rhs.x), nu)
