"""Rows with groups that say whose they are, and which."""

from typing import Any

import numpy as np
from saying import said

from attacks import Box
from benchmarks.experiments.fairness._cases import Audited, Case


def audited(count: int, number: int) -> Audited:
    """Rows of this number."""
    x = np.stack([np.full(count, float(number)), np.arange(count) / 4], axis=1)
    return Audited(x, np.where(np.arange(count) % 3, 1.0, -1.0), np.arange(count) // 2 % 2)


CASE = Case(
    *(audited(count, number) for number, count in enumerate((12, 10, 7, 9))),
    domain=Box(-9.0, 9.0), protected=None,
)  # fmt: skip


def same(found: Any, expected: Any) -> bool:
    return said(found) == said(expected)
