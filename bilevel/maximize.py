"""The outer problem: ascent on a hypergradient, as one compiled loop."""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from ._bilevel import AbstractBilevel, Info
from ._solution import CONVERGED
from ._tree import norm

RUNNING, SETTLED, ZERO_GRADIENT, INNER_FAILED, NOT_FINITE = range(5)

SENTENCES = (
    "used all its steps: give more steps to see whether the value still improves",
    "stopped early: no further progress at the smallest step length",
    "stopped: the hypergradient is exactly zero here. For an SVM it means that no poison point is "
    "a support vector; start elsewhere or pass reseed=",
    "stopped: the inner problem could not be solved at a step; `inner_result` holds its code",
    "stopped: the objective or its hypergradient is NaN or infinite",
)


class Step(eqx.Module):
    """One evaluation, as `record` sees it."""

    z: PyTree
    value: Float[Array, ""]
    gradient: PyTree
    info: Info


def value_only(step: Step) -> Array:
    """The default record."""
    return step.value


class State(eqx.Module):
    """Everything the next step needs. Save it and pass it as `state=` to resume."""

    z: PyTree
    warm: PyTree
    optimizer: PyTree
    best: PyTree
    best_value: Float[Array, ""]
    best_gradient: PyTree
    best_warm: PyTree
    scale: Float[Array, ""]
    stall: Int[Array, ""]
    step: Int[Array, ""]
    status: Int[Array, ""]
    inner_result: Int[Array, ""]
    key: PRNGKeyArray


class Optimized(eqx.Module):
    """Outcome of `maximize` or `minimize`.

    - `z`, `value`: the best point seen and its objective.
    - `steps`: evaluations of value and hypergradient used.
    - `status`: code of how it ended; `message` is its sentence.
    - `history`: per step, what `record` returned; rows from `steps` on are unused (NaN if float).
    - `state`: to resume from.
    """

    z: PyTree
    value: Float[Array, ""]
    steps: Int[Array, ""]
    status: Int[Array, ""]
    history: PyTree
    state: State

    @property
    def message(self) -> str:
        return SENTENCES[int(jnp.max(self.status))]


def maximize(objective: AbstractBilevel, z0: PyTree, **options) -> Optimized:
    """Climb `objective` from z0. See `minimize` for the options; everything else is the same."""
    return _optimize(objective, z0, sign=-1, **options)


def minimize(
    objective: AbstractBilevel,
    z0: PyTree,
    **options,
) -> Optimized:
    """Descend `objective` from z0 along its hypergradient, keeping the best point.

    Non-monotone: objectives with hinges and active sets stall under a line search that insists on
    progress. Steps are taken as the optimiser says; after `patience` steps without progress the
    run returns to the best point, forgets the optimiser's momentum and multiplies its updates by
    `shrink`, until they fall below `floor`.

    Options:

    - `optimizer`: any optax transformation (default `optax.sgd(0.5)`).
    - `project`: z -> z onto the feasible set, applied to z0 and after each update.
    - `steps`: evaluations at most (100). `patience` (10), `shrink` (0.5), `floor` (0.04),
      `tol`: least gain that counts as progress (1e-6).
    - `reseed(key, z, gradient) -> z`: called where part of the hypergradient (a row of a leaf, or
      a whole leaf) is exactly zero, to move it elsewhere. Without it, an all-zero hypergradient
      stops the run and says so.
    - `record(step: Step) -> pytree`: what `history` keeps per step (default: the value).
    - `state`: `Optimized.state` of an earlier run, to go on from there.
    - `key`: randomness for `reseed`.

    One `lax` loop: `jit` and `vmap` it as you like.
    """
    return _optimize(objective, z0, sign=1, **options)


def _zero_parts(gradient: PyTree) -> Bool[Array, ""]:
    """Whether any row of a matrix leaf, or any whole leaf, is exactly zero."""

    def zero(leaf):
        axes = tuple(range(1, leaf.ndim)) if leaf.ndim > 1 else None
        return jnp.any(jnp.all(leaf == 0, axis=axes))

    return jnp.any(jnp.stack([zero(leaf) for leaf in jax.tree.leaves(gradient)]))


def _select(condition: Array, a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def _optimize(
    objective: AbstractBilevel,
    z0: PyTree,
    *,
    sign: int,
    optimizer: optax.GradientTransformation | None = None,
    project: Callable[[PyTree], PyTree] = lambda z: z,
    steps: int = 100,
    patience: int = 10,
    shrink: float = 0.5,
    floor: float = 0.04,
    tol: float = 1e-6,
    reseed: Callable[[PRNGKeyArray, PyTree, PyTree], PyTree] | None = None,
    record: Callable[[Step], PyTree] = value_only,
    state: State | None = None,
    key: PRNGKeyArray | None = None,
) -> Optimized:
    if steps < 1:
        raise ValueError(f"steps: got {steps}, expected at least 1")
    optimizer = optax.sgd(0.5) if optimizer is None else optimizer

    def loss(z, warm):
        value, aux = objective.evaluate(z, warm)
        return sign * value, aux

    def evaluate(z, warm):
        (value, (warm, info)), gradient = jax.value_and_grad(loss, has_aux=True)(z, warm)
        return Step(z, value, gradient, info), warm

    def signed(gradient):
        return jax.tree.map(lambda g: sign * g, gradient)

    def seen(step):  # by the user: the sign is ours
        return Step(step.z, sign * step.value, signed(step.gradient), step.info)

    if state is None:
        begin = _start(objective, project(z0), optimizer, key)
    else:
        begin = eqx.tree_at(lambda s: (s.step, s.status), state, (jnp.int32(0), jnp.int32(RUNNING)))

    def body(carry):
        s, history = carry
        step, warm = evaluate(s.z, s.warm)
        value, gradient, inner = step.value, step.gradient, step.info.result
        history = jax.tree.map(
            lambda rows, row: rows.at[s.step].set(row), history, record(seen(step))
        )
        solved = inner == CONVERGED
        size = norm(gradient)
        finite = jnp.isfinite(value) & jnp.isfinite(size)
        better = solved & finite & (value < s.best_value - tol)
        best, best_value, best_gradient, best_warm = _select(
            better,
            (s.z, value, gradient, warm),
            (s.best, s.best_value, s.best_gradient, s.best_warm),
        )
        stall = jnp.where(better, 0, s.stall + 1)
        stuck = stall >= patience
        scale = jnp.where(stuck, s.scale * shrink, s.scale)
        z, gradient, warm, memory = _select(
            stuck,
            (best, best_gradient, best_warm, optimizer.init(s.z)),
            (s.z, gradient, warm, s.optimizer),
        )
        key = s.key
        zero = size == 0
        with jax.numpy_dtype_promotion("standard"):  # optax's adam mixes dtypes
            updates, memory = optimizer.update(gradient, memory, z)
        moved = project(jax.tree.map(lambda a, u: a + (scale * u).astype(a.dtype), z, updates))
        if reseed is not None:
            key, subkey = jax.random.split(key)
            fresh = partial(reseed, subkey, moved, signed(gradient))
            moved = lax.cond(_zero_parts(gradient), lambda: project(fresh()), lambda: moved)
            zero = jnp.bool_(False)
        status = jnp.where(scale < floor, SETTLED, RUNNING)
        status = jnp.where(zero, ZERO_GRADIENT, status)
        status = jnp.where(finite, status, NOT_FINITE)
        status = jnp.where(solved, status, INNER_FAILED).astype(jnp.int32)
        s = State(
            moved, warm, memory, best, best_value, best_gradient, best_warm, scale,
            jnp.where(stuck, 0, stall).astype(jnp.int32), s.step + 1, status, inner, key,
        )  # fmt: skip
        return s, history

    shape = jax.eval_shape(lambda s: record(seen(evaluate(s.z, s.warm)[0])), begin)
    history = jax.tree.map(
        lambda s: jnp.full(
            (steps, *s.shape), jnp.nan if jnp.issubdtype(s.dtype, jnp.inexact) else 0, s.dtype
        ),
        shape,
    )
    end, history = lax.while_loop(
        lambda c: (c[0].step < steps) & (c[0].status == RUNNING), body, (begin, history)
    )
    return Optimized(end.best, sign * end.best_value, end.step, end.status, history, end)


def _start(objective, z, optimizer, key) -> State:
    """The state before the first evaluation."""
    zeros = jax.tree.map(jnp.zeros_like, z)
    warm = objective.solver.cold(objective.inner(z))
    dtype = jax.tree.leaves(z)[0].dtype
    return State(
        z=z, warm=warm, optimizer=optimizer.init(z), best=z,
        best_value=jnp.full((), jnp.inf, dtype), best_gradient=zeros, best_warm=warm,
        scale=jnp.ones((), dtype), stall=jnp.int32(0), step=jnp.int32(0),
        status=jnp.int32(RUNNING), inner_result=jnp.int32(CONVERGED),
        key=jax.random.key(0) if key is None else key,
    )  # fmt: skip
