"""The shared types of options refuse what makes no sense, in a sentence that names the option."""

import dataclasses
import math
from typing import Annotated

import pytest

from benchmarks.options import (
    FRACTION,
    SOME,
    Count,
    Counts,
    Numbers,
    Positive,
    Positives,
    Share,
    Shares,
    at_least,
    between,
    check,
    require,
    share_below,
)
from benchmarks.report import UsageError


@dataclasses.dataclass(frozen=True)
class Options:
    count: Count = 1
    counts: Counts = (1, 5)
    numbers: Numbers = (0, 1)
    positive: Positive = 0.1
    positives: Positives = (0.1, 2.0)
    share: Share = 0.2
    shares: Shares = (0.1, 0.9)
    low_shares: Annotated[tuple[float, ...], share_below(0.5)] = (0.4,)
    fraction: Annotated[float, FRACTION] = 0.0
    two: Annotated[int, at_least(2)] = 2
    digit: Annotated[int, between(0, 9)] = 9
    words: Annotated[tuple[str, ...], SOME] = ("a",)
    free: float = -1.0

    def __post_init__(self):
        check(self)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"count": 0}, "--count: got 0, expected 1 or more"),
        ({"counts": (3, 0)}, "--counts: got (3, 0), expected numbers of 1 or more"),
        ({"counts": ()}, "--counts: got none, expected numbers of 1 or more"),
        ({"counts": [2, 0]}, "--counts: got [2, 0], expected numbers of 1 or more"),
        ({"numbers": (-1,)}, "--numbers: got (-1,), expected numbers of 0 or more"),
        ({"positive": 0.0}, "--positive: got 0.0, expected a positive number"),
        ({"positive": math.inf}, "--positive: got inf, expected a positive number"),
        ({"positive": math.nan}, "--positive: got nan, expected a positive number"),
        ({"positives": (1.0, -1.0)}, "--positives: got (1.0, -1.0), expected positive numbers"),
        ({"share": 1.0}, "--share: got 1.0, expected a share between 0 and 1"),
        ({"shares": (0.0,)}, "--shares: got (0.0,), expected shares between 0 and 1"),
        ({"low_shares": (0.5,)}, "--low-shares: got (0.5,), expected shares between 0 and 0.5"),
        ({"fraction": 1.0}, "--fraction: got 1.0, expected a number from 0 to below 1"),
        ({"two": 1}, "--two: got 1, expected 2 or more"),
        ({"digit": 10}, "--digit: got 10, expected 0 to 9"),
        ({"words": ()}, "--words: got none, expected one or more"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_a_sentence(wrong, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        Options(**wrong)
    assert str(caught.value) == sentence


def test_what_keeps_the_rules_is_taken() -> None:
    assert Options(count=7, shares=(0.5,), free=math.nan).count == 7


def test_a_rule_can_depend_on_another_field() -> None:
    options = Options(counts=(1, 5))
    require(options, "counts", between(1, 5))
    with pytest.raises(UsageError, match=r"^--counts: got \(1, 5\), expected numbers from 1 to 4$"):
        require(options, "counts", between(1, 4))
