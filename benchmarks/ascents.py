"""How far the attacks of the experiments go at a step, for features in [0, 1].

Lengths are given here in place of the library's share of the spread of the rows, so that figures
from different versions are about the same attacks.
"""

from bilevel import Ascent

CLASSIFIERS = Ascent(first=2.0, last=0.02)
"""Inserted rows with fixed labels."""

REGRESSIONS = Ascent(first=0.3, last=0.01, momentum=0.8)
"""Inserted rows with their targets."""
