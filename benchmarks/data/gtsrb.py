"""German traffic signs (Stallkamp et al. 2012), a cut: a track is in one part only."""

from typing import NamedTuple

import numpy as np

from ..report import UsageError
from ._source import Converted, arrays

FILE = Converted(
    "gtsrb_dev.npz",
    "X (n, 32, 32, 3) bytes, y (n,) the classes 0 to 42, track (n,) a number within the class and "
    "is_test (n,), from the training images of GTSRB resized",
)


class Tracked(NamedTuple):
    """Images (n, 32, 32, 3) of bytes, their classes (n,), 0 to 42, and their tracks (n,): images of
    one track are near copies of each other.
    """

    x: np.ndarray
    y: np.ndarray
    track: np.ndarray


def gtsrb() -> tuple[Tracked, Tracked]:
    """Training and test images, 2,295 and 795 of the cut that this was made with; no track is in
    both. They must be in the folder `BILEVEL_DATA`: there is nothing to download.
    """
    path = FILE.path()
    held = arrays(path, {"X", "y", "track", "is_test"}, "BILEVEL_DATA")
    x, y, test = held["X"], held["y"].astype(np.int32), held["is_test"].astype(bool)
    if held["track"].shape != y.shape:
        raise UsageError(f"{path}: does not hold {FILE.contents}")
    track = 1000 * y + held["track"]
    images = x.shape == (len(y), 32, 32, 3) and x.dtype == np.uint8
    if not images or test.shape != y.shape or test.all() or not test.any():
        raise UsageError(f"{path}: does not hold {FILE.contents}")
    shared = np.intersect1d(track[test], track[~test])
    if shared.size:
        kind, number = divmod(int(shared[0]), 1000)
        raise UsageError(f"{path}: track {number} of class {kind} is training and test")
    return Tracked(x[~test], y[~test], track[~test]), Tracked(x[test], y[test], track[test])
