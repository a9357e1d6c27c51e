"""What an attack may know and change, and what victims train on."""

from typing import NamedTuple

import numpy as np

from ..pretraining import Source, images, rank_in_class
from ..report import UsageError

LEVELS = 255
"""Grey levels of a pixel above 0."""
SLACK = 1
"""Grey levels by which poison may exceed the limit: images are saved in whole ones."""


class Setting(NamedTuple):
    """A setting of the benchmark.

    - `classes`: classes that take part, wanted or true; of two, the first is wanted and targets are
      of the second.
    - `rows`: training images of a trial, alike of each class. `poisons`: those that are replaced.
    - `levels`: largest change of a pixel, in grey levels of 255.
    - `trials`: number of targets.
    - `scratch`: whether victims are trained from initial weights; else a last layer on features.
    """

    name: str
    data: Source
    classes: tuple[int, ...]
    rows: int
    poisons: int
    levels: int
    trials: int
    scratch: bool = False

    @property
    def pairwise(self) -> bool:
        """Whether two classes take part."""
        return len(self.classes) == 2

    @property
    def each(self) -> int:
        """Training images of each class."""
        return self.rows // len(self.classes)

    @property
    def eps(self) -> float:
        """The largest change of a pixel, in [0, 1]."""
        return self.levels / LEVELS


ALL = tuple(range(10))
SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("small", "mnist", (9, 4), 100, 5, 102, 30),
        Setting("small-cifar", "cifar", (6, 8), 110, 5, 26, 30),
        Setting("small-scratch", "mnist", ALL, 1000, 20, 77, 30, scratch=True),
        Setting("transfer", "cifar", ALL, 2500, 25, 8, 100),
        Setting("scratch", "cifar", ALL, 50_000, 500, 8, 20, scratch=True),
    )
}
"""`transfer` and `scratch` are the paper's; those of digits need no download and no accelerator."""


def named(name: str) -> Setting:
    """The setting of this name; UsageError for another."""
    if name not in SETTINGS:
        raise UsageError(f"setting: got {name!r}, expected one of {', '.join(SETTINGS)}")
    return SETTINGS[name]


def own(setting: Setting) -> np.ndarray:
    """Rows of the training images that victims may train on: of the paper's `transfer` the first of
    each class, else all of the classes. Networks whose features are frozen see none of them.
    """
    train, _ = images(setting.data)
    rows = np.flatnonzero(np.isin(train.y, setting.classes))
    first = not (setting.pairwise or setting.scratch)
    return rows[rank_in_class(train.y)[rows] < setting.each] if first else rows


class Trials(NamedTuple):
    """Numbers of images, of t trials.

    - `target` (t,): of the test images. `wanted` (t,): the class that victims are to give it.
    - `base` (t, m): of the training images that poison replaces, all of the wanted class.
    - `clean` (t, n): of the other training images.
    """

    target: np.ndarray
    wanted: np.ndarray
    base: np.ndarray
    clean: np.ndarray


def trials(setting: Setting, seed: int = 0) -> Trials:
    """Trials drawn at random, all with the same training images: the same seed draws the same."""
    rng = np.random.default_rng([seed, setting.rows])
    test, pool = images(setting.data)[1].y, own(setting)
    y = images(setting.data)[0].y[pool]
    of_class = {c: rng.permutation(pool[y == c])[: setting.each] for c in setting.classes}
    drawn = []
    for _ in range(setting.trials):
        pair = setting.classes if setting.pairwise else rng.permutation(setting.classes)
        wanted, true = int(pair[0]), int(pair[1])
        taken = [int(row[0]) for row in drawn]
        target = rng.choice(np.setdiff1d(np.flatnonzero(test == true), taken))
        base = rng.permutation(of_class[wanted])[: setting.poisons]
        clean = np.setdiff1d(np.concatenate(list(of_class.values())), base)
        drawn.append((target, wanted, base, clean))
    return Trials(*(np.asarray(part) for part in zip(*drawn, strict=True)))
