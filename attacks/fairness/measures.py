"""Measures of disparity between groups, as functions of their rates.

A measure holds for rates of hard predictions (`report`) and for smooth rates (`goals.Disparity`);
it takes NumPy's arrays and JAX's. A contrast says which groups are compared: `Between` two of them,
signed, or the `Extremes` of all.
"""

import abc
from typing import Any, ClassVar

import equinox as eqx

from ._groups import Rates


class AbstractContrast(eqx.Module):
    """How the rates (k,) of k groups are compared."""

    @abc.abstractmethod
    def difference(self, rates: Any) -> Any: ...

    @abc.abstractmethod
    def ratio(self, rates: Any) -> Any: ...

    @abc.abstractmethod
    def groups(self) -> tuple[int, ...]:
        """Groups that must exist."""

    @abc.abstractmethod
    def kinks(self, rates: Any) -> list[Any]:
        """Numbers at whose zeros the comparison is not differentiable."""


class Between(AbstractContrast):
    """One group against another, usually the unprivileged against the privileged one: the rate of
    the first minus that of the second, or divided by it.
    """

    group: int = 0
    reference: int = 1

    def difference(self, rates):
        return rates[self.group] - rates[self.reference]

    def ratio(self, rates):
        return rates[self.group] / rates[self.reference]

    def groups(self):
        return self.group, self.reference

    def kinks(self, rates):
        return []


class Extremes(AbstractContrast):
    """The largest rate minus the smallest, or the smallest divided by the largest, of any number of
    groups.
    """

    def difference(self, rates):
        return rates.max() - rates.min()

    def ratio(self, rates):
        return rates.min() / rates.max()

    def groups(self):
        return ()

    def kinks(self, rates):
        """Differences of pairs: where two groups change places, one of them is zero."""
        pairs = [(i, j) for i in range(len(rates)) for j in range(i)]
        return [rates[i] - rates[j] for i, j in pairs]


class AbstractMeasure(eqx.Module):
    """A number from `Rates`. `needs` names the labels that every group must have."""

    contrast: eqx.AbstractVar[AbstractContrast]
    needs: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def __call__(self, rates: Rates) -> Any: ...

    @abc.abstractmethod
    def kinks(self, rates: Rates) -> list[Any]:
        """Numbers at whose zeros the measure is not differentiable in the rates."""


class DisparateImpact(AbstractMeasure):
    """Ratio of selection rates (the rule of four fifths asks for .8 or more)."""

    contrast: AbstractContrast = Extremes()

    def __call__(self, rates):
        return self.contrast.ratio(rates.selection)

    def kinks(self, rates):
        return self.contrast.kinks(rates.selection)


class ParityDifference(AbstractMeasure):
    """Difference of selection rates: demographic, or statistical, parity."""

    contrast: AbstractContrast = Extremes()

    def __call__(self, rates):
        return self.contrast.difference(rates.selection)

    def kinks(self, rates):
        return self.contrast.kinks(rates.selection)


class EqualOpportunity(AbstractMeasure):
    """Difference of true positive rates (Hardt et al., NeurIPS 2016)."""

    contrast: AbstractContrast = Extremes()
    needs = ("positives",)

    def __call__(self, rates):
        return self.contrast.difference(rates.true_positive)

    def kinks(self, rates):
        return self.contrast.kinks(rates.true_positive)


class _Odds(AbstractMeasure):
    """Both differences of rates given the label."""

    needs = ("positives", "negatives")

    def pair(self, rates: Rates) -> tuple[Any, Any]:
        difference = self.contrast.difference
        return difference(rates.true_positive), difference(rates.false_positive)

    def contrasts(self, rates: Rates) -> list[Any]:
        kinks = self.contrast.kinks
        return [*kinks(rates.true_positive), *kinks(rates.false_positive)]


class EqualisedOdds(_Odds):
    """The larger of the differences, in magnitude, of true and of false positive rates."""

    contrast: AbstractContrast = Extremes()

    def __call__(self, rates):
        a, b = map(abs, self.pair(rates))
        return (a + b + abs(a - b)) / 2

    def kinks(self, rates):
        a, b = self.pair(rates)
        # where the signs and the order of the two change
        return [*self.contrasts(rates), a + b, a - b]


class AverageOdds(_Odds):
    """The mean of the differences of true and of false positive rates."""

    contrast: AbstractContrast = Extremes()

    def __call__(self, rates):
        return sum(self.pair(rates)) / 2

    def kinks(self, rates):
        return self.contrasts(rates)


class MeanDecision(AbstractMeasure):
    """Difference of mean decisions times p (1 - p), for the share p of the one of two groups: the
    covariance between group and decision (Zafar et al., AISTATS 2017).
    """

    contrast: Between = Between()

    def __call__(self, rates):
        a, b = (rates.share[g] for g in self.contrast.groups())
        return a * b / (a + b) ** 2 * self.contrast.difference(rates.decision)

    def kinks(self, rates):
        return []
