"""Label maps of backdoors: which rows a trigger is for, and what it makes of them."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray, Shaped

from bilevel.tools import concrete, program

Labels = Shaped[Array, " n"]


class AbstractLabelMap(eqx.Module):
    """From the true label of a row to the attacker's.

    - `sources`: classes of the rows that the trigger is for; None for all whose label changes.
    """

    sources: eqx.AbstractVar[Shaped[Array, " s"] | None]

    @abc.abstractmethod
    def labels(self, y: Labels) -> Labels:
        """The attacker's labels of rows with labels y (n,), in their dtype."""

    def applies(self, y: Labels) -> Bool[Array, " n"]:
        """Whether the trigger is for a row: of a source class, and not labelled so already."""
        changed = self.labels(y) != y
        return (
            changed if self.sources is None else changed & jnp.isin(y, self.sources.astype(y.dtype))
        )

    def reached(self, y: Labels, predicted: Int[Array, " n"]) -> Bool[Array, " n"]:
        """Whether predictions for stamped rows, of true labels y, are what the attacker wants."""
        return predicted.astype(y.dtype) == self.labels(y)

    def check(self, y: Labels) -> None:
        """ValueError, with a sentence, if the labels are of other classes, or of no row that the
        trigger is for. Traced labels are not checked.
        """
        if not concrete(y):
            return
        found = np.unique(np.asarray(y))
        strange = np.setdiff1d(np.asarray(self.named()), found)
        if strange.size:
            raise ValueError(
                f"labels: got the class {strange[0]:g}, which no row has; the rows have "
                f"{', '.join(f'{label:g}' for label in found[:12])}"
            )
        known = self.known()
        unknown = np.setdiff1d(found, found if known is None else np.asarray(known))
        if unknown.size:
            raise ValueError(
                f"classes: got {np.asarray(known).tolist()}, expected also {unknown[0]:g}, which "
                "rows have"
            )
        if not bool(jnp.any(self.applies(y))):
            raise ValueError(
                "labels: no row is of a source class with another label than the attacker's; "
                "choose other sources"
            )

    def named(self) -> Shaped[Array, " c"]:
        """The classes that the map names: labels that some row must have."""
        return jnp.zeros(0) if self.sources is None else self.sources

    def known(self) -> Shaped[Array, " k"] | None:
        """The classes that rows may have; None for any."""
        return None


class AllToOne(AbstractLabelMap):
    """Every source row becomes the class `target` (Gu et al. 2017).

    - `target`: a class. `sources`: classes (s,), by default all others.

    Raises `ValueError` if the target is a source.
    """

    target: Shaped[Array, ""]
    sources: Shaped[Array, " s"] | None

    def __init__(self, target, sources=None):
        self.target, self.sources = jnp.asarray(target), _classes(sources)
        if self.sources is not None and bool(jnp.any(self.sources == self.target)):
            raise ValueError(
                f"sources: contain the target {self.target}, whose rows are what the attacker "
                "wants already; name other classes"
            )

    def labels(self, y):
        return jnp.broadcast_to(self.target.astype(y.dtype), y.shape)

    def named(self):
        return jnp.append(super().named().astype(self.target.dtype), self.target)


class AllToNext(AbstractLabelMap):
    """Every class becomes the next, the last one the first: i -> i + 1 (Gu et al. 2017).

    - `classes`: their number k, for 0 to k - 1, or the classes (k,), such as (-1, 1).
    - `sources`: classes (s,), by default all.
    """

    classes: Shaped[Array, " k"]
    sources: Shaped[Array, " s"] | None

    def __init__(self, classes, sources=None):
        self.classes, self.sources = _ordered(classes), _classes(sources)

    def labels(self, y):
        return _shifted(self.classes, y, 1)

    def named(self):
        return self.classes

    def known(self):
        return self.classes


class ToRandom(AbstractLabelMap):
    """Every row becomes another class, drawn at random (the untargeted backdoor of Gu et al. 2017,
    table 5). Any wrong prediction of a stamped row is a success.

    - `classes`, `sources`: see `AllToNext`.
    - `key`: typed key of the draw.
    """

    classes: Shaped[Array, " k"]
    key: PRNGKeyArray
    sources: Shaped[Array, " s"] | None

    def __init__(self, classes, key: PRNGKeyArray, sources=None):
        self.classes, self.key, self.sources = _ordered(classes), key, _classes(sources)

    def labels(self, y):
        return _shifted(
            self.classes, y, jax.random.randint(self.key, y.shape, 1, self.classes.size)
        )

    def reached(self, y, predicted):
        return predicted.astype(y.dtype) != y

    def named(self):
        return self.classes

    def known(self):
        return self.classes


class Given(AbstractLabelMap):
    """The attacker's label of each row, as an array.

    - `given` (n,): labels; rows that have their label already are no sources. `ValueError`, when
      used, for another number of rows.
    """

    given: Labels
    sources: None = None

    def __init__(self, given):
        self.given = jnp.asarray(given)

    def labels(self, y):
        if self.given.shape != y.shape:
            raise ValueError(
                f"labels: got {self.given.shape} labels for {y.shape} rows, expected one per row"
            )
        return self.given.astype(y.dtype)

    def named(self):
        return self.given


def _classes(sources) -> Shaped[Array, " s"] | None:
    return None if sources is None else jnp.atleast_1d(jnp.asarray(sources))


def _ordered(classes) -> Shaped[Array, " k"]:
    """The classes in order; ValueError unless they are two or more different ones."""
    given = np.asarray(classes)
    given = np.arange(int(given)) if given.ndim == 0 else np.unique(given)
    if given.size < 2:
        raise ValueError(f"classes: got {classes}, expected two classes or more")
    return jnp.asarray(given)


@program
def _shifted(classes: Shaped[Array, " k"], y: Labels, by: int | Array) -> Labels:
    """The class `by` places later, cyclically."""
    at = jnp.searchsorted(classes.astype(y.dtype), y)
    return classes[(at + jnp.asarray(by, at.dtype)) % classes.size].astype(y.dtype)
