"""`minimize`: the loop of all stochastic methods."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from .._tree import all_finite, concrete
from ._method import AbstractMethod, Triple, step_back
from ._problem import StochasticBilevel

RUNNING, INNER_DIVERGED, ADJOINT_DIVERGED, OUTER_DIVERGED = range(4)

SENTENCES = (
    "used all its steps: a stochastic run has no error estimate, certify its z on "
    "`problem.exact(...)`",
    "stopped: the inner variable became NaN or infinite; lower inner_step, or check inner_data "
    "for non-finite values",
    "stopped: the adjoint became NaN or infinite; lower adjoint_step, or check outer_data for "
    "non-finite values",
    "stopped: the outer variable became NaN or infinite; lower outer_step, or project z",
)
TAIL = 3  # of the average: the weight of a step is the third power of its number

Rate = float | Float[Array, ""] | Callable[[Any], Any]


class State(eqx.Module):
    """State of a run after a step. Pass it as `state=` to resume the run.

    - `at`: the variables (inner w, adjoint v, outer z), always finite.
    - `average`: weighted mean of z over the steps so far.
    - `memory`: the memory of the method.
    - `step`: number of steps done.
    - `status`: see `Descended`.
    - `key`: of the mini-batches.
    """

    at: Triple
    average: PyTree
    memory: PyTree
    step: Int[Array, ""]
    status: Int[Array, ""]
    key: PRNGKeyArray


class Descended(eqx.Module):
    """Outcome of `minimize`.

    - `z`, `w`: the last finite outer and inner variables.
    - `average`: weighted mean of z, with larger weights for later steps: polynomial-decay averaging
      of Shamir & Zhang, "Stochastic gradient descent for non-smooth optimization", ICML 2013, with
      eta = 3.
    - `steps`: number of steps in this call.
    - `status`: code of the end of the run; `message` is its sentence.
    - `history`: what `record` returned after every `every` steps; after a failure NaN, if floating.
    - `state`: the state to resume from.
    """

    z: PyTree
    w: PyTree
    average: PyTree
    steps: Int[Array, ""]
    status: Int[Array, ""]
    history: PyTree
    state: State

    @property
    def message(self) -> str:
        """The sentence of `status` (of the largest code, if it is batched)."""
        return SENTENCES[int(jnp.max(self.status))]


def _same(z: PyTree) -> PyTree:
    return z


def _outer(state: State) -> PyTree:
    return state.at.outer


def minimize(
    problem: StochasticBilevel,
    z0: PyTree,
    w0: PyTree,
    *,
    method: AbstractMethod,
    inner_step: Rate,
    outer_step: Rate,
    adjoint_step: Rate | None = None,
    steps: int = 1000,
    project: Callable[[PyTree], PyTree] = _same,
    record: Callable[[State], PyTree] = _outer,
    every: int | None = None,
    key: PRNGKeyArray | None = None,
    state: State | None = None,
) -> Descended:
    """Descend a bilevel problem from (z0, w0) without solving its inner problem.

    - `problem`: the objectives and their data.
    - `z0`, `w0`: starts of the outer and inner variables, pytrees of floating arrays.
    - `method`: `SOBA()`, `SABA()`, `AmIGO()`, `StocBiO()`, `F2SA()`, or another `AbstractMethod`.
    - `inner_step`, `adjoint_step`, `outer_step`: step sizes >= 0, numbers or schedules (step ->
      number, as in optax). The adjoint solves a system in the inner Hessian, so that its step is by
      default the inner one.
    - `steps`: number of steps.
    - `project`: z -> z, the projection onto the feasible set, applied to z0 and after each step.
    - `record(state) -> pytree`: the entry of `history` (default: z).
    - `every`: steps between entries of `history` (default: about a hundred entries per run).
    - `key`: typed key of the mini-batches.
    - `state`: `Descended.state` of an earlier run, to resume it; z0, w0 and key are then ignored.

    Supports `jit`, and `vmap` over starts, keys or step sizes. The run stops if a variable becomes
    NaN or infinite, and `status` says which. A failed run cannot be resumed: its memory may have
    NaN. Raises `ValueError` for steps or step sizes out of range, for starts that are not finite
    and floating, and for objectives that return no scalar.
    """
    if steps < 1:
        raise ValueError(f"steps: got {steps}, expected at least 1")
    every = max(1, steps // 100) if every is None else every
    if every < 1:
        raise ValueError(f"every: got {every}, expected at least 1")
    rates = Triple(
        _rate("inner_step", inner_step),
        _rate("adjoint_step", inner_step if adjoint_step is None else adjoint_step),
        _rate("outer_step", outer_step),
    )
    if state is None:
        z0, w0 = _variable("z0", z0), _variable("w0", w0)
        for name in ("inner", "outer"):
            _require_scalar(problem, name, z0, w0)
        state = _begin(problem, method, project(z0), w0, key)
    rows = -(-steps // every)
    return _descend(
        problem, method, state, rates, project, record, jnp.int32(steps), jnp.int32(every), rows
    )


@eqx.filter_jit
def _begin(problem, method, z, w, key) -> State:
    adjoint, memory = method.init(problem, z, w)
    return State(
        at=Triple(w, adjoint, z), average=z, memory=memory, step=jnp.int32(0),
        status=jnp.int32(RUNNING), key=jax.random.key(0) if key is None else key,
    )  # fmt: skip


@eqx.filter_jit
def _descend(problem, method, begin, rates, project, record, steps, every, rows) -> Descended:
    last = begin.step + steps

    def row(state, index):
        until = jnp.minimum(begin.step + (index + 1) * every, last)

        def go(state):
            return (state.step < until) & (state.status == RUNNING)

        def body(state):
            return _step(problem, method, state, rates, project)

        state = lax.while_loop(go, body, state)
        return state, _unless(state.status != RUNNING, record(state))

    end, history = lax.scan(row, begin, jnp.arange(rows, dtype=jnp.int32))
    return Descended(
        z=end.at.outer, w=end.at.inner, average=end.average, steps=end.step - begin.step,
        status=end.status, history=history, state=end,
    )  # fmt: skip


def _step(problem, method, state: State, rates: Triple, project) -> State:
    """One step of all variables. A step to NaN or infinity is not taken."""
    sizes = Triple(*(_size(rate, state.step) for rate in rates))
    key = jax.random.fold_in(state.key, state.step)
    directions, memory = method.directions(problem, state.at, state.memory, sizes, key)
    moved = Triple(*map(step_back, state.at, sizes, directions))
    moved = moved._replace(outer=project(moved.outer))
    status = jnp.int32(RUNNING)
    codes = (INNER_DIVERGED, ADJOINT_DIVERGED, OUTER_DIVERGED)
    for code, variable in reversed(list(zip(codes, moved, strict=True))):
        if jax.tree.leaves(variable):
            status = jnp.where(all_finite(variable), status, jnp.int32(code))
    good = status == RUNNING
    at = jax.tree.map(lambda new, old: jnp.where(good, new, old), moved, state.at)
    count = state.step + 1

    def averaged(mean, z):
        weight = (TAIL + 1) / (count + TAIL).astype(z.dtype)
        return jnp.where(good, mean + weight * (z - mean), mean)

    average = jax.tree.map(averaged, state.average, at.outer)
    return State(at, average, memory, jnp.where(good, count, state.step), status, state.key)


def _size(rate, step: Int[Array, ""]) -> Float[Array, ""]:
    if not callable(rate):
        return rate
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules mix dtypes
        return jnp.asarray(rate(step))


def _unless(failed, recorded: PyTree) -> PyTree:
    def keep(leaf):
        leaf = jnp.asarray(leaf)
        return jnp.where(failed, jnp.nan, leaf) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf

    return jax.tree.map(keep, recorded)


def _rate(name: str, rate: Rate):
    if callable(rate):
        return rate
    size = jnp.asarray(rate, float) if isinstance(rate, int | float) else jnp.asarray(rate)
    if concrete(size) and not np.all(np.isfinite(size) & (np.asarray(size) >= 0)):
        raise ValueError(f"{name}: got {rate}, expected a number that is finite and not negative")
    return size


def _variable(name: str, tree: PyTree) -> PyTree:
    # with an explicit dtype, because weakly typed leaves would compile a resumed run again
    tree = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), tree)
    leaves = jax.tree.leaves(tree)
    if not leaves or not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        raise ValueError(
            f"{name}: got leaves of dtypes {[str(leaf.dtype) for leaf in leaves]}, expected "
            "floating arrays; convert integers first"
        )
    if not all(np.all(np.isfinite(leaf)) for leaf in leaves if concrete(leaf)):
        raise ValueError(f"{name}: has NaN or infinite entries, expected a finite start")
    return tree


def _require_scalar(problem: StochasticBilevel, name: str, z: PyTree, w: PyTree) -> None:
    data = getattr(problem, f"{name}_data")
    shape = jax.eval_shape(getattr(problem, name), z, w, data)
    if getattr(shape, "shape", None) != ():
        raise ValueError(f"{name}: returns {shape} on all rows, expected a scalar; take the mean")
