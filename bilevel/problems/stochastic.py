"""Smooth problems met through mini-batches."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ._problem import AbstractProblem


class Stochastic(AbstractProblem):
    """min_w of the mean over keys of loss(w, args, key): a smooth problem seen in mini-batches.

    - `loss(w, args, key) -> scalar`: draws its rows, dropout masks or augmentations from `key`.
    - `start`: where training begins, a pytree of floating arrays; a differentiable argument.
    - `key`: a typed key (`jax.random.key(0)`). Step t sees `jax.random.fold_in(key, t)`, so that
      training is a deterministic function of the problem and can be differentiated.

    Its solution is the end of a path of given length: it has derivatives along the path (`Unroll`,
    `Truncated`, `Forward`, `BackGradient`) and no optimality conditions.
    """

    loss: Callable[[PyTree, PyTree, PRNGKeyArray], Float[Array, ""]]
    start: PyTree
    args: PyTree
    key: PRNGKeyArray

    def functions(self):
        return {"loss": (self.start, self.args, self.key)}

    def at(self, step: Int[Array, ""]) -> Callable[[PyTree], Float[Array, ""]]:
        """The loss that step `step` of a path descends."""
        key = jax.random.fold_in(self.key, step)
        return lambda w: self.loss(w, self.args, key)
