"""Neural Cleanse (Wang et al., "Neural Cleanse: identifying and mitigating backdoor attacks in
neural networks", IEEE S&P 2019): a label that few pixels lead to.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from attacks import Box

from ._outliers import THRESHOLD
from ._reconstruction import TriggerSearch
from ._trigger_audit import AbstractTriggerAudit


class NeuralCleanse(AbstractTriggerAudit):
    """Searches, for every label, the smallest mask m and pattern d with which clean rows of all
    classes are read as that label: min CE(f((1 - m) x + m d), label) + lam |m|_1. A label whose
    mask is smaller than the median by more than `threshold` deviations is suspect.

    - `search`: rounds, rows and lam. `domain`: the range of the rows, by default [0, 1].
    - `threshold`: the index from which a label is suspect.

    `examine` returns a `Verdict` whose score is the largest index and whose evidence are
    `ComparedLabels`: mask, pattern, size and index of every label.
    `evidence.triggers.trigger(label)` is the trigger to be unlearned. Finds one class that many
    classes become by a small patch; a patch as large as what a clean model asks for does not stand
    out, nor does a backdoor with another label for each class. The model must be differentiable in
    its rows. Ten labels of MNIST at the defaults, a network of two convolutions: about 20 s of one
    core. Labels are searched one after another on a CPU, where a `vmap` over them takes 1.8
    times as long.

    Raises `ValueError` for a model of two classes, rows that it does not accept, outside `domain`,
    of one class only or fewer than `search.rows`, and without a key.
    """

    search: TriggerSearch = TriggerSearch()
    domain: Box = eqx.field(default_factory=lambda: Box(0.0, 1.0))
    threshold: float = THRESHOLD

    def penalty(self):
        return _area

    def figures(self, model, clean, triggers):
        return triggers.size


def _area(model, mask, unit, rows, label) -> Float[Array, ""]:
    del model, unit, rows, label
    return jnp.sum(mask)
