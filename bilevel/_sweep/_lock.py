"""One writer at a time."""

from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows: there, nobody is kept out
    fcntl = None


def locked(path: Path) -> IO:
    """The open file; others are kept out until it is closed or this process ends, however it ends.

    Raises `BlockingIOError` if another process holds it.
    """
    file = path.open("ab")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise
        except OSError:  # a file system without locks
            pass
    return file
