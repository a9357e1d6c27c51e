"""Victims of poison, beside victims of the same images unchanged and moved at random."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from attacks import Rates
from bilevel import Data, batch
from bilevel.learners import AbstractLearner, Fitted
from bilevel.results import CONVERGED

from ..pretraining import images
from ..report import UsageError
from .layout import Poisons, check
from .networks import Known, admitted, victim
from .setting import Setting, Trials, named

Defend = Callable[[AbstractLearner], AbstractLearner]
NO_LABEL = np.iinfo(np.int32).min
TEST = 400
"""Test images on which the error of each victim is counted."""


class Controls(NamedTuple):
    """What victims of each trial (t,) do without the attack.

    - `random`: whether one gives the target the wanted class when the images of the attack are
      moved at random, by the largest change allowed. `right`: whether one gives the target its true
      class when no image is moved. `error`: its share of wrong predictions on other test images.
    """

    random: np.ndarray
    right: np.ndarray
    error: np.ndarray


class Judged(NamedTuple):
    """Of the victim of each trial (t,).

    - `hit`: whether it gives the target the wanted class. `error`: share of wrong predictions on
      other test images.
    - `controls`: only the targets that are right there count.
    """

    hit: np.ndarray
    error: np.ndarray
    controls: Controls

    def row(self) -> dict[str, float | int]:
        """As cells: shares of the targets that count, with Wilson's 95 % interval."""
        right = self.controls.right
        n = int(right.sum())
        hit, random = (
            float(part[right].mean()) if n else float("nan")
            for part in (self.hit, self.controls.random)
        )
        low, high = Rates(jnp.array([hit]), jnp.array([n])).interval if n else (0.0, 1.0)
        return {
            "success": hit, "low": low, "high": high, "random": random, "n": n,
            "test_err": float(self.error.mean()),
            "clean_test_err": float(self.controls.error.mean()),
        }  # fmt: skip


def undefended(learner: AbstractLearner) -> AbstractLearner:
    """The learner itself."""
    return learner


def controls(
    setting: Setting, drawn: Trials, known: Known, defend: Defend = undefended
) -> Controls:
    """Two victims for each trial, see `judge`."""
    base = jnp.asarray(images(setting.data)[0].x[drawn.base])
    noise = jax.random.rademacher(jax.random.key(1), base.shape, base.dtype)
    moved = jnp.clip(base + setting.eps * noise, 0, 1)
    random, _ = _read(setting, drawn, moved, known, defend)
    plain, error = _read(setting, drawn, base, known, defend)
    true = np.asarray(labels(setting, images(setting.data)[1].y[drawn.target]))
    return Controls(random == _wanted(setting, drawn), plain == true, error)


def judge(
    poisons: Poisons, known: Known, defend: Defend = undefended, beside: Controls | None = None
) -> Judged:
    """Train a victim for each trial. UsageError for poison that breaks a rule of its setting, and
    for a victim that the setting does not admit.

    - `known`: what the attacker's network, the white one, has in common with the victims'.
    - `defend`: wraps what a victim trains on the frozen features, for settings of two classes.
    - `beside`: `controls` of the same trials, victims and defense, if they are made already.
    """
    check(poisons)
    setting = named(poisons.setting)
    if known not in admitted(setting):
        raise UsageError(
            f"known: got {known!r}, expected one of {', '.join(admitted(setting))}; victims of "
            f"{setting.name} are trained from scratch, their weights are not known"
        )
    # Other tools may write other byte orders, which JAX does not take.
    drawn = Trials(*(getattr(poisons, name).astype(int) for name in Trials._fields))
    read, error = _read(setting, drawn, jnp.asarray(poisons.images), known, defend)
    beside = controls(setting, drawn, known, defend) if beside is None else beside
    return Judged(read == _wanted(setting, drawn), error, beside)


def _wanted(setting: Setting, drawn: Trials) -> np.ndarray:
    return np.asarray(labels(setting, drawn.wanted))


def _read(
    setting: Setting, drawn: Trials, rows: Array, known: Known, defend: Defend
) -> tuple[np.ndarray, np.ndarray]:
    """The label that the victim of each trial gives its target, and its error elsewhere, when the
    images (t, m, ...) take the place of the base. A training that failed gives no label.
    """
    train, test = images(setting.data)
    learner = victim(setting, known)
    if setting.pairwise:
        learner = learner.around(defend(learner.learner))  # pyright: ignore
    others = _others(setting, drawn.target, test.y)
    rest, rest_y = jnp.asarray(test.x[others]), labels(setting, test.y[others])
    x, y = jnp.asarray(train.x), labels(setting, train.y)

    def read(target, wanted, clean, rows, key) -> tuple[Array, Array]:
        victim = fitted(learner, x[clean], y[clean], rows, wanted, key)
        label = victim.model.predict(target[None])[0].astype(jnp.int32)
        error = jnp.mean(victim.model.predict(rest) != rest_y)
        return jnp.where(victim.result == CONVERGED, label, NO_LABEL), error

    label, error = batch(read)(
        jnp.asarray(test.x[drawn.target]), labels(setting, drawn.wanted),
        jnp.asarray(drawn.clean), rows, jax.random.split(jax.random.key(2), len(drawn.wanted)),
    )  # fmt: skip
    return np.asarray(label), np.asarray(error)


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
) -> Fitted:
    """The victim of clean images and those that take the place of the base."""
    x = jnp.concatenate([clean, rows])
    y = jnp.concatenate([y, jnp.full(rows.shape[0], wanted)])
    return learner.fit(Data(x, y), key=key, throw=False)


def _others(setting: Setting, targets: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Test images of the classes, without the targets."""
    rows = np.setdiff1d(np.flatnonzero(np.isin(y, setting.classes)), targets)
    return np.random.default_rng(0).permutation(rows)[:TEST]
