"""CIFAR-10 (Krizhevsky 2009): the official binary files, from a local folder or from Toronto."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..report import UsageError
from ._source import Original, unpacked

FOLDER = "cifar-10-batches-bin"
ARCHIVE = Original(
    "cifar-10-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
TRAIN, TEST = [f"data_batch_{i}.bin" for i in range(1, 6)], "test_batch.bin"
RECORD = 1 + 3 * 32 * 32
"""Bytes of an image: its class, then its pixels, channel by channel."""


class Images(NamedTuple):
    """Images (n, 32, 32, 3) of bytes and their classes (n,), 0 to 9."""

    x: np.ndarray
    y: np.ndarray


def cifar10() -> tuple[Images, Images]:
    """Training and test images: 50,000 and 10,000, or those that the folder in `BILEVEL_DATA` has
    (a cut is fine).
    """
    files = dict(_files())
    train = [_records(name, files[name]) for name in TRAIN if name in files]
    if not train or TEST not in files:
        raise UsageError(f"{FOLDER}: has {', '.join(files) or 'no file'}, expected {TRAIN[0]}, ...")
    x, y = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return Images(x, y), _records(TEST, files[TEST])


def _files() -> Iterator[tuple[str, bytes]]:
    folder = os.environ.get("BILEVEL_DATA")
    if folder and (Path(folder) / FOLDER).is_dir():
        for path in sorted((Path(folder) / FOLDER).glob("*.bin*")):
            yield path.name.removesuffix(".gz"), unpacked(path)
        return
    path = ARCHIVE.path()
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                held = archive.extractfile(member)
                if held is not None and member.name.endswith(".bin"):
                    yield Path(member.name).name, held.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UsageError(f"{path}: cannot be unpacked ({error}); fetch it again") from error


def _records(name: str, raw: bytes) -> Images:
    if not raw or len(raw) % RECORD:
        raise UsageError(f"{name}: has {len(raw)} bytes, expected a multiple of {RECORD}")
    records = np.frombuffer(raw, np.uint8).reshape(-1, RECORD)
    if records[:, 0].max() > 9:
        raise UsageError(f"{name}: has the class {records[:, 0].max()}, expected 0 to 9")
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Images(images, records[:, 0].astype(np.int32))
