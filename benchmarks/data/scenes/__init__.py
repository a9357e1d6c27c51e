"""Drawn data: pictures with a seed, for experiments that need no download."""

from ._warp import Pictures
from .driving import Trip, drive
from .faces import faces
from .roads import View, photograph, roads, steering
from .signs import Conditions, Place, classes, signs
