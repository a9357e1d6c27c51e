"""Pairs of a test digit and the class that it shall be read as: their choice and their judge."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from benchmarks.clean_label import (
    Digits,
    Setting,
    near,
    predictions,
    retrained,
    steepest,
    with_interval,
)
from benchmarks.options import refuse
from benchmarks.rows import Row, column
from bilevel import batch


class Pairs(NamedTuple):
    """p attacks: `index` of the target among the test digits, the target, the wanted class, the
    training digits that move, and a key.
    """

    index: Int[Array, " p"]
    x: Float[Array, "p ..."]
    wanted: Int[Array, " p"]
    rows: Int[Array, "p n"]
    keys: Key[Array, " p"]


def pairs(setting: Setting, of: Digits, seed: int) -> Pairs:
    """Random targets that every clean victim reads right, random other classes, and the digits of
    that class with the largest gradients. UsageError if there are too few such targets.
    """
    rng, y = np.random.default_rng([seed, 1]), np.asarray(of.test.y)
    right = np.all(np.asarray(predictions(of.clean.model, of.test.x)) == y, axis=0)
    if np.sum(right) < setting.pairs:
        refuse("pairs", setting.pairs, f"at most {np.sum(right)}, the digits read right by all")
    index = rng.choice(np.flatnonzero(right), setting.pairs, replace=False)
    wanted = jnp.asarray((y[index] + rng.integers(1, 10, setting.pairs)) % 10, of.test.y.dtype)
    rows = steepest(of.models, of.train, wanted, setting.poisons)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 2), setting.pairs)
    return Pairs(jnp.asarray(index), of.test.x[index], wanted, rows, keys)


def shaken(setting: Setting, of: Digits, chosen: Pairs) -> Float[Array, "p n ..."]:
    """The control: the same digits with noise of the largest size."""
    return batch(lambda key, rows: near(setting, of.train, rows).noise(key))(
        chosen.keys, chosen.rows
    )


def read(
    setting: Setting, of: Digits, chosen: Pairs, z: Float[Array, "p n ..."]
) -> Int[np.ndarray, "p victims t"]:
    """What fresh victims of each attack read in the test digits."""
    models = retrained(setting, of, chosen.rows, z).model
    return np.asarray(batch(lambda models: predictions(models, of.test.x))(models))


def read_clean(of: Digits, chosen: Pairs) -> Int[np.ndarray, "p victims t"]:
    """The same of the clean victims, once for each attack."""
    each = np.asarray(predictions(of.clean.model, of.test.x))
    return np.repeat(each[None], len(chosen.keys), axis=0)


def judged(
    of: Digits, chosen: Pairs, kind: str, seen: Int[np.ndarray, "p victims t"], **cells: Any
) -> list[dict[str, Any]]:
    """A row for each pair. `hit`: share of the victims that read the target as wanted; `misread`:
    as any wrong class. `cells`: (p,) each.
    """
    rows = []
    for i, index in enumerate(np.asarray(chosen.index)):
        label, wanted = int(of.test.y[index]), int(chosen.wanted[i])
        rows.append({
            "kind": kind, "target": int(index), "label": label, "wanted": wanted,
            "hit": float(np.mean(seen[i, :, index] == wanted)),
            "misread": float(np.mean(seen[i, :, index] != label)),
            "test_err": float(np.mean(seen[i] != np.asarray(of.test.y))),
            **{name: float(values[i]) for name, values in cells.items()},
        })  # fmt: skip
    return rows


def summary(setting: Setting, rows: Sequence[Row], kind: str) -> str:
    """Mean hit over the pairs, with its interval over other pairs."""
    hits, errs = (column(rows, name, kind=kind) for name in ("hit", "test_err"))
    return (
        f"{kind}: read as wanted {with_interval(hits)}, mean and 95 % interval over {len(hits)} "
        f"pairs of {setting.victims} fresh networks; test error {100 * np.mean(errs):.1f} %"
    )
