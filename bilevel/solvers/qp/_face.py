"""One face of the box: the reduced KKT system of its free variables, factorised."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float, Int

from ...problems import BoxQP, Product


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
    chol: Float[Array, "k k"]
    t: Float[Array, " n"]  # Q_FF^-1 e_F, Q_FF standing for the factorised matrix
    gamma: Float[Array, ""]  # e_F' Q_FF^-1 e_F; zero if the equality has no free variable
    middle: Float[Array, " n"]  # then: see `middle`
    sigma: Float[Array, ""]  # see `Scales`


def buckets(qp: BoxQP) -> tuple[int, ...]:
    """Static sizes a face may be padded to: 64, 96, 192, 384, ..., and n itself. Each size costs
    the compilation of one more branch, so that there are few, and none close below n. They end
    early for a matrix of low rank r: no more than r + 1 variables need be free.
    """
    n = qp.q.shape[0]
    needed = min(n, qp.Q.factor.shape[1] + 2) if isinstance(qp.Q, Product) else n
    sizes, k = [], 64
    while 5 * k <= 4 * n:
        sizes.append(k)
        if k >= needed:
            return tuple(sizes)
        k = k * 3 // 2 if k == 64 else 2 * k
    return (*sizes, n)


def block(qp: BoxQP, chosen: Int[Array, " k"]) -> Float[Array, "k k"]:
    """Rows and columns of Q."""
    if isinstance(qp.Q, Product):
        return qp.Q.block(chosen)
    return qp.Q[chosen[:, None], chosen[None, :]]


def diagonal(qp: BoxQP) -> Float[Array, " n"]:
    return qp.Q.diagonal() if isinstance(qp.Q, Product) else jnp.diagonal(qp.Q)


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


def cuts(qp: BoxQP, gradient: Array) -> Array:
    """Per variable, the multiplier at which the bound it sits at stops to hold it."""
    e, _ = equality(qp)
    return -gradient / jnp.where(e != 0, e, 1)


def sides(qp: BoxQP, gradient: Array, sets: Sets) -> Float[Array, "2 n"]:
    """Keys whose largest values end, if no variable is free, the interval of the multiplier of
    the equality: its lower end, and its upper end negated.
    """
    e, _ = equality(qp)
    usable = (e != 0) & ~pinned(qp)
    cut = cuts(qp, gradient)
    from_below = sets.lower == (e > 0)
    chosen = usable[None, :] & jnp.stack([from_below, ~from_below])
    return jnp.where(chosen, jnp.stack([cut, -cut]), -jnp.inf)


def centre(best: Float[Array, "2"]) -> Array:
    """Middle of the multiplier's interval (libsvm's convention for the bias), or its one finite
    end, or zero.
    """
    finite = jnp.isfinite(best)
    lower, upper = jnp.where(finite, best, 0)
    return (lower - upper) / jnp.where(finite[0] & finite[1], 2, 1)


def middle(keys: Float[Array, "2 n"], best: Float[Array, "2"]) -> Array:
    """Weights with which the cuts of the variables average to `centre`."""
    ends = ((keys == best[:, None]) & jnp.isfinite(best)[:, None]).astype(keys.dtype)
    count = ends @ jnp.ones(keys.shape[1], keys.dtype)
    known = jnp.minimum(count, 1)
    return (known / (jnp.maximum(count, 1) * jnp.maximum(known[0] + known[1], 1))) @ ends


class Scales(eqx.Module):
    """Numbers that a problem is factorised and judged with, computed once.

    - `ridge` keeps the factorisation of a singular matrix defined; refinement takes its effect
      away.
    - `sigma`: Q + sigma ee' has the same KKT points, with the multiplier shifted, and is positive
      definite wherever the KKT system is regular, even if Q_FF is singular: a linear SVM in d
      dimensions has d + 1 margin vectors as a rule.
    - `floor`: 1 + max |q|.
    - `rows`: e, |e| and the roots of Q's diagonal: |Q_ij| <= roots_i roots_j bounds the terms
      that a gradient sums, whose rounding error no tolerance may undercut.
    """

    numbers: Float[Array, "3"]  # in one array, which is one kernel to compile
    rows: Float[Array, "3 n"]

    @property
    def ridge(self) -> Float[Array, ""]:
        return self.numbers[0]

    @property
    def sigma(self) -> Float[Array, ""]:
        return self.numbers[1]

    @property
    def floor(self) -> Float[Array, ""]:
        return self.numbers[2]


def scales(qp: BoxQP) -> Scales:
    n, dtype = qp.q.shape[0], qp.q.dtype
    e, _ = equality(qp)
    roots = jnp.sqrt(jnp.abs(diagonal(qp)))
    top, most, linear = jnp.max(jnp.abs(jnp.stack([roots, e, qp.q])), axis=1)
    top = jnp.where(top > 0, top**2, 1)
    ridge = top * 16 * n * jnp.finfo(dtype).eps
    sigma = top / jnp.where(most > 0, most, 1) ** 2
    return Scales(jnp.stack([ridge, sigma, 1 + linear]), jnp.stack([e, jnp.abs(e), roots]))


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


def solve(
    qp: BoxQP, sets: Sets, start: Array, scales: Scales
) -> tuple[Unknowns, Face, Array, Array]:
    """Solve the KKT system of a face: its unknowns, its factorisation, the last refinement, whose
    size measures the error that rounding leaves, and an idle direction: where the system is
    singular, one that changes neither objective nor equality (inverse iteration by the ridge).

    `start` says from where: on a face whose system is singular, the solution that is near it.
    The multiplier means nothing if no variable is free, and `Face.middle` is left to the caller.
    """
    n, dtype = qp.q.shape[0], qp.q.dtype
    free = sets.free
    position = jnp.cumsum(free.astype(jnp.int32)) - 1
    count = position[-1] + 1
    index = lax.sort(jnp.where(free, jnp.arange(n, dtype=jnp.int32), n))  # then padding
    sizes = buckets(qp)
    bucket = sum(((count > size).astype(jnp.int32) for size in sizes[:-1]), jnp.int32(0))
    e, b = equality(qp)
    x = primal(qp, start, sets)
    gradient = qp.Q @ x + qp.q
    excess = (scales.rows @ x)[0] - b
    spread = jnp.cos(jnp.arange(n, dtype=dtype) ** 2)

    def of_size(k: int):
        def branch():
            inside = index[:k] < n
            chosen = jnp.minimum(index[:k], n - 1)
            near = e[chosen]
            inner = block(qp, chosen) + scales.sigma * jnp.outer(near, near)
            inner = jnp.where(inside[:, None] & inside[None, :], inner, 0)
            ridge = jnp.diag(jnp.where(inside, scales.ridge, 1))
            chol = lax.linalg.cholesky(inner + ridge, symmetrize_input=False)
            rhs = jnp.where(inside[:, None], jnp.stack([-gradient, e, spread], axis=1)[chosen], 0)
            y = cho_solve((chol, True), rhs)
            dy = cho_solve((chol, True), rhs - inner @ y)
            found = jnp.concatenate([(y + dy)[:, :2], dy[:, ::2]], axis=1)
            return jnp.pad(chol, (0, sizes[-1] - k)), jnp.pad(found, ((0, n - k), (0, 0)))

        return branch

    chol, found = lax.switch(bucket, [of_size(k) for k in sizes])
    y, t, last, idle = jnp.where(free[:, None], found[position], 0).T
    ey, gamma = e @ jnp.stack([y, t], axis=1)
    nu = jnp.where(gamma > 0, (ey + excess) / jnp.where(gamma > 0, gamma, 1), 0)
    solution = jnp.where(free, x + y - t * nu, 0)
    face = Face(sets, index, position, bucket, chol, t, gamma, jnp.zeros(n, dtype), scales.sigma)
    return Unknowns(solution, nu - scales.sigma * excess), face, last, idle


def backsolve(qp: BoxQP, face: Face, rhs: Unknowns) -> Unknowns:
    """Solve the bordered system by the kept factor: two triangular solves."""
    n = rhs.x.shape[0]
    e, _ = equality(qp)
    bordered = face.gamma > 0
    free = face.sets.free
    chosen = jnp.where(face.index < n, rhs.x[jnp.minimum(face.index, n - 1)], 0)

    def of_size(k: int):
        return lambda: jnp.pad(cho_solve((face.chol[:k, :k], True), chosen[:k]), (0, n - k))

    y = lax.switch(face.bucket, [of_size(k) for k in buckets(qp)])
    y = jnp.where(free, y[face.position], 0)
    nu = jnp.where(bordered, (e @ y - rhs.nu) / jnp.where(bordered, face.gamma, 1), 0)
    x = jnp.where(free, y - face.t * nu, rhs.x)
    return Unknowns(x, jnp.where(bordered, nu + face.sigma * rhs.nu, rhs.nu))
