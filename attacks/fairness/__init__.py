"""Fairness between groups: measures, reports of a model, threat models of a protected attribute."""

from ._groups import Rates
from .measures import (
    AbstractMeasure,
    AverageOdds,
    Between,
    DisparateImpact,
    EqualisedOdds,
    EqualOpportunity,
    Extremes,
    MeanDecision,
    ParityDifference,
)
from .protected import chosen, fixed
from .report import Disparities, Report, report
