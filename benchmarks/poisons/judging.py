"""Victims of poison, beside victims of the same images unchanged and moved at random."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from attacks import Rates
from bilevel import Data, batch
from bilevel.learners import AbstractLearner, AbstractModel

from .layout import Poisons, check
from .networks import Known, victim
from .setting import Setting, named, whole

Defend = Callable[[AbstractLearner], AbstractLearner]
TEST = 400
"""Test images on which the error of each victim is counted."""


class Judged(NamedTuple):
    """Of the victim of each trial (t,).

    - `hit`: whether it gives the target the wanted class. `control`: whether it does when the same
      images are moved at random, by the largest change allowed. `right`: whether it gives the
      target its true class when no image is moved; only these targets count.
    - `error`, `clean_error`: share of wrong predictions on other test images, with and without the
      poison.
    """

    hit: np.ndarray
    control: np.ndarray
    right: np.ndarray
    error: np.ndarray
    clean_error: np.ndarray

    def row(self) -> dict[str, float | int]:
        """As cells: shares of the targets that count, with Wilson's 95 % interval."""
        n = int(self.right.sum())
        hit, control = (
            float(part[self.right].mean()) if n else float("nan")
            for part in (self.hit, self.control)
        )
        low, high = Rates(jnp.array([hit]), jnp.array([n])).interval if n else (0.0, 1.0)
        return {
            "success": hit, "low": low, "high": high, "random": control, "n": n,
            "test_err": float(self.error.mean()), "clean_test_err": float(self.clean_error.mean()),
        }  # fmt: skip


def judge(poisons: Poisons, known: Known, defend: Defend = lambda learner: learner) -> Judged:
    """Train three victims for each trial. UsageError for poison that breaks a rule of its setting.

    - `known`: what the attacker's network, the white one, has in common with the victims'.
    - `defend`: wraps what a victim trains on the frozen features, for settings of two classes.
    """
    check(poisons)
    setting = named(poisons.setting)
    train, test = whole(setting.data)
    learner = victim(setting, known)
    if setting.pairwise:
        learner = learner.around(defend(learner.learner))  # pyright: ignore
    targets, wanted = jnp.asarray(test.x[poisons.target]), labels(setting, poisons.wanted)
    base, moved = jnp.asarray(train.x[poisons.base]), jnp.asarray(poisons.images)
    noise = jax.random.rademacher(jax.random.key(1), base.shape, base.dtype)
    random = jnp.clip(base + setting.eps * noise, 0, 1)
    others = _others(setting, poisons.target, test.y)
    rest, rest_y = jnp.asarray(test.x[others]), labels(setting, test.y[others])
    keys = jax.random.split(jax.random.key(2), len(wanted))
    truth = labels(setting, test.y[poisons.target])
    clean_x, clean_y = jnp.asarray(train.x), labels(setting, train.y)

    def judged(target, wanted, clean, rows, key) -> tuple[Array, Array]:
        model = fitted(learner, clean_x[clean], clean_y[clean], rows, wanted, key)
        return model.predict(target[None])[0], jnp.mean(model.predict(rest) != rest_y)

    run = batch(judged)
    clean = jnp.asarray(poisons.clean)
    hit, error = run(targets, wanted, clean, moved, keys)
    control, _ = run(targets, wanted, clean, random, keys)
    plain, clean_error = run(targets, wanted, clean, base, keys)
    return Judged(
        *(
            np.asarray(part)
            for part in (hit == wanted, control == wanted, plain == truth, error, clean_error)
        )
    )


def labels(setting: Setting, y: np.ndarray) -> Array:
    """As victims have them: of two classes +1 for the wanted and -1 for the other; of ten their
    numbers.
    """
    if setting.pairwise:
        return jnp.asarray(np.where(y == setting.classes[0], 1, -1).astype(np.int32))
    return jnp.asarray(y.astype(np.int32))


def fitted(
    learner: AbstractLearner,
    clean: Float[Array, "n ..."],
    y: Array,
    rows: Float[Array, "m ..."],
    wanted: Array,
    key: jax.Array,
) -> AbstractModel:
    """The victim of clean images and those that take the place of the base."""
    x = jnp.concatenate([clean, rows])
    y = jnp.concatenate([y, jnp.full(rows.shape[0], wanted)])
    return learner.fit(Data(x, y), key=key, throw=False).model


def _others(setting: Setting, targets: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Test images of the classes, without the targets."""
    rows = np.setdiff1d(np.flatnonzero(np.isin(y, setting.classes)), targets)
    return np.random.default_rng(0).permutation(rows)[:TEST]
