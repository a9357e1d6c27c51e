"""The interface of inner problems: immutable pytrees, differentiable in their arrays."""

from typing import Any

import equinox as eqx


class AbstractProblem(eqx.Module):
    """Arrays, and functions of the unknowns."""

    def functions(self) -> dict[str, tuple[Any, ...]]:
        """Names of the fields that hold the user's functions, with examples of their arguments.

        Traced values that such a function closes over become arrays of the problem, so that
        solutions are differentiable in them. By default no names.
        """
        return {}
