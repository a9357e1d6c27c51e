"""A spam filter by scores of words, for experiments: what mail readers use."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from bilevel import AbstractSolver, Data
from bilevel.derivatives import AbstractDerivative, Implicit
from bilevel.learners import AbstractLearner, AbstractModel, Training
from bilevel.losses import Logistic
from bilevel.problems import FixedPoint
from bilevel.solvers import Anderson
from bilevel.tools import require_classes, require_weights

UNKNOWN = 0.45
"""Mails of evidence for 1/2 that every word starts with, as SpamBayes has it."""


class Words(AbstractModel):
    """Sum of the log-odds of the words of a mail, above those of the cut."""

    odds: Float[Array, " d"]
    cut: Float[Array, ""]

    def decision(self, x, *, key=None):
        del key
        return x @ self.odds - self.cut


def log_odds(odds: Float[Array, " d"], data: Data) -> Float[Array, " d"]:
    """Of spam, by word (Robinson 2003): of the shares of spam and of ham that hold it. It is the
    same for all `odds`: a fixed point after one step.
    """
    spam = jnp.where(data.y > 0, data.weight, 0)
    ham = data.weight - spam
    of_spam, of_ham = spam @ data.x, ham @ data.x
    seen = of_spam + of_ham
    rates = of_spam / jnp.sum(spam), of_ham / jnp.sum(ham)
    either = rates[0] + rates[1]
    share = jnp.where(either > 0, rates[0] / jnp.where(either > 0, either, 1), 0.5)
    chance = (UNKNOWN * 0.5 + seen * share) / (UNKNOWN + seen)
    return jnp.log(chance) - jnp.log1p(-chance) + 0 * odds


class TokenFilter(AbstractLearner):
    """Scores each word by how often spam and ham have it, no word with regard to another, and adds
    up the scores of the words of a mail. Rows are 1 for the words that a mail has, else 0.

    After SpamBayes, which Nelson et al. (LEET 2008) attack: its scores, prior and cut of .9. It
    adds up the 150 clearest words by Fisher's method, this one all of them as log-odds.
    """

    solver: AbstractSolver = Anderson(memory=1)
    derivative: AbstractDerivative = Implicit()
    cut: float = eqx.field(static=True, default=0.9)

    @property
    def loss(self):
        return Logistic()

    def check(self, data):
        require_weights(data)
        require_classes(data)

    def training(self, data, *, key=None):
        del key
        start, cut = jnp.zeros(data.x.shape[1], data.x.dtype), jnp.asarray(self.cut, data.x.dtype)
        make_model = eqx.Partial(Words, cut=jnp.log(cut) - jnp.log1p(-cut))
        return Training(data, FixedPoint(log_odds, start, data), make_model)
