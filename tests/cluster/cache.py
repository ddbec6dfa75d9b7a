"""Where built test tools are kept: outside the tree, by the hash of what they were built from."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def cache_folder() -> Path:
    """`$POOLBUDGET_CACHE`, else `poolbudget` in the user's cache folder (XDG base directories)."""
    given = os.environ.get("POOLBUDGET_CACHE")
    if given:
        return Path(given).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "poolbudget"


def hash_of(*files: Path) -> str:
    """The first 16 hexadecimal digits of the files' SHA-256, contents only."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time works in the folder; the lock goes with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
