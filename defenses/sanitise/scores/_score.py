"""The contract of outlier scores."""

import abc
from typing import Any

import equinox as eqx


class AbstractScore(eqx.Module):
    """How far each row lies from where the rows of its class lie; larger is further.

    Written against the array API: NumPy arrays give NumPy's, JAX's are traced and differentiated.
    """

    @abc.abstractmethod
    def __call__(self, x: Any, inside: Any, outside: Any) -> Any:
        """Scores (n,) of all rows x (n, d) as members of a class.

        `inside` (n,) are the weights of the rows of that class and zero elsewhere, `outside` (n,)
        those of the rest.
        """


def mean(x: Any, weight: Any) -> Any:
    """Weighted mean row (d,); zero without weights."""
    xp = x.__array_namespace__()
    total = xp.sum(weight)
    share = weight / xp.where(total > 0, total, xp.ones_like(total))
    # Of rows far from the origin a sum is rounded by its own size, many times that of a row.
    near = share @ x
    return near + share @ (x - near[None, :])
