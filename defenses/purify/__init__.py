"""Defenses at test time: they change the rows that the model is shown, or refuse them."""

from ._heat import grad_cam, heat_map, hires_cam
from ._purifier import AbstractPurifier, PurifiedModel
from .februus import Februus
from .fewer_levels import FewerLevels
from .filters import MeanFilter, MedianFilter
from .inpainter import Inpainter, Inpainting, MeanFill
from .straight_through import StraightThrough
from .strip import ScreenedModel, Strip
