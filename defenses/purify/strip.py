"""STRIP (Gao et al., "STRIP: a defence against trojan attacks on deep neural networks", ACSAC
2019): a row whose class survives other rows laid over it carries a trigger.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from bilevel import Data
from bilevel.learners import AbstractLearner, AbstractModel, Trained
from bilevel.tools import require_count

from .._arguments import share_argument
from ..repair import AbstractRepair

FEWEST = 50
"""Clean rows: of fewer, no share near one percent can be cut off."""


class ScreenedModel(AbstractModel):
    """A model that refuses rows of low entropy: `decision` has one column more, which is the
    largest of a refused row, so that `predict` gives the number of classes for it.

    - `overlays` (m, ...): rows to lay over. `mix`: their share.
    - `threshold`: the least mean entropy, in nats, of a row that is not refused.
    """

    model: AbstractModel
    overlays: Float[Array, "m ..."]
    mix: float
    threshold: Float[Array, ""]

    def entropy(self, x: Float[Array, "n ..."]) -> Float[Array, " n"]:
        """Mean entropy of the predictions of each row under the overlays, in nats."""

        def under(overlay):
            f = self.model.decision((1 - self.mix) * x + self.mix * overlay[None])
            log_shares = jax.nn.log_softmax(f, axis=1)
            return -jnp.sum(jnp.exp(log_shares) * log_shares, axis=1)

        return jnp.mean(lax.map(under, self.overlays), axis=0)

    def refuses(self, x: Float[Array, "n ..."]) -> Bool[Array, " n"]:
        """Which rows are taken for stamped ones."""
        return self.entropy(x) < self.threshold

    def decision(self, x, *, key=None):
        f = self.model.decision(x, key=key)
        refusal = jnp.max(f, axis=1) + self.threshold - self.entropy(x)
        return jnp.concatenate([f, refusal[:, None]], axis=1)

    def features(self, x):
        return self.model.features(x)


class Strip(AbstractRepair):
    """Refuses rows that the trained model reads alike whatever is laid over them.

    - `clean`: rows that the defender knows to be clean, 50 at least; `overlays` of them, drawn by
      `seed`, are laid over, and all set the threshold: the entropy below which the share
      `false_refusals` of them lies.
    - `mix`: weight of the overlay, in (0, 1).

    Needs a model with an output per class. Differentiable in the rows, through entropies too.
    Stops triggers that win against anything; not those of one source class, and not an attacker
    who trains on stamped rows under overlays, labelled as what they show.
    """

    learner: AbstractLearner
    clean: Data
    overlays: int
    false_refusals: float
    mix: float
    seed: int = eqx.field(static=True)

    def __init__(
        self,
        learner: AbstractLearner,
        clean: Data,
        overlays: int = 20,
        false_refusals: float = 0.01,
        mix: float = 0.5,
        seed: int = 0,
    ):
        self.learner, self.clean = learner, clean
        self.overlays, self.seed = require_count("overlays", overlays), seed
        self.false_refusals = share_argument("false_refusals", false_refusals)
        self.mix = share_argument("mix", mix)

    def __check_init__(self):
        if self.clean.rows < max(FEWEST, self.overlays):
            raise ValueError(
                f"clean: got {self.clean.rows} rows, expected {max(FEWEST, self.overlays)} at "
                "least, to lay over others and to set the threshold; collect more clean rows"
            )

    def check(self, data):
        if self.clean.x.shape[1:] != data.x.shape[1:]:
            raise ValueError(
                f"clean: got rows of shape {self.clean.x.shape[1:]}, expected "
                f"{data.x.shape[1:]}, as in the training rows"
            )
        super().check(data)

    def repair(self, model, data, *, key=None):
        del data, key
        shape = jax.eval_shape(model.decision, self.clean.x).shape
        if len(shape) != 2:
            raise ValueError(
                f"learner: its model's decision has shape {shape}, expected an output per class, "
                "(n, classes), whose entropy can be taken"
            )
        drawn = np.random.default_rng(self.seed).permutation(self.clean.rows)[: self.overlays]
        screened = ScreenedModel(model, self.clean.x[drawn], self.mix, jnp.zeros(()))
        entropy = screened.entropy(self.clean.x)
        threshold = jnp.quantile(entropy, self.false_refusals)
        screened = eqx.tree_at(lambda m: m.threshold, screened, threshold.astype(entropy.dtype))
        return Trained(screened, report=entropy)
