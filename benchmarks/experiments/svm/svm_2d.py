"""Two Gaussians in the plane: the attacker's objective as it is, and the ascent on it.

After Figure 1 of Biggio, Nelson & Laskov, "Poisoning attacks against support vector machines",
ICML 2012: one poison point in a box, a linear and an RBF SVM. The surfaces are not models of
anything: every pixel is an SVM retrained with the poison there. Arrows are exact hypergradients.

The linear SVM has plateaus: three margin vectors fix a line in the plane, and while they do,
moving the poison changes nothing. There the ascent wanders at random until a slope returns.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from attacks import Attack, Box, Insert, compose, indiscriminate
from benchmarks.options import Count, Positive, at_least, between, check
from benchmarks.report import Report
from bilevel import Data, Optimized, certify, maximize
from bilevel.learners import SVM, kernels
from bilevel.results import CONVERGED, RUNNING

if TYPE_CHECKING:
    from benchmarks.pictures.svm_2d import Scene

EDGE, MEAN, VARIANCE, PER_CLASS, VALIDATION = 5.0, 1.5, 0.6, 25, 500
KERNELS = {"Linear": kernels.Linear, "RBF": lambda: kernels.RBF(0.5)}
FIRST_STEP, LAST_STEP = 0.6, 0.01
NOISE = 1e-12  # a shorter gradient is rounding


@dataclasses.dataclass(frozen=True)
class Options:
    """Resolution, ascents and data."""

    grid: Annotated[int, at_least(2)] = 50
    """Poison positions per axis at which the SVM is retrained."""
    arrows: Annotated[int, at_least(2)] = 15
    """Hypergradients per axis that are drawn."""
    starts: Annotated[int, between(1, PER_CLASS)] = 4
    """Ascents, from different points of the attacked class."""
    steps: Count = 200
    """Largest number of steps of an ascent."""
    C: Positive = 1.0
    """The SVM's C."""
    seed: int = 0
    """Seed of the data."""

    def __post_init__(self):
        check(self)


class View(NamedTuple):
    """The attacker's objective at one position of the poison, or at many; NaN where it failed."""

    hinge: jax.Array
    error: jax.Array
    failed: jax.Array


def gaussians(rng: np.random.Generator, per_class: int) -> Data:
    """The attacked class (-1) on the left, the attacker's (+1) on the right."""
    y = np.repeat([-1.0, 1.0], per_class)
    x = rng.normal(scale=np.sqrt(VARIANCE), size=(len(y), 2))
    x[:, 0] += MEAN * y
    return Data(x, y)


def square(count: int) -> tuple[np.ndarray, jax.Array]:
    """An axis of the box, and all its positions as poison (count * count, 1, 2), row by row."""
    axis = np.linspace(-EDGE, EDGE, count)
    right, up = np.meshgrid(axis, axis)
    return axis, jnp.asarray(np.stack([right, up], axis=-1).reshape(-1, 1, 2))


@eqx.filter_jit
def views(attack: Attack, validation: Data, places: jax.Array) -> View:
    """Retrain with the poison at each place.

    One after the other: the lanes of a `vmap` would all wait for the slowest.
    """

    def view(z):
        world = attack.world(z)
        fitted = attack.learner.fit(world.train, throw=False)
        wrong = validation.y * fitted.model.decision(validation.x) <= 0
        hinge, error = attack.goal.score(fitted.model, world), jnp.mean(wrong, dtype=z.dtype)
        failed = fitted.result != CONVERGED
        return View(jnp.where(failed, jnp.nan, hinge), jnp.where(failed, jnp.nan, error), failed)

    return lax.map(view, places)


@eqx.filter_jit
def hypergradients(attack: Attack, places: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Give the exact derivative of the objective at each place, and the bound on its error."""

    def at(z):
        certificate = certify(attack, z)
        return certificate.gradient, certificate.error_bound

    return lax.map(at, places)


def unit_or_wander(lengths: Callable[[jax.Array], jax.Array]) -> optax.GradientTransformation:
    """Move by lengths that shrink: along the gradient, or anywhere if nothing is left of it."""

    def init(params):
        del params
        return jnp.int32(0)

    def update(updates, state, params=None):
        del params
        gradient, count = jnp.asarray(updates), jnp.asarray(state)
        key = jax.random.fold_in(jax.random.key(0), count)
        anywhere = jax.random.normal(key, gradient.shape, gradient.dtype)
        away = jnp.where(jnp.linalg.norm(gradient) > NOISE, gradient, anywhere)
        return -lengths(count) * away / jnp.linalg.norm(away), count + 1

    return optax.GradientTransformation(init, update)


@eqx.filter_jit
def ascents(attack: Attack, starts: jax.Array, steps: int) -> Optimized:
    """Climb from each start, (starts, 1, 2); the history holds where the poison went."""

    def length(count):
        return FIRST_STEP * (LAST_STEP / FIRST_STEP) ** (count.astype(starts.dtype) / steps)

    def ascent(z):
        return maximize(
            attack,
            z,
            optimizer=unit_or_wander(length),
            steps=steps,
            patience=steps,  # the schedule shortens the steps
            reseed=lambda key, z, gradient: z,  # go on where the gradient is zero
            record=lambda step: (step.value, step.z),
        )

    return lax.map(ascent, starts)


def make_rows(options: Options, kernel: str, drawn: bool) -> dict[str, Any]:
    """The rows of all starts, and the arrays of the picture if it is drawn."""
    rng = np.random.default_rng(options.seed)
    train, validation = gaussians(rng, PER_CLASS), gaussians(rng, VALIDATION)
    starts = train.x[: options.starts, None, :]  # attacked class, about to get the other label
    attack = compose(
        SVM(options.C, kernel=KERNELS[kernel]()),
        Insert([1.0], Box(-EDGE, EDGE)),
        indiscriminate(validation.x, validation.y),
        train,
    )
    attack = attack.prepared()  # once, outside of the programs that it enters
    axis, places = square(options.grid)
    climbed = ascents(attack, starts, options.steps)
    seen = views(attack, validation, jnp.concatenate([starts, climbed.z, places]))
    ends, surface = (
        jax.tree.map(lambda leaf, part=part: leaf[part], seen)
        for part in (slice(2 * options.starts), slice(2 * options.starts, None))
    )
    made: dict[str, Any] = _rows(kernel, climbed, surface, ends)
    if drawn:
        paths = [_path(climbed, start) for start in range(options.starts)]
        scene = _scene(attack, axis, surface, square(options.arrows), paths)
        made["scene"] = scene._asdict()
    return made


def run(options: Options, report: Report) -> None:
    """One row per kernel and start."""
    units = [{"kernel": name, "drawn": report.out is not None} for name in KERNELS]
    made = report.each(make_rows, options, units, "svm-2d")
    if report.out is not None:
        from benchmarks.pictures.svm_2d import Scene, draw

        scenes = {name: Scene(**m["scene"]) for name, m in zip(KERNELS, made, strict=True)}
        report.figure("svm-2d", draw(scenes))


def _scene(
    attack: Attack, axis: np.ndarray, surface: View, coarse: tuple[np.ndarray, jax.Array],
    paths: list[np.ndarray],
) -> "Scene":  # fmt: skip
    """The attack for the picture: hypergradients at the coarse places, boundaries everywhere."""
    from benchmarks.pictures.svm_2d import Scene

    arrow_axis, places = coarse
    gradient, bound = map(np.asarray, hypergradients(attack, places))
    sure = np.linalg.norm(gradient, axis=(1, 2)) > bound
    ends = [jnp.asarray(path[-1:]) for path in paths]
    strongest = max(ends, key=lambda z: float(attack.evaluate(z)[0]))
    plane = np.linspace(axis[0], axis[-1], 160)
    rows = jnp.asarray(np.stack(np.meshgrid(plane, plane), axis=-1).reshape(-1, 2))
    clean, poisoned = (
        np.asarray(attack.learner.fit(data).model.decision(rows)).reshape(len(plane), -1)
        for data in (attack.data, attack.world(strongest).train)
    )
    hinge, error = (np.reshape(a, (len(axis), -1)) for a in (surface.hinge, surface.error))
    x, y = np.asarray(attack.data.x), np.asarray(attack.data.y)
    arrows = np.where(sure[:, None], gradient[:, 0], 0)
    return Scene(x, y, axis, hinge, error, arrow_axis, arrows, paths, plane, clean, poisoned)


def _path(climbed: Optimized, start: int) -> np.ndarray:
    """The positions better than all before: the ascent without its trials, (k, 2)."""
    value, z = (np.asarray(leaf[start])[: int(climbed.steps[start])] for leaf in climbed.history)
    before = np.append(-np.inf, np.maximum.accumulate(value)[:-1])
    return z[value > before + 1e-9, 0]


def _rows(kernel: str, climbed: Optimized, surface: View, ends: View) -> dict[str, list]:
    count = len(climbed.value)
    top = float(jnp.nanmax(surface.hinge))
    failed, notes = int(jnp.sum(surface.failed)), []
    if failed:
        notes.append(f"{kernel}: {failed} of {surface.failed.size} retrainings did not converge")
    if bool(jnp.any(climbed.status != RUNNING)):
        notes.append(f"{kernel}: {climbed.message}")
    rows = []
    for start in range(count):
        hinge = float(ends.hinge[count + start])
        rows.append({
            "kernel": kernel,
            "start": start,
            "start_hinge": ends.hinge[start],
            "hinge": hinge,
            "start_val_err": ends.error[start],
            "val_err": ends.error[count + start],
            "steps": climbed.steps[start],
            "grid_hinge": top,
            "share_of_grid": hinge / top,
            "grid_val_err": jnp.nanmax(surface.error),
        })  # fmt: skip
    return {"rows": rows, "notes": notes}
