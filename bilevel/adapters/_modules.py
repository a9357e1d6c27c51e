"""What the adapters of modules have in common."""

from collections.abc import Collection
from typing import Any

from jaxtyping import Array

from ..networks import Outputs


def refuse_state(names: Collection[Any]) -> None:
    """ValueError if a module has state beside its parameters, named by `names`."""
    if names:
        raise ValueError(
            f"module: got state beside the parameters ({', '.join(sorted(map(str, names)))}), as "
            "batch norms have; a training must be a function of its rows alone: take group or "
            "layer norms"
        )


def as_outputs(made: Outputs | Array, activations: dict[str, Array] | None = None) -> Outputs:
    """What a module returned as `Outputs`: logits (n, 1) become (n,)."""
    if not isinstance(made, Outputs):
        made = Outputs(made, activations or {})
    f = made.logits
    f = f[:, 0] if f.ndim == 2 and f.shape[1] == 1 else f
    return Outputs(f, made.activations)
