"""TABOR (Guo et al., "TABOR: a highly accurate approach to inspecting and restoring trojan
backdoors in AI systems", 2019): triggers that look like ones somebody would make.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attacks import Box
from bilevel import Data, batch
from bilevel.learners import AbstractModel
from bilevel.losses import CrossEntropy

from ._outliers import THRESHOLD
from ._reconstruction import TriggerSearch, scaled, stamped
from ._trigger_audit import AbstractTriggerAudit


class TaborTerms(eqx.Module):
    """Weights of TABOR's terms, beside the cross-entropy of stamped rows; a mask m in [0, 1], and
    the pattern d in units of the range of the rows, 0 its lowest value.

    - `mask`, `outside`: elastic nets, sum |a| + a^2, of m and of (1 - m) d: large triggers.
    - `rough`, `rough_outside`: sums of squared differences of neighbours, of the same: scattered
      ones.
    - `blocking`: cross-entropy of rows without what the mask covers, (1 - m) x, at their own
      labels: triggers that hide what is in the image.
    - `overlaying`: cross-entropy of the trigger alone, m d, at the wanted label: triggers that
      need an image beneath.

    All are multiplied by lam, see `TriggerSearch`.
    """

    mask: float = 1.0
    outside: float = 0.01
    rough: float = 0.1
    rough_outside: float = 0.01
    blocking: float = 10.0
    overlaying: float = 10.0

    def __check_init__(self):
        for name, value in vars(self).items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name}: got {value}, expected a finite weight >= 0")


class Tabor(AbstractTriggerAudit):
    """Neural Cleanse with six terms in place of the size of the mask. Labels are compared by the
    quality of their triggers, where less is a better trigger.

        alpha |m d|_1 / pixels + beta rough(m d) / pairs - attack - crop - explained

    - `attack`: share of the clean rows that the trigger makes the label. `crop`: accuracy when it
      is cut out of them again. `explained`: share of stamped rows that are read as the label by
      their most important pixels alone, as many as the mask has (derivative times value).
    - `search`, `domain`, `threshold`: as of `NeuralCleanse`. `terms`: weights in the search.
    - `alpha`, `beta`: weights of size and roughness in the comparison.

    For images. The public code of the paper leaves out the overlaying term and the comparison. It
    costs twice as much as Neural Cleanse: rows that are covered are evaluated, too.

    Raises `ValueError` as `NeuralCleanse` does, and for rows that are no images.
    """

    terms: TaborTerms = TaborTerms()
    search: TriggerSearch = TriggerSearch()
    domain: Box = eqx.field(default_factory=lambda: Box(0.0, 1.0))
    threshold: float = THRESHOLD
    alpha: float = 1.0
    beta: float = 1.0

    def penalty(self):
        return _Penalty(self.terms, self.domain)

    def figures(self, model, clean, triggers):
        quality = eqx.Partial(_quality, self.alpha, self.beta, self.domain, model, clean)
        figure = batch(quality)(triggers.labels, triggers.mask, triggers.pattern)
        return figure - triggers.success


class _Penalty(eqx.Module):
    terms: TaborTerms
    domain: Box

    def __call__(
        self,
        model: AbstractModel,
        mask: Float[Array, "h w 1"],
        unit: Float[Array, "h w c"],
        rows: Data,
        label: Int[Array, ""],
    ) -> Float[Array, ""]:
        if rows.x.ndim != 4:
            raise ValueError(
                f"clean: got rows of shape {rows.x.shape[1:]}, expected images (height, width, "
                "channels); NeuralCleanse takes tables, too"
            )
        loss, of, outside = CrossEntropy(), self.terms, (1 - mask) * unit
        low = scaled(self.domain, jnp.zeros_like(unit))
        blocked = _kept((1 - mask)[None], rows.x, low)
        alone = scaled(self.domain, mask * unit)[None]
        return (
            of.mask * _elastic(mask)
            + of.outside * _elastic(outside)
            + of.rough * _rough(mask)
            + of.rough_outside * _rough(outside)
            + of.blocking * jnp.mean(loss(rows.y, model.decision(blocked)))
            + of.overlaying * jnp.mean(loss(label[None], model.decision(alone)))
        )


def _elastic(a: Array) -> Float[Array, ""]:
    return jnp.sum(jnp.abs(a)) + jnp.sum(a * a)


def _rough(a: Float[Array, "h w c"]) -> Float[Array, ""]:
    return jnp.sum(jnp.diff(a, axis=0) ** 2) + jnp.sum(jnp.diff(a, axis=1) ** 2)


def _kept(share: Array, x: Float[Array, "n ..."], low: Array) -> Float[Array, "n ..."]:
    """Rows with the rest at its lowest value."""
    return low[None] + share * (x - low[None])


def _quality(
    alpha: float,
    beta: float,
    domain: Box,
    model: AbstractModel,
    clean: Data,
    label: Int[Array, ""],
    mask: Float[Array, "h w 1"],
    pattern: Float[Array, "h w c"],
) -> Float[Array, ""]:
    """The figure of a label, but for the success of its trigger."""
    low, high = (scaled(domain, jnp.full_like(pattern, value)) for value in (0, 1))
    trigger = mask * (pattern - low) / (high - low)
    height, width, channels = pattern.shape
    pairs = channels * (height * (width - 1) + width * (height - 1))
    shown = stamped(mask, pattern, clean.x)
    cut = model.predict(_kept((1 - mask)[None], shown, low))
    crop = jnp.mean(cut == clean.y.astype(cut.dtype), dtype=mask.dtype)

    def score(x):
        return jnp.sum(jnp.take(model.decision(x), label, axis=1))

    important = jnp.sum(jnp.abs(jax.grad(score)(shown) * (shown - low[None])), axis=3)
    order = jnp.argsort(-important.reshape(clean.rows, -1), axis=1)
    rank = jnp.argsort(order, axis=1).reshape(important.shape)
    count = jnp.round(jnp.sum(mask)).astype(rank.dtype)
    most = (rank < count)[..., None].astype(mask.dtype)
    explained = jnp.mean(model.predict(_kept(most, shown, low)) == label, dtype=mask.dtype)
    size, rough = jnp.sum(trigger) / pattern.size, _rough(trigger) / pairs
    return alpha * size + beta * rough - crop - explained
