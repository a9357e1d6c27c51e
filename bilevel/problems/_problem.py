"""What every inner problem is: an immutable pytree whose arrays a hypergradient is taken in."""

from typing import Any

import equinox as eqx


class AbstractProblem(eqx.Module):
    """Arrays, and perhaps functions of them."""

    def functions(self) -> dict[str, tuple[Any, ...]]:
        """Names of the fields that hold user's functions, with examples of their arguments.

        What such a function closes over is made an array of the problem, so that derivatives
        reach it.
        """
        return {}
