"""Smooth problems whose loss is evaluated on mini-batches."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ._problem import AbstractProblem


class Stochastic(AbstractProblem):
    """min_w of the mean over keys of loss(w, args, key), where a key is a mini-batch.

    - `loss(w, args, key) -> scalar`: draws its rows, dropout masks or augmentations from `key`.
    - `start`: the initial weights, a pytree of floating arrays; differentiable.
    - `args`: any pytree; differentiable.
    - `key`: a typed key (`jax.random.key(0)`). Step t uses `jax.random.fold_in(key, t)`, so that
      training is a deterministic function of the problem and can be differentiated.
    - `series`: optional arrays with an entry per step, for example the rows of each mini-batch. The
      loss of step t then gets (args, entries of step t) for `args`.

    Its solution is the end of a path of given length. It has derivatives along the path (`Unroll`,
    `Truncated`, `Forward`, `BackGradient`) but no optimality conditions, as `Implicit` needs.
    """

    loss: Callable[[PyTree, PyTree, PRNGKeyArray], Float[Array, ""]]
    start: PyTree
    args: PyTree
    key: PRNGKeyArray
    series: PyTree = None

    def functions(self):
        return {"loss": (self.start, self._at(jax.numpy.int32(0)), self.key)}

    def at(self, step: Int[Array, ""]) -> Callable[[PyTree], Float[Array, ""]]:
        """The loss at step `step` of a path, as a function of w."""
        key = jax.random.fold_in(self.key, step)
        return lambda w: self.loss(w, self._at(step), key)

    def _at(self, step: Int[Array, ""]) -> PyTree:
        if self.series is None:
            return self.args
        return self.args, jax.tree.map(lambda leaf: leaf[step], self.series)
