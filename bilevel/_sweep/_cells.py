"""What a task returns, as text: plain cells, and arrays bit for bit."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

ARRAY = "__array__"  # marks [dtype, shape, bytes], little-endian
KINDS = "numbers, text, None, arrays, and lists, tuples or mappings of these"


def dumps(outcome: Any) -> str:
    """An outcome as JSON, in which NumPy and JAX scalars are plain numbers.

    Raises `TypeError` for what comes back in no such form, and says where it is.
    """
    return json.dumps(_plain(outcome, "the result"))


def loads(text: str) -> Any:
    """The outcome of a text: tuples are lists then, all arrays NumPy's."""
    return json.loads(text, object_hook=_array)


def _plain(value: Any, name: str) -> Any:
    if value is None or isinstance(value, str | bool | int) or type(value) is float:
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key == ARRAY:
                raise TypeError(f"{name}: has the name {key!r}, expected text other than {ARRAY!r}")
        return {key: _plain(each, f"{name}[{key!r}]") for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, f"{name}[{number}]") for number, each in enumerate(value)]
    if not isinstance(value, np.ndarray | np.generic | jax.Array):
        raise TypeError(f"{name}: is a {type(value).__name__}, expected {KINDS}")
    array = np.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.number) and array.dtype != bool:
        raise TypeError(f"{name}: is an array of {array.dtype}, expected numbers")
    if array.ndim == 0 and isinstance(array.item(), bool | int | float):
        return array.item()
    little = array.astype(array.dtype.newbyteorder("<"))
    data = base64.b64encode(little.tobytes()).decode()
    return {ARRAY: [array.dtype.name, list(array.shape), data]}


def _array(mapping: dict[str, Any]) -> Any:
    if ARRAY not in mapping:
        return mapping
    name, shape, data = mapping[ARRAY]
    little = np.frombuffer(base64.b64decode(data), jnp.dtype(name).newbyteorder("<"))
    return little.astype(jnp.dtype(name)).reshape(shape)
