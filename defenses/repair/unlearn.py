"""Unlearning of a known trigger: stamped rows with the right labels."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel import Data
from bilevel.learners import AbstractLearner, Trained

from .._arguments import share_argument
from ._network import AbstractCleanRepair, as_network
from .tuning import Tuning


class Unlearn(AbstractCleanRepair):
    """Goes on training on clean rows, a share of them stamped and with the right labels (Wang et
    al., "Neural Cleanse", IEEE S&P 2019, section VI.C).

    - `clean`: rows that the defender knows to be clean.
    - `mask`, `pattern`: of the trigger, usually one that an audit has restored: a stamped row is
      x (1 - mask) + mask pattern. Of a row's shape, or shapes that broadcast to it.
    - `share`: of the clean rows that are stamped, drawn by the key.
    - `tuning`: how it trains on them.

    `fit` raises `ValueError` for a trigger that does not fit the rows.
    """

    learner: AbstractLearner
    clean: Data
    mask: Float[Array, "..."] = eqx.field(converter=jnp.asarray)
    pattern: Float[Array, "..."] = eqx.field(converter=jnp.asarray)
    share: float = 0.2
    tuning: Tuning = Tuning()

    def __check_init__(self):
        share_argument("share", self.share)

    def check(self, data):
        super().check(data)
        shape = self.clean.x.shape[1:]
        for name, part in (("mask", self.mask), ("pattern", self.pattern)):
            try:
                fits = jnp.broadcast_shapes(part.shape, shape) == shape
            except ValueError:
                fits = False
            if not fits:
                raise ValueError(
                    f"{name}: got shape {part.shape}, expected that of a row, {shape}, or one that "
                    "broadcasts to it"
                )

    def repair(self, model, data, *, key=None):
        del data
        if key is None:
            raise ValueError("key: got None, expected a key, which draws the rows that are stamped")
        of_rows, of_tuning = jax.random.split(key)
        net, x = as_network(model), self.clean.x
        mask, pattern = (
            jnp.broadcast_to(part.astype(x.dtype), x.shape) for part in (self.mask, self.pattern)
        )
        chosen = jax.random.permutation(of_rows, x.shape[0]) < round(self.share * x.shape[0])
        chosen = chosen.reshape(-1, *[1] * (x.ndim - 1))
        rows = jnp.where(chosen, x * (1 - mask) + mask * pattern, x)
        stamped = Data(rows, self.clean.y, self.clean.weight)
        tuned, result = self.tuning.run(
            net.architecture, net.parameters, stamped, self.learner.loss, of_tuning
        )
        return Trained(tuned, result)
