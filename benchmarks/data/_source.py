"""Where a file of data comes from: the folder in `BILEVEL_DATA`, else its original, by hash."""

import gzip
import io
import os
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..report import UsageError


class Original(NamedTuple):
    """A file that can be fetched as its authors published it.

    - `file`: its path in the folder `BILEVEL_DATA`, where it may have a further ending `.gz`.
      There it is read as it is found (a cut is fine).
    - `url`, `sha256`: where it is fetched from if that variable is not set, and its hash.
    """

    file: str
    url: str
    sha256: str

    def path(self) -> Path:
        """The file on this machine."""
        folder = os.environ.get("BILEVEL_DATA")
        if folder:
            return _held(Path(folder), self.file, "Unset the variable to download it")
        import pooch

        name, cache = Path(self.file).name, pooch.os_cache("bilevel")
        try:
            return Path(pooch.retrieve(self.url, f"sha256:{self.sha256}", name, cache))
        except (OSError, ValueError) as error:  # no network; a file of another content
            raise UsageError(
                f"{self.url} could not be downloaded ({type(error).__name__}); download it "
                f"yourself as {self.file} into a folder, and set BILEVEL_DATA to that folder"
            ) from error


class Converted(NamedTuple):
    """A file made of several originals, which is not published itself.

    - `file`: its path in the folder `BILEVEL_DATA`.
    - `contents`: what it must hold, and what it is made of, as a clause.
    """

    file: str
    contents: str

    def path(self) -> Path:
        """The file on this machine."""
        advice = f"It cannot be downloaded: put it there yourself; it holds {self.contents}"
        folder = os.environ.get("BILEVEL_DATA")
        if not folder:
            raise UsageError(f"BILEVEL_DATA: set it to a folder with {self.file} in it. {advice}")
        return _held(Path(folder), self.file, advice)


def _held(folder: Path, file: str, advice: str) -> Path:
    for path in (folder / file, folder / f"{file}.gz"):
        if path.is_file():
            return path
    raise UsageError(f"BILEVEL_DATA: there is no {folder / file}. {advice}")


def unpacked(path: Path) -> bytes:
    """What a file holds, without gzip if its name ends in .gz."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be unpacked ({error}); fetch it again") from error


def numbers(text: str) -> np.ndarray:
    """A table (rows, columns) of numbers with commas between; ValueError if it is none."""
    if not text.strip():
        raise ValueError("it has no rows")
    return np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2)


def arrays(path: Path, names: set[str], where: str) -> dict[str, np.ndarray]:
    """The arrays of an npz file, which must hold `names`; `where` begins the sentence if not."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            held = dict(file)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{where}: {path} cannot be read as npz ({error})") from error
    absent = names - held.keys()
    if absent:
        raise UsageError(f"{where}: {path} lacks {', '.join(sorted(absent))}")
    return held
