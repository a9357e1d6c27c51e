"""Types of options that check their values: `steps: Count = 70` refuses 0 with a sentence.

A type is the annotation that the command line needs, with a `Rule` beside it. An experiment's
`Options` calls `check(self)` in `__post_init__`, then makes the checks that concern it alone.
"""

import math
import typing
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from .report import UsageError


class Rule(NamedTuple):
    """What a value must be; of a tuple, what each value must be, and that there is one.

    - `holds`: whether it holds of a value.
    - `one`, `many`: what is expected, in words, of a value and of several.
    """

    holds: Callable[[Any], bool]
    one: str
    many: str


def at_least(low: int) -> Rule:
    """Numbers from `low` on."""
    return Rule(lambda v: low <= v < math.inf, f"{low} or more", f"numbers of {low} or more")


def between(low: float, high: float) -> Rule:
    """Numbers from `low` to `high`, both included."""
    return Rule(
        lambda v: low <= v <= high, f"{low:g} to {high:g}", f"numbers from {low:g} to {high:g}"
    )


def share_below(high: float) -> Rule:
    """Shares between 0 and `high`, both excluded."""
    words = f"between 0 and {high:g}"
    return Rule(lambda v: 0 < v < high, f"a share {words}", f"shares {words}")


POSITIVE = Rule(lambda v: 0 < v < math.inf, "a positive number", "positive numbers")
FRACTION = Rule(lambda v: 0 <= v < 1, "a number from 0 to below 1", "numbers from 0 to below 1")
SOME = Rule(lambda _: True, "a value", "one or more")

Count = Annotated[int, at_least(1)]
Counts = Annotated[tuple[int, ...], at_least(1)]
Numbers = Annotated[tuple[int, ...], at_least(0)]
Positive = Annotated[float, POSITIVE]
Positives = Annotated[tuple[float, ...], POSITIVE]
Share = Annotated[float, share_below(1)]
Shares = Annotated[tuple[float, ...], share_below(1)]


def check(options: Any) -> None:
    """Raise UsageError for the first field whose value breaks the rule beside its type."""
    hints = typing.get_type_hints(type(options), include_extras=True)
    for name, hint in hints.items():
        for rule in getattr(hint, "__metadata__", ()):
            if isinstance(rule, Rule):
                require(options, name, rule)


def require(options: Any, name: str, rule: Rule) -> None:
    """Raise UsageError if the field breaks the rule."""
    value = getattr(options, name)
    several = isinstance(value, tuple | list)
    values = value if several else (value,)
    if not values or not all(map(rule.holds, values)):
        refuse(name, value if values else "none", rule.many if several else rule.one)


def refuse(name: str, value: Any, expected: str) -> typing.NoReturn:
    """Raise UsageError for a field, as the command line spells it."""
    raise UsageError(f"--{name.replace('_', '-')}: got {value}, expected {expected}")
