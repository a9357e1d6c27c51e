"""Defenses at test time: they change the rows that the model is shown."""

from ._purifier import AbstractPurifier, PurifiedModel
