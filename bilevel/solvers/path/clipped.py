"""First-order training by gradients that are clipped row by row, and noised."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from ..._solver import Point
from ..._tree import concrete, require_count
from ...problems import Stochastic
from ._path import AbstractPath
from .descent import root, updated


class Clipped(AbstractPath):
    """`steps` updates of an optax optimiser on a `Stochastic` problem of mini-batches, where no row
    moves the gradient by more than `clip` over the size of the batch, and Gaussian noise is added
    (Abadi et al., "Deep learning with differential privacy", CCS 2016; against poison: Hong et al.,
    "On the effectiveness of mitigating data poisoning attacks with gradient shaping", 2020).

        g = mean over rows of g_i min(1, clip / |g_i|)  +  noise clip / batch * N(0, 1)

    - `optimizer`, `steps`: as in `Descent`.
    - `clip` > 0: the longest gradient of a row, Euclidean over all weights, penalties included.
    - `noise` >= 0: in units of clip over the batch. The draws are those of the problem's key.
    - `tol`: as in `Descent`, of the last mini-batch's gradient as it is.

    Every row costs a gradient of its own. With the same key the path is the same function of its
    problem, and is differentiated along itself. It is no accountant: which privacy a training has
    depends also on how its rows are drawn, and shuffled passes are not what the theorems assume.

    Raises `ValueError` for values out of range, and for a problem without a `series` of rows:
    `Network(batch=...)` has one.
    """

    optimizer: optax.GradientTransformation
    steps: int
    clip: float | Float[Array, ""] = 1.0
    noise: float | Float[Array, ""] = 0.0
    tol: float = float("inf")

    def __check_init__(self):
        require_count("steps", self.steps)
        for name, value, least in (("clip", self.clip, "> 0"), ("noise", self.noise, ">= 0")):
            if not concrete(value):
                continue
            if not (
                np.ndim(value) == 0
                and np.isfinite(value)
                and (value > 0 if least == "> 0" else value >= 0)
            ):
                raise ValueError(f"{name}: got {value}, expected a number {least}")

    def begin(self, problem: Stochastic, warm: PyTree) -> PyTree:
        series = getattr(problem, "series", None)
        if not (isinstance(series, jax.Array) and jnp.issubdtype(series.dtype, jnp.integer)):
            raise ValueError(
                "solver: Clipped needs a problem whose series are the rows of each mini-batch, to "
                "clip the gradient of each; give the network a batch, such as Network(batch=50)"
            )
        return warm, self.optimizer.init(warm)

    def step(self, problem: Stochastic, state: PyTree, index: Array) -> PyTree:
        w, memory = state
        loss = problem.at(index)
        key = jax.random.fold_in(problem.key, index)
        rows = problem.series[index]

        def of_row(row, key):
            def loss(w):
                return problem.loss(w, (problem.args, row[None]), key)

            value, gradient = jax.value_and_grad(loss)(w)
            size = root(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient)))
            clip = jnp.asarray(self.clip, size.dtype)
            scale = jnp.where(size > clip, clip / jnp.where(size > clip, size, 1), 1)
            return value, jax.tree.map(lambda leaf: scale.astype(leaf.dtype) * leaf, gradient)

        # rows of one key would share their dropout mask and their augmentation
        keys = jax.random.split(jax.random.fold_in(key, 2), rows.shape[0])
        values, clipped = jax.vmap(of_row)(rows, keys)
        gradient = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), clipped)
        gradient = self._noised(jax.random.fold_in(key, 1), gradient, rows.shape[0])
        return updated(self.optimizer, loss, jnp.mean(values), gradient, w, memory)

    def _noised(self, key: Array, gradient: PyTree, batch: int) -> PyTree:
        leaves, structure = jax.tree.flatten(gradient)
        size = jnp.asarray(self.noise, float) * jnp.asarray(self.clip, float) / batch
        draws = [
            leaf + size.astype(leaf.dtype) * jax.random.normal(k, leaf.shape, leaf.dtype)
            for k, leaf in zip(jax.random.split(key, len(leaves)), leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, draws)

    def unknowns(self, problem: Stochastic, state: PyTree) -> PyTree:
        return state[0]

    def arrive(self, problem: Stochastic, state: PyTree) -> Point:
        return self.end(problem, state[0])
