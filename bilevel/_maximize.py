"""`maximize` and `minimize`: ascent along a hypergradient, as one compiled loop."""

import collections
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from . import results
from ._ascent import Ascent
from ._bilevel import AbstractObjective, Function, Info
from ._draws import Fresh, Frozen
from ._program import program
from ._solution import SolveError
from ._tree import concrete, norm, require_count, require_floating
from .results import (
    CONVERGED,
    FLAT,
    IDLE,
    INNER_FAILED,
    NOT_FINITE,
    RUNNING,
    SETTLED,
    ZERO_GRADIENT,
    Code,
)

Reseed = Callable[[PRNGKeyArray, PyTree, PyTree], PyTree]


class Step(eqx.Module):
    """One evaluation, the argument of `record`: the point z, the value and the gradient of the
    objective there, and the report of the evaluation.
    """

    z: PyTree
    value: Float[Array, ""]
    gradient: PyTree
    info: Info


def value_only(step: Step) -> Array:
    """The default `record`: the value of the objective."""
    return step.value


class State(eqx.Module):
    """State of a run after a step. Pass it as `state=` to resume the run. Every leaf is a plain
    array, so that `eqx.tree_serialise_leaves` can save it.
    """

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
    total: Int[Array, ""]  # evaluations, including those of earlier runs
    status: Int[Array, ""]
    inner_result: Code
    key: Array  # `jax.random.key_data` of a key


class Optimized(eqx.Module):
    """Outcome of `maximize` or `minimize`.

    - `z`, `value`: the best point found and the objective there.
    - `steps`: number of evaluations of value and hypergradient.
    - `status`: code of the end of the run; `message` is its sentence.
    - `history`: what `record` returned, one row per step; rows from `steps` on are unused (NaN if
      floating, else 0).
    - `state`: the state to resume from.
    """

    z: PyTree
    value: Float[Array, "..."]
    steps: Int[Array, "..."]
    status: Int[Array, "..."]
    history: PyTree
    state: State

    @property
    def message(self) -> str:
        """How the run ended; for a batch of runs, one line per outcome with the number of runs."""
        status, inner = (np.ravel(a) for a in (self.status, self.state.inner_result))
        outcomes = collections.Counter(zip(status.tolist(), inner.tolist(), strict=True))
        lines = {_ending(*outcome): count for outcome, count in outcomes.most_common()}
        if status.size == 1:
            return next(iter(lines))
        return "\n".join(f"{count} of {status.size} runs {text}" for text, count in lines.items())


def _ending(status: int, inner: int) -> str:
    text = results.sentence(status)
    return f"{text}: {results.sentence(inner)}" if status == INNER_FAILED else text


Optimizer = optax.GradientTransformation | Ascent


def maximize(
    objective: AbstractObjective | Callable[[PyTree], Float[Array, ""]],
    z0: PyTree,
    *,
    steps: int = 100,
    optimizer: Optimizer = Ascent(),
    project: Callable[[PyTree], PyTree] | None = None,
    patience: int | None = None,
    shrink: float = 0.5,
    floor: float = 0.04,
    tol: float = 1e-6,
    reseed: Reseed | None = None,
    record: Callable[[Step], PyTree] = value_only,
    draws: Frozen | Fresh | None = None,
    state: State | None = None,
    key: PRNGKeyArray | None = None,
) -> Optimized:
    """Ascend `objective` from z0 along its hypergradient and return the best point.

    The ascent is not monotone: a line search that requires progress stalls on objectives with
    hinges and active sets. The optimiser takes its steps. After `patience` steps without progress
    the run returns to the best point, resets the optimiser's momentum and multiplies its updates by
    `shrink`. It stops when that factor falls below `floor`.

    - `objective`: a composed attack, a `Bilevel`, or a plain function z -> scalar.
    - `z0`: the start, a pytree of floating arrays (numbers and NumPy arrays are converted).
    - `steps`: largest number of evaluations of value and hypergradient.
    - `optimizer`: `Ascent(share, first, last, momentum)`, which sets the lengths of its steps, or
      any optax transformation.
    - `project`: z -> z, the projection onto the feasible set, applied to z0 and after each update.
      By default `objective.project`: for an attack, the limits of its capability.
    - `patience`: steps without progress until the run returns to the best point. By default 10 for
      an optax optimiser; no return for an `Ascent`, which shortens its steps itself.
    - `shrink`: factor on the updates at each return.
    - `floor`: the run stops when the product of these factors is below it.
    - `tol`: smallest gain that counts as progress.
    - `reseed(key, z, gradient) -> z`: called if part of the hypergradient (a row of a leaf, or a
      whole leaf) is exactly zero, to move that part elsewhere. Without it, a hypergradient of zero
      stops the run, and `message` gives the reason.
    - `record(step: Step) -> pytree`: the entry of `history` for a step (default: the value).
    - `draws`: `Fresh(key)` evaluates each step with new randomness, `Frozen(key)` all steps with
      the same. By default the objective's own key.
    - `state`: `Optimized.state` of an earlier run, to resume it; z0 is then ignored.
    - `key`: typed key of the randomness for `reseed`.

    Raises `ValueError` for an objective that is not callable, a z0 without floating arrays, and
    `steps` or `patience` below 1; `SolveError` with the sentence of the failure if the first
    evaluation fails, because there is no result then. Compiled once per structure, shapes and
    settings. Under `jit` and `vmap`, failures are in `status`.
    """
    return _run(
        objective, z0, -1.0, steps=steps, optimizer=optimizer, project=project,
        patience=patience, shrink=shrink, floor=floor, tol=tol, reseed=reseed, record=record,
        draws=draws, state=state, key=key,
    )  # fmt: skip


def minimize(
    objective: AbstractObjective | Callable[[PyTree], Float[Array, ""]],
    z0: PyTree,
    *,
    steps: int = 100,
    optimizer: Optimizer = Ascent(),
    project: Callable[[PyTree], PyTree] | None = None,
    patience: int | None = None,
    shrink: float = 0.5,
    floor: float = 0.04,
    tol: float = 1e-6,
    reseed: Reseed | None = None,
    record: Callable[[Step], PyTree] = value_only,
    draws: Frozen | Fresh | None = None,
    state: State | None = None,
    key: PRNGKeyArray | None = None,
) -> Optimized:
    """Descend `objective` from z0. Arguments, result and errors are those of `maximize`."""
    return _run(
        objective, z0, 1.0, steps=steps, optimizer=optimizer, project=project,
        patience=patience, shrink=shrink, floor=floor, tol=tol, reseed=reseed, record=record,
        draws=draws, state=state, key=key,
    )  # fmt: skip


class _Settings(eqx.Module):
    """The settings that a program is compiled for, apart from the objective."""

    steps: int
    optimizer: Any
    project: Callable[[PyTree], PyTree]
    patience: int
    shrink: float
    floor: float
    tol: float
    reseed: Any
    implementation: Any  # of its key, of which a state holds the data
    record: Callable[[Step], PyTree]
    draws: Any


def _run(objective, z0, sign: float, *, steps, patience, state, key, **options) -> Optimized:
    if not isinstance(objective, AbstractObjective):
        if not callable(objective):
            raise ValueError(
                f"objective: got a {type(objective).__name__}, expected a composed attack, a "
                "Bilevel, or a function z -> scalar"
            )
        objective = Function(objective)  # pyright: ignore[reportArgumentType]
    steps = require_count("steps", steps)
    z0 = require_floating("z0", z0) if state is None else z0
    if patience is None:
        patience = steps if isinstance(options["optimizer"], Ascent) else 10
    if options["project"] is None:
        options["project"] = objective.project
    patience = require_count("patience", patience)
    if not 0 < options["shrink"] < 1:
        raise ValueError(f"shrink: got {options['shrink']}, expected a factor between 0 and 1")
    if not 0 < options["floor"] <= 1:
        raise ValueError(f"floor: got {options['floor']}, expected a factor, at most 1")
    if not 0 <= options["tol"] < float("inf"):
        raise ValueError(f"tol: got {options['tol']}, expected a number >= 0")
    key = jax.random.key(0) if key is None else key
    kind = jax.random.key_impl(key)
    settings = _Settings(steps=steps, patience=patience, implementation=kind, **options)
    optimized = _optimize(
        objective.prepared(), None if state is not None else z0, state,
        jax.random.key_data(key), jnp.asarray(sign), settings,
    )  # fmt: skip
    failed = (INNER_FAILED, NOT_FINITE)
    if concrete(optimized.status) and state is None:
        first = (np.asarray(optimized.steps) == 1) & np.isin(np.asarray(optimized.status), failed)
        if np.all(first):
            raise SolveError(f"z0: {optimized.message}")
    return optimized


def _zero_parts(gradient: PyTree) -> Bool[Array, ""]:
    """Whether any row of a matrix leaf, or any whole leaf, is exactly zero."""

    def zero(leaf):
        axes = tuple(range(1, leaf.ndim)) if leaf.ndim > 1 else None
        return jnp.any(jnp.all(leaf == 0, axis=axes))

    return jnp.any(jnp.stack([zero(leaf) for leaf in jax.tree.leaves(gradient)]))


def _select(condition: Array, a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


@program
def _optimize(
    objective: AbstractObjective,
    z0: PyTree,
    state: State | None,
    key: Array,
    sign: Array,
    settings: _Settings,
) -> Optimized:
    project, steps = settings.project, settings.steps
    begin_at = project(z0) if state is None else state.best
    dtype = jax.tree.leaves(begin_at)[0].dtype
    optimizer = settings.optimizer
    if isinstance(optimizer, Ascent):
        optimizer = optimizer.optimizer(objective, steps)
    draws = settings.draws
    if isinstance(draws, Frozen):
        objective = objective.keyed(draws.key)

    def evaluate(z, warm, index):
        drawn = objective
        if isinstance(draws, Fresh):
            drawn = objective.keyed(jax.random.fold_in(draws.key, index))

        def loss(z):
            value, aux = drawn.evaluate(z, warm)
            return signed(value), aux

        (value, (warm, info)), gradient = jax.value_and_grad(loss, has_aux=True)(z)
        return Step(z, value, gradient, info), warm

    def signed(tree):
        return jax.tree.map(lambda leaf: sign.astype(leaf.dtype) * leaf, tree)

    def seen(step):  # by the user, without the sign of `loss`
        return Step(step.z, signed(step.value), signed(step.gradient), step.info)

    if state is None:
        begin = _start(objective, begin_at, optimizer, key)
    else:
        begin = eqx.tree_at(lambda s: (s.step, s.status), state, (jnp.int32(0), jnp.int32(RUNNING)))
    length = objective.scale(begin_at).astype(dtype)
    # Traced once, for the shapes of the history and for the loop.
    traced, shapes = jax.make_jaxpr(
        lambda z, warm, index: evaluate(z, warm, index), return_shape=True
    )(begin.z, begin.warm, begin.total)
    structure = jax.tree.structure(shapes)
    # A value may be more precise than z: float32 pixels before a learner in float64.
    least = begin.best_value.astype(shapes[0].value.dtype)
    begin = eqx.tree_at(lambda s: s.best_value, begin, least)

    def evaluated(z, warm, index):
        flat = jaxpr_as_fun(traced)(*jax.tree.leaves((z, warm, index)))
        return jax.tree.unflatten(structure, flat)

    def body(carry):
        s, history = carry
        step, warm = evaluated(s.z, s.warm, s.total)
        value, gradient, inner = step.value, step.gradient, step.info.result
        history = jax.tree.map(
            lambda rows, row: rows.at[s.step].set(row), history, settings.record(seen(step))
        )
        solved = inner == CONVERGED
        size = norm(gradient)
        finite = jnp.isfinite(value) & jnp.isfinite(size)
        better = solved & finite & (value < s.best_value - settings.tol)
        best, best_value, best_gradient, best_warm = _select(
            better,
            (s.z, value, gradient, warm),
            (s.best, s.best_value, s.best_gradient, s.best_warm),
        )
        stall = jnp.where(better, 0, s.stall + 1)
        stuck = stall >= settings.patience
        scale = jnp.where(stuck, s.scale * settings.shrink, s.scale)
        z, gradient, warm, memory = _select(
            stuck,
            (best, best_gradient, best_warm, optimizer.init(s.z)),
            (s.z, gradient, warm, s.optimizer),
        )
        key = s.key
        # Zero: a step of length `scale` would change the value by less than its last digit.
        zero = size * length <= 16 * jnp.finfo(dtype).eps * jnp.abs(value).astype(dtype)
        with jax.numpy_dtype_promotion("standard"):  # optax's adam mixes dtypes
            updates, memory = optimizer.update(gradient, memory, z)
        moved = project(jax.tree.map(lambda a, u: a + (scale * u).astype(a.dtype), z, updates))
        if settings.reseed is not None:
            whole = jax.random.wrap_key_data(key, impl=settings.implementation)
            new, subkey = jax.random.split(whole)
            key = jax.random.key_data(new)
            fresh = partial(settings.reseed, subkey, moved, signed(gradient))
            moved = lax.cond(_zero_parts(gradient), lambda: project(fresh()), lambda: moved)
            zero = jnp.bool_(False)
        status = jnp.where(scale < settings.floor, SETTLED, RUNNING)
        touched = step.info.touched
        why = ZERO_GRADIENT if touched is None else jnp.where(touched, FLAT, IDLE)
        status = jnp.where(zero, why, status)
        status = jnp.where(finite, status, NOT_FINITE)
        status = jnp.where(solved, status, INNER_FAILED).astype(jnp.int32)
        s = State(
            moved, warm, memory, best, best_value, best_gradient, best_warm, scale,
            jnp.where(stuck, 0, stall).astype(jnp.int32), s.step + 1, s.total + 1, status, inner,
            key,
        )  # fmt: skip
        return s, history

    shape = jax.eval_shape(lambda step: settings.record(seen(step)), shapes[0])
    history = jax.tree.map(
        lambda s: jnp.full(
            (steps, *s.shape), jnp.nan if jnp.issubdtype(s.dtype, jnp.inexact) else 0, s.dtype
        ),
        shape,
    )

    # As a function of its own: beside a constant of this program that the loop uses too, jaxlib
    # 0.10.2 loses the type of LAPACK's calls inside, and does not find them.
    @jax.jit
    def loop(carry):
        return lax.while_loop(lambda c: (c[0].step < steps) & (c[0].status == RUNNING), body, carry)

    end, history = loop((begin, history))
    return Optimized(end.best, signed(end.best_value), end.step, end.status, history, end)


def _start(objective, z, optimizer, key) -> State:
    """The state before the first evaluation."""
    zeros = jax.tree.map(jnp.zeros_like, z)
    warm = objective.cold(z)
    dtype = jax.tree.leaves(z)[0].dtype
    return State(
        z=z, warm=warm, optimizer=optimizer.init(z), best=z,
        best_value=jnp.full((), jnp.inf, dtype), best_gradient=zeros, best_warm=warm,
        scale=jnp.ones((), dtype), stall=jnp.int32(0), step=jnp.int32(0), total=jnp.int32(0),
        status=jnp.int32(RUNNING), inner_result=jnp.int32(CONVERGED), key=key,
    )  # fmt: skip
