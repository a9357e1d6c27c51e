"""Attacks on training: capabilities (what may change), goals (what for) and their composition."""

from . import goals
from ._compose import Attack, compose
from .capabilities import AbstractCapability, Box, Insert, Reseed
from .goals import indiscriminate
from .svm_poisoning import poison_svm
