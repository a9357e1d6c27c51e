"""Files of poison: one npz for all trials of a setting, from this package or any other."""

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..pretraining import images
from ..report import UsageError
from .setting import LEVELS, SLACK, Setting, Trials, named, own

NAMES = ("setting", "target", "wanted", "base", "clean", "x", "y")


class Poisons(NamedTuple):
    """The poison of t trials, in the order of `Trials`, whose arrays it has.

    - `setting`: name of the setting.
    - `x` (t, m, height, width, channels): images in [0, 1], or bytes.
    - `y` (t, m): their labels, which must be those of the images that they replace.
    """

    setting: str
    target: np.ndarray
    wanted: np.ndarray
    base: np.ndarray
    clean: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, setting: Setting, trials: Trials, x: np.ndarray) -> "Poisons":
        """Poison that keeps its labels, in whole grey levels as an image file has them."""
        levels = np.round(np.clip(np.asarray(x, float), 0, 1) * LEVELS).astype(np.uint8)
        labels = images(setting.data)[0].y[trials.base]
        return cls(setting.name, *trials, levels, labels)

    @property
    def images(self) -> np.ndarray:
        """The images in [0, 1], single precision."""
        whole_levels = self.x.dtype == np.uint8
        return (self.x / LEVELS if whole_levels else self.x).astype(np.float32)

    def digest(self) -> str:
        """SHA-256 of what the file holds, whatever its compression."""
        total = hashlib.sha256(self.setting.encode())
        for name in NAMES[1:]:
            part = np.ascontiguousarray(getattr(self, name))
            part = part.astype(part.dtype.newbyteorder("<"))
            total.update(f"{name} {part.dtype.str} {part.shape}".encode() + part.tobytes())
        return total.hexdigest()

    def save(self, path: Path) -> str:
        """Write the file; returns its digest."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **self._asdict())
        return self.digest()


def load(path: Path) -> Poisons:
    """Poison from a file; UsageError that says which rule of the setting it breaks."""
    try:
        with np.load(path, allow_pickle=False) as file:
            held = dict(file)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read as npz ({error})") from error
    absent = [name for name in NAMES if name not in held]
    if absent:
        raise UsageError(f"{path}: lacks {', '.join(absent)}; expected {', '.join(NAMES)}")
    poisons = Poisons(str(held["setting"]), *(held[name] for name in NAMES[1:]))
    try:
        check(poisons)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return poisons


def check(poisons: Poisons) -> None:
    """UsageError that names the first trial and image that break a rule of the setting."""
    setting = named(poisons.setting)
    train, test = images(setting.data)
    t, m = len(np.atleast_1d(poisons.target)), setting.poisons
    shapes = {
        "target": (t,), "wanted": (t,), "base": (t, m), "clean": (t, setting.rows - m),
        "x": (t, m, *train.x.shape[1:]), "y": (t, m),
    }  # fmt: skip
    for name, shape in shapes.items():
        part = getattr(poisons, name)
        if part.shape != shape:
            raise UsageError(f"{name}: got shape {part.shape}, expected {shape}")
        if name != "x" and part.dtype.kind not in "iu":
            raise UsageError(f"{name}: got {part.dtype}, expected whole numbers")
    if t == 0:
        raise UsageError("target: got none, expected one or more")
    if poisons.x.dtype != np.uint8 and poisons.x.dtype.kind != "f":
        raise UsageError(f"x: got {poisons.x.dtype}, expected floats in [0, 1] or uint8")
    for name, most in (("target", len(test.y)), ("base", len(train.y)), ("clean", len(train.y))):
        part = getattr(poisons, name)
        if part.min() < 0 or part.max() >= most:
            bad = part[(part < 0) | (part >= most)][0]
            raise UsageError(f"{name}: got the image {bad}, expected 0 to {most - 1}")
    if len(np.unique(poisons.target)) < t:
        raise UsageError(
            "target: an image comes twice; expected different ones, which the interval counts on"
        )
    true = setting.classes[1:] if setting.pairwise else setting.classes
    pool = np.zeros(len(train.y), bool)
    pool[own(setting)] = True
    for trial in range(t):
        if test.y[poisons.target[trial]] == poisons.wanted[trial]:
            raise UsageError(
                f"wanted: in trial {trial} it is {poisons.wanted[trial]}, the true class of the "
                "target; expected another"
            )
        of = test.y[poisons.target[trial]]
        if of not in true:
            raise UsageError(
                f"target: in trial {trial} it is of class {of}, expected one of {list(true)}"
            )
        _check_rows(setting, poisons, trial, train.y, pool)
        _check_images(setting, poisons, trial, train.x)


def _check_rows(
    setting: Setting, poisons: Poisons, trial: int, y: np.ndarray, pool: np.ndarray
) -> None:
    base, clean, labels = (part[trial] for part in (poisons.base, poisons.clean, poisons.y))
    wanted, where = poisons.wanted[trial], f"in trial {trial}"
    left = np.intersect1d(base, clean)
    if left.size:
        raise UsageError(
            f"clean: {where} has the image {left[0]}, whose poison replaces it; a base image must "
            "not be left in"
        )
    rows = np.concatenate([base, clean], dtype=int, casting="unsafe")  # uint64, int64: floats
    if len(np.unique(rows)) < len(rows):
        raise UsageError(f"base, clean: {where} an image comes twice; expected different ones")
    if not pool[rows].all():
        raise UsageError(
            f"base, clean: {where} has the image {rows[~pool[rows]][0]}, which is not among the "
            f"{pool.sum()} training images of the setting"
        )
    changed = np.flatnonzero(labels != y[base])
    if changed.size:
        i = changed[0]
        raise UsageError(
            f"y: {where} poison {i} has the label {labels[i]}, but image {base[i]} is of class "
            f"{y[base[i]]}; labels must not be changed"
        )
    if np.any(labels != wanted):
        raise UsageError(
            f"base: {where} has images of class {labels[labels != wanted][0]}, expected {wanted}, "
            "the class that the target is to get"
        )
    counts = np.array([np.sum(y[rows] == c) for c in setting.classes])
    if np.any(counts != setting.each):
        raise UsageError(
            f"base, clean: {where} they have {counts.tolist()} images of the classes "
            f"{list(setting.classes)}, expected {setting.each} of each"
        )


def _check_images(setting: Setting, poisons: Poisons, trial: int, x: np.ndarray) -> None:
    moved = poisons._replace(x=poisons.x[trial]).images
    outside = ~((moved >= 0) & (moved <= 1))  # NaN too
    if outside.any():
        raise UsageError(
            f"x: in trial {trial} there are {int(outside.sum())} pixels outside [0, 1] or NaN"
        )
    change = np.abs(moved - x[poisons.base[trial]]).reshape(len(moved), -1).max(axis=1) * LEVELS
    most = setting.levels + SLACK
    i = int(np.argmax(change))
    if change[i] > most + 1e-3:
        raise UsageError(
            f"x: in trial {trial} poison {i} differs from image {poisons.base[trial][i]} by "
            f"{change[i]:.1f}/255, at most {most}/255 is accepted ({setting.levels}/255, and "
            f"{SLACK} for rounding)"
        )
