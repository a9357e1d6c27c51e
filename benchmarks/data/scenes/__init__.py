"""Drawn data: pictures with a seed, for experiments that need no download."""

from .signs import Conditions, Pictures, Place, classes, signs
