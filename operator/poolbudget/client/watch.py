"""Notices that the kubelet has written a file anew.

The kubelet writes a volume's files into a new folder and moves a symbolic link onto it (Kubernetes,
pkg/volume/util/atomic_writer.go), so the folder around them is what has to be watched. One thread per
process looks at all files: when inotify tells of a change, and in any case a few times per second, since a
file system may have no inotify.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

INTERVAL = 0.2
"""Seconds between two looks when nothing is told: what a file costs is some ten microseconds."""

# inotify(7): IN_CREATE, IN_MOVED_TO, IN_CLOSE_WRITE, IN_DELETE_SELF.
_EVENTS = 0x100 | 0x80 | 0x8 | 0x400
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC


class Watcher:
    """Calls back every so often, and soon after a folder has changed. Its thread ends with the process."""

    def __init__(self, interval: float = INTERVAL) -> None:
        """`interval` is in seconds."""
        self._interval = interval
        self.begin_anew()

    def begin_anew(self) -> None:
        """After a fork the thread is gone, and the descriptor is the parent's."""
        self._callbacks: list[Callable[[], bool]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._inotify = -1
        self._identity: tuple[int, int] | None = None

    def add(self, folder: Path | None, callback: Callable[[], bool]) -> None:
        """Call back from now on, until it returns False. Starts the thread."""
        with self._lock:
            self._callbacks.append(callback)
            if self._thread is None:
                self._inotify = _inotify()
                self._identity = _identity(self._inotify)
                self._thread = threading.Thread(target=self._run, name="poolbudget", daemon=True)
                self._thread.start()
            if folder is not None:
                _watch(self._inotify, folder)

    def _run(self) -> None:
        while True:
            self._wait()
            with self._lock:
                callbacks = list(self._callbacks)
            done = [callback for callback in callbacks if not _calls(callback)]
            with self._lock:
                self._callbacks = [item for item in self._callbacks if item not in done]
                if not self._callbacks:
                    self._thread = None
                    if self._is_ours():
                        os.close(self._inotify)
                    return

    def _is_ours(self) -> bool:
        """Whether the descriptor is still our own: daemons close all, and numbers are used again."""
        return self._identity is not None and _identity(self._inotify) == self._identity

    def _wait(self) -> None:
        if not self._is_ours():
            threading.Event().wait(self._interval)
            return
        try:
            # Not select(), which knows no descriptor above 1023.
            poll = select.poll()
            poll.register(self._inotify, select.POLLIN)
            if poll.poll(self._interval * 1000) and self._is_ours():
                os.read(self._inotify, 65_536)
        except (OSError, ValueError):
            # Closed meanwhile: going by time is enough.
            self._identity = None


def _calls(callback: Callable[[], bool]) -> bool:
    try:
        return callback()
    except Exception:
        logger.exception("Following the pool's share failed, and goes on")
        return True


def _inotify() -> int:
    """A descriptor, or -1 where the system has no inotify."""
    try:
        descriptor: int = ctypes.CDLL(None).inotify_init1(_NONBLOCK_CLOEXEC)
    except (OSError, AttributeError):
        return -1
    return descriptor


def _identity(descriptor: int) -> tuple[int, int] | None:
    """What tells a descriptor's file from another one of the same number; None for none."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_ino, found.st_mode


def _watch(descriptor: int, folder: Path) -> None:
    if descriptor >= 0:
        # A folder that cannot be watched is looked at all the same.
        ctypes.CDLL(None).inotify_add_watch(descriptor, os.fsencode(folder), _EVENTS)


watcher = Watcher()
"""The process's own."""
