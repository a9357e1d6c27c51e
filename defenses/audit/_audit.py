"""The contract of audits: tests of a finished model for a backdoor."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from bilevel import Data
from bilevel.learners import AbstractModel


class Verdict(eqx.Module):
    """What an audit found.

    - `flagged`: whether the model is suspect.
    - `score`: what that was judged by, larger is worse.
    - `evidence`: what the audit rests on: a trigger, scores of classes, ...
    """

    flagged: Bool[Array, ""]
    score: Float[Array, ""]
    evidence: Any = None


class AbstractAudit(eqx.Module):
    """Examines a model that somebody else has trained. It is no learner."""

    @abc.abstractmethod
    def examine(
        self, model: AbstractModel, clean: Data, *, key: PRNGKeyArray | None = None
    ) -> Verdict:
        """Whether the model is suspect.

        - `clean`: rows that are known to be clean.
        - `key`: randomness of the audit.
        """
