"""Edges of batches and members: processes that differ, members without an axis."""

import jax.numpy as jnp
import numpy as np
import pytest

from bilevel import Members, _hosts


@pytest.mark.parametrize("mine", [0, 1, 2])
def test_the_process_that_differs_from_the_first_is_named_by_all(mine, monkeypatch) -> None:
    """Whichever of three one is: the last one passed other arrays."""

    def exchanged(digest):
        rows = np.repeat((digest if mine < 2 else digest + 1)[None], 3, axis=0)
        rows[2] = digest[0] + 1 if mine < 2 else digest[0]
        return rows

    monkeypatch.setattr(_hosts, "_exchanged", exchanged)
    with pytest.raises(ValueError, match="process 2 passed other arrays than process 0"):
        _hosts._require_same({"a": jnp.ones(3)})
    monkeypatch.setattr(_hosts, "_exchanged", lambda digest: np.repeat(digest[None], 3, axis=0))
    _hosts._require_same({"a": jnp.ones(3)})


@pytest.mark.parametrize(
    "members",
    [
        {"a": jnp.ones(())},
        {"a": jnp.ones(2), "b": jnp.ones(3)},
        {},
        {"a": jnp.ones(2), "b": jnp.ones(())},
    ],
)
def test_members_have_one_axis_in_common(members) -> None:
    def objective(member):
        return member

    with pytest.raises(ValueError, match="expected one common length"):
        Members(objective, members)
    Members(objective, {"a": jnp.ones((2, 3)), "b": jnp.ones(2)})
