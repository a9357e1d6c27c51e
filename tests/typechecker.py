"""Checks the shapes and dtypes of values against the annotations of our functions, in all tests but
where an error is expected: there our own sentence must come first.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException
from jaxtyping import install_import_hook

EXPECTED = [0]
"""Number of `pytest.raises` blocks, and of tests with stand-ins, that are open."""


def checked(function: Any) -> Callable:
    """The function with its annotations checked at every call, as far as beartype knows them."""
    if function.__module__.startswith("defenses.estimators"):
        return function  # scikit-learn's own checks set parameters to what they are not
    try:
        strict = beartype(conf=BeartypeConf(is_pep484_tower=True))(function)
    except BeartypeDecorHintException:  # Self, outside a class that is decorated as a whole
        return function

    @functools.wraps(function)
    def call(*args, **kwargs):
        return (function if EXPECTED[0] else strict)(*args, **kwargs)

    return call


@contextlib.contextmanager
def trusting() -> Iterator[None]:
    """Check nothing meanwhile."""
    EXPECTED[0] += 1
    try:
        yield
    finally:
        EXPECTED[0] -= 1


def install(packages: tuple[str, ...]) -> None:
    """Check the functions of these packages, which must not be imported yet."""
    block: Any = pytest.RaisesExc
    enter, leave = block.__enter__, block.__exit__

    def count_in(self):
        EXPECTED[0] += 1
        return enter(self)

    def count_out(self, *error):
        EXPECTED[0] -= 1
        return leave(self, *error)

    block.__enter__, block.__exit__ = count_in, count_out
    install_import_hook(list(packages), "typechecker.checked")
