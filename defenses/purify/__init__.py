"""Defenses at test time: they change the rows that the model is shown, or refuse them."""

from ._purifier import AbstractPurifier, PurifiedModel
from .squeeze import FewerLevels, MeanFilter, MedianFilter
from .straight_through import StraightThrough
from .strip import ScreenedModel, Strip
