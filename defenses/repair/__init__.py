"""Defenses after training: they change the model."""

from ._repair import AbstractRepair
