"""Which code makes a row."""

import hashlib
from importlib import metadata
from pathlib import Path

PACKAGES = ("attacks", "benchmarks", "bilevel", "defenses")
LIBRARIES = ("jax", "jaxlib", "numpy", "optax", "scipy", "scikit-learn")


def version() -> str:
    """A hash of all our sources, and the versions of the libraries that compute and judge."""
    root, digest = Path(__file__).parent.parent, hashlib.sha256()
    for path in sorted(path for name in PACKAGES for path in (root / name).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    return f"{digest.hexdigest()[:12]} ({versions})"
