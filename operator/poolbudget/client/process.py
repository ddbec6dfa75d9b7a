"""Which processes of this pod there are, by names that no later process gets again."""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
from pathlib import Path

from poolbudget.tag import base_36

_LENGTH = 6
_PROC = Path("/proc")


def this_process() -> str:
    """A name for this process: the process id is 1 in every container, its start time differs.

    Where there is no /proc it is random, and new after a fork.
    """
    return _own_name(os.getpid())


@functools.cache
def _own_name(process: int) -> str:
    return _name(process) or base_36(secrets.randbelow(36**_LENGTH))


def can_tell_processes() -> bool:
    """Whether those that run can be told from those that are gone."""
    return _name(os.getpid()) is not None


def living_processes() -> frozenset[str]:
    """The names of all processes that run in this container."""
    found = {this_process()}
    if _PROC.is_dir():
        for entry in _PROC.iterdir():
            name = _name(int(entry.name)) if entry.name.isdecimal() else None
            if name is not None:
                found.add(name)
    return frozenset(found)


def _name(process: int) -> str | None:
    """None for a process that is gone, or only waits for its parent to notice."""
    try:
        stat = (_PROC / str(process) / "stat").read_text()
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()
    except OSError:
        return None
    # proc(5): the program's name, in brackets, may hold anything; state is field 3, starttime 22.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    digest = hashlib.blake2b(f"{boot}{process} {fields[19]}".encode(), digest_size=8).digest()
    return base_36(int.from_bytes(digest) % 36**_LENGTH)
