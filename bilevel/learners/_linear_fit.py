"""Smooth linear learners, and Newton's method for them by the smaller of two factors."""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from .._data import Data
from .._solver import AbstractSolver, Point
from .._tree import all_finite
from ..derivatives import AbstractDerivative
from ..losses import Huber, Logistic, Squares
from ..problems import Smooth
from ..results import CONVERGED, MAX_STEPS, NON_FINITE
from ..solvers import Newton, _cholesky
from ..solvers._moments import moments
from ..solvers._renew import renewed
from ..solvers.smooth._smooth import AbstractSmoothSolver
from ._checks import require_table, require_weights, validity
from ._learner import AbstractLearner
from ._linear_model import LinearModel
from ._training import Training
from ._units import Units, identity, units
from .kernels import Linear

Unknowns = Float[Array, " p"]
"""The weights w, then the bias."""

MANY, RARELY = 2**15, 0.05
"""So many rows leave the caches of a core: steps and refinements with an old factor, which pass
over all of them, cost more beside a new one, which works on blocks.
"""


class Fit(eqx.Module):
    """The arrays of the objective. `share` is the weights over their sum; x is in `units`.

    `gram` has the products of all pairs of rows, if there are more features than rows. Only the
    solver uses it: objective and derivatives do not depend on it.
    """

    x: Float[Array, "n d"]
    y: Float[Array, " n"]
    share: Float[Array, " n"]
    l2: Float[Array, ""]
    l2_bias: Float[Array, ""]
    gram: Float[Array, "n n"] | None
    loss: Squares | Logistic | Huber
    units: Units

    def mean_loss(self, f: Float[Array, " n"]) -> Float[Array, ""]:
        return self.share @ self.loss(self.y, f)

    def slope_and_curvature(self, f: Float[Array, " n"]) -> tuple[Array, Array]:
        """Derivatives of the mean loss in each decision."""
        return jax.jvp(jax.grad(self.mean_loss), (f,), (jnp.ones_like(f),))


def objective(unknowns: Unknowns, fit: Fit) -> Float[Array, ""]:
    loss = fit.mean_loss(fit.x @ unknowns[:-1] + unknowns[-1])
    w, bias = fit.units.model(unknowns[:-1], unknowns[-1])
    return loss + 0.5 * (fit.l2 * jnp.sum(w * w) + fit.l2_bias * bias * bias)


def hessian(unknowns: Unknowns, fit: Fit) -> Float[Array, "p p"]:
    w, bias = unknowns[:-1], unknowns[-1]
    _, curvature = fit.slope_and_curvature(fit.x @ w + bias)
    strengths = jnp.append(fit.l2 * fit.units.factor**2, fit.l2_bias)
    return moments(fit.x, jnp.ones_like(curvature), curvature) + jnp.diag(strengths)


class GramFactor(eqx.Module):
    """Factor of G = l2 I + E K E, with K = XX' and E^2 the curvatures. It gives the inverse of
    [l2 I + X'EEX, X'EE1; 1'EEX, 1'EE1 + l2_bias], by the matrix inversion lemma.
    """

    chol: Float[Array, "n n"]
    root: Float[Array, " n"]  # E
    along: Float[Array, " n"]  # G^-1 E1
    bias: Float[Array, ""]  # Schur complement of the bias

    def split(self, fit: Fit, moved: Float[Array, " n"], of_bias: Array) -> tuple[Array, Array]:
        """(a, step of the bias) for the right side (r, of_bias) with Xr = moved. The step of w is
        (r - X'a) / l2.
        """
        seen = self.root * moved
        bias = (of_bias - self.along @ seen) / self.bias
        a = self.root * (_cholesky.solve(self.chol, seen) + fit.l2 * bias * self.along)
        return a, bias


class LinearNewton(AbstractSmoothSolver):
    """Newton's method with line search for `Smooth` problems whose arguments are a `Fit`.

    With d features and n rows it factorises the Hessian if d <= n (see `Newton`), otherwise the
    Gram matrix, in n unknowns a with w = X'a.

    - `tol`: relative step length of convergence.
    - `max_steps`: Newton steps, at most.
    - `reuse`: a factor is kept while each step reduces the gradient at least by this factor. Ridge
      needs one factorisation. From `MANY` rows on it is at most `RARELY`.
    """

    tol: float = 1e-12
    max_steps: int = 100
    reuse: float = 0.3

    def cold(self, problem: Smooth) -> PyTree:
        if problem.args.gram is None:
            return problem.start
        return jnp.zeros_like(problem.args.y), jnp.zeros((), problem.start.dtype)

    def run(self, problem: Smooth, warm: PyTree) -> Point:
        fit = problem.args
        if fit.gram is None:
            reuse = min(self.reuse, RARELY) if fit.x.shape[0] >= MANY else self.reuse
            return Newton(self.tol, self.max_steps, reuse).run(problem, warm)
        K, eps = fit.gram, float(jnp.finfo(fit.gram.dtype).eps)

        def value_at(a, moved, bias):
            """`moved` is Ka."""
            penalty = fit.l2 * (a @ moved) + fit.l2_bias * bias * bias
            return fit.mean_loss(moved + bias) + 0.5 * penalty

        def factor(curvature):
            root = jnp.sqrt(jnp.maximum(curvature, 0))
            G = root[:, None] * K * root[None, :] + fit.l2 * jnp.eye(root.size, dtype=K.dtype)
            chol = _cholesky.cholesky(G)
            along = _cholesky.solve(chol, root)
            return GramFactor(chol, root, along, fit.l2_bias + fit.l2 * (root @ along))

        def body(state):
            a, moved, bias, kept, before, before_length, step, _ = state
            slope, curvature = fit.slope_and_curvature(moved + bias)
            c, of_bias = slope + fit.l2 * a, jnp.sum(slope) + fit.l2_bias * bias
            Kc = K @ c
            size = jnp.sqrt(jnp.maximum(c @ Kc, 0) + of_bias**2)
            fresh = ~(size <= self.reuse * before)
            kept = renewed(fresh, lambda: factor(curvature), kept)
            part, db = kept.split(fit, Kc, of_bias)
            da, db = (part - c) / fit.l2, -db
            Kda = K @ da
            fall, value = Kda @ c + db * of_bias, value_at(a, moved, bias)

            def rises(t):
                new = value_at(a + t * da, moved + t * Kda, bias + t * db)
                return ~(new <= value + 1e-4 * t * fall + 8 * eps * jnp.abs(value))

            t = lax.while_loop(lambda t: rises(t) & (t > 1e-10), lambda t: t / 2, jnp.ones_like(db))
            length = jnp.sqrt(jnp.maximum(da @ Kda, 0) + db * db)
            a, bias = a + t * da, bias + t * db
            moved = K @ a  # not moved + t Kda, which accumulates rounding
            length = length / (jnp.sqrt(jnp.maximum(a @ moved, 0) + bias * bias) + eps**2)
            floor = (length < eps**0.5) & (length > 0.5 * before_length)
            flat = -fall <= (32 * eps) ** 2 * jnp.abs(value)  # as in `Newton`
            over = ((t == 1) & ((length <= self.tol) | floor)) | flat
            return a, moved, bias, kept, size, length, step + 1, over

        def go(state):
            return ~state[7] & (state[6] < self.max_steps) & jnp.isfinite(state[4] + state[2])

        a, bias = warm
        one = jnp.ones_like(bias)
        blank = GramFactor(jnp.zeros_like(K), jnp.zeros_like(a), jnp.zeros_like(a), one)
        start = (a, K @ a, bias, blank, -one, jnp.inf * one, jnp.int32(0), jnp.bool_(False))
        a, _, bias, kept, size, _, steps, over = lax.while_loop(go, body, start)
        result = jnp.where(over, CONVERGED, MAX_STEPS)
        result = jnp.where(all_finite((a, bias, size)), result, NON_FINITE).astype(jnp.int32)
        # A last step in w and the bias, whose gradient does not carry the rounding of K.
        unknowns = jnp.append(a @ fit.x, bias)
        last = self.backsolve(problem, kept, jax.grad(problem.objective)(unknowns, fit))
        unknowns = jnp.where(all_finite(last), unknowns - last, unknowns)
        stats = {"steps": steps, "residual": size}
        return Point(unknowns, kept, (a, bias), result, stats)

    def backsolve(self, problem: Smooth, frozen: PyTree, rhs: Unknowns) -> Unknowns:
        fit = problem.args
        if fit.gram is None:
            return Newton().backsolve(problem, frozen, rhs)
        r, of_bias = rhs[:-1], rhs[-1]
        a, bias = frozen.split(fit, fit.x @ r, of_bias)
        return jnp.append((r - a @ fit.x) / fit.l2, bias)


class Known(eqx.Module):
    """The units of a learner's trainings and, for more features than rows, the products of all
    pairs of the rows at the beginning of every data set.
    """

    units: Units
    gram: Float[Array, "k k"] | None


class AbstractLinearLearner(AbstractLearner):
    """min_{w, b} sum_i share_i loss(y_i, w'x_i + b) + l2/2 |w|^2 + l2_bias/2 b^2, where share is
    the weights over their sum. `known` is None until `prepare`.
    """

    l2: eqx.AbstractVar[Float[Array, ""]]
    l2_bias: eqx.AbstractVar[Float[Array, ""]]
    solver: eqx.AbstractVar[AbstractSolver]
    derivative: eqx.AbstractVar[AbstractDerivative]
    known: eqx.AbstractVar[Known | None]

    fit_of: ClassVar[type[Fit]] = Fit

    @property
    @abc.abstractmethod
    def loss(self) -> Squares | Logistic | Huber:
        """Loss of each row: convex and twice differentiable in f."""

    def prepare(self, data):
        units, gram = self._units(data), None
        if data.x.shape[1] > data.rows:
            x = units.rows(data.x)
            gram = x @ x.T
        known = Known(units, gram)
        return eqx.tree_at(lambda s: s.known, self, known, is_leaf=lambda leaf: leaf is None)

    def prepare_rows(self, x):
        return Linear().prepare(x, x)

    def check(self, data: Data) -> None:
        require_table(data)
        require_weights(data)

    def training(self, data, *, key=None):
        del key
        share = data.weight / jnp.sum(data.weight)
        strengths = self.l2.astype(data.x.dtype), self.l2_bias.astype(data.x.dtype)
        units = self._units(data) if self.known is None else self.known.units
        x = units.rows(data.x)
        gram = self._gram(x) if data.x.shape[1] > data.rows else None
        fit = self.fit_of(x, data.targets(), share, *strengths, gram, self.loss, units)
        start = jnp.zeros(data.x.shape[1] + 1, data.x.dtype)
        return Training(
            data, Smooth(objective, start, fit, hessian), eqx.Partial(_model, units),
            result=self.validity(data),
        )  # fmt: skip

    def validity(self, data: Data) -> Int[Array, ""]:
        """The code of data and strengths that `check` refuses; it also sees traced values."""
        return validity(data, self.l2, self.l2_bias)

    def _units(self, data: Data) -> Units:
        if not self.solver.converges:
            return identity(data.x)
        # The Gram matrix knows one strength for all weights, hence one scale.
        share = data.weight / jnp.sum(data.weight)
        strengths = self.l2.astype(data.x.dtype), self.l2_bias.astype(data.x.dtype)
        return units(data.x, share, *strengths, data.x.shape[1] <= data.rows)

    def _gram(self, x: Float[Array, "n d"]) -> Float[Array, "n n"]:
        x = lax.stop_gradient(x)
        known = None if self.known is None else self.known.gram
        if known is None:
            return x @ x.T
        side = jnp.inner(x[known.shape[0] :], x)
        return jnp.concatenate(
            [jnp.concatenate([known, side[:, : known.shape[0]].T], axis=1), side]
        )


def _model(units: Units, value: Unknowns) -> LinearModel:
    return LinearModel(*units.model(value[:-1], value[-1]))
