"""How a pool is used: figures for metrics and logs, and a warning when it stays nearly used up."""

from __future__ import annotations

import logging
import sys
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import greenlet
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from poolbudget.client.engine import following_of
from poolbudget.client.pool import ResizableQueuePool
from poolbudget.client.watch import watcher

logger = logging.getLogger("poolbudget.client")

_LIBRARIES = ("/sqlalchemy/", "/poolbudget/client/", "/asyncio/", "/contextlib.py")


@dataclass(frozen=True, slots=True)
class Figures:
    """One pool at one moment, in connections; counts and seconds are since it was made.

    `overflow` are those open beyond `size`, never below 0 (SQLAlchemy's `pool.overflow()` is negative while
    fewer are open). `revision` is the share that the pool obeys, `acknowledged` the one that it has said in
    the database; None where it follows none. `cap` is None where there is no limit.
    """

    size: int
    cap: int | None
    checked_out: int
    overflow: int
    waiting: int = 0
    waits: int = 0
    waited_seconds: float = 0.0
    timeouts: int = 0
    resizes: int = 0
    revision: int | None = None
    acknowledged: int | None = None


def figures(engine: Engine | AsyncEngine) -> Figures:
    """An engine's pool as it is now. A pool that is not resizable tells nothing of those that wait.

    Raises TypeError for a pool without a size, such as NullPool.
    """
    pool = _sync(engine).pool
    if not isinstance(pool, QueuePool):
        raise TypeError(f"{type(pool).__name__} has no size to tell of")
    size, overflow = pool.size(), max(0, pool.overflow())
    if not isinstance(pool, ResizableQueuePool):
        cap = None if pool._max_overflow < 0 or not size else size + pool._max_overflow
        return Figures(size, cap, pool.checkedout(), overflow)
    following, counters = following_of(engine), pool.counters
    return Figures(
        size,
        pool.cap,
        pool.checkedout(),
        overflow,
        pool.waiting,
        counters.waits,
        counters.waited_seconds,
        counters.timeouts,
        counters.resizes,
        None if following is None else following.applied.revision,
        None if following is None else following.acknowledged,
    )


def log_figures(engine: Engine | AsyncEngine, name: str = "pool", every: float = 60.0) -> None:
    """Log an engine's figures every so many seconds, until the engine is gone."""
    followed, state = weakref.ref(_sync(engine)), {"due": time.monotonic() + every}

    def look() -> bool:
        found = followed()
        if found is None:
            return False
        if time.monotonic() >= state["due"]:
            state["due"] = time.monotonic() + every
            now = figures(found)
            logger.info(
                "%s: %d of %d checked out, cap %s, %d waiting, %d waits of %.3f s in all, %d timed out, "
                "%d resizes, revision %s",
                *(name, now.checked_out, now.size, now.cap, now.waiting, now.waits, now.waited_seconds),
                *(now.timeouts, now.resizes, now.revision),
            )
        return True

    watcher.add(None, look)


def warn_when_busy(
    engine: Engine | AsyncEngine, name: str = "pool", part: float = 0.8, seconds: float = 60.0
) -> None:
    """Warn once whenever more than `part` of pool_size stays checked out for so many seconds.

    The warning names where the longest checkout happened: that code holds a connection while it does
    something else, or the pool is too small for what it has to do.
    """
    busy = _Busy(_sync(engine), name, part, seconds)
    followed = weakref.ref(_sync(engine))

    def look() -> bool:
        found = followed()
        if found is not None:
            busy.look(found)
        return found is not None

    watcher.add(None, look)


class _Busy:
    """What is checked out of an engine's pool, since when, and by whom."""

    def __init__(self, engine: Engine, name: str, part: float, seconds: float) -> None:
        self._name = name
        self._part = part
        self._seconds = seconds
        self._since: float | None = None
        self._has_warned = False
        self._held: dict[int, tuple[float, tuple[CodeType, int] | None]] = {}
        event.listen(engine, "checkout", self._checked_out)
        event.listen(engine, "checkin", self._returned)
        event.listen(engine, "detach", self._returned)

    def _checked_out(self, _: Any, record: Any, __: Any) -> None:
        self._held[id(record)] = (time.monotonic(), _caller())

    def _returned(self, _: Any, record: Any) -> None:
        self._held.pop(id(record), None)

    def look(self, engine: Engine) -> None:
        now, found = time.monotonic(), figures(engine)
        if found.checked_out <= self._part * found.size:
            self._since, self._has_warned = None, False
        elif self._since is None:
            self._since = now
        elif now - self._since >= self._seconds and not self._has_warned:
            self._has_warned = True
            began, where = min(self._held.copy().values(), default=(now, None), key=lambda held: held[0])
            logger.warning(
                "%s: %d of pool_size %d checked out for %.0f s; the longest, for %.1f s now, by %s",
                *(self._name, found.checked_out, found.size, now - self._since),
                *(now - began, _in_words(where)),
            )


def _caller() -> tuple[CodeType, int] | None:
    """The application's own line: the first frame that is no library's."""
    for frame in _frames():
        if not any(part in frame.f_code.co_filename for part in _LIBRARIES):
            return frame.f_code, frame.f_lineno
    return None


def _frames() -> Iterator[FrameType]:
    """Each frame from here outward, also where SQLAlchemy awaits in a greenlet of its own."""
    frame: FrameType | None = sys._getframe(1)
    current: greenlet.greenlet | None = greenlet.getcurrent()
    while frame is not None or current is not None:
        while frame is not None:
            yield frame
            frame = frame.f_back
        current = None if current is None else current.parent
        frame = None if current is None else current.gr_frame


def _in_words(where: tuple[CodeType, int] | None) -> str:
    return "no code of yours" if where is None else f"{where[0].co_filename}:{where[1]} ({where[0].co_name})"


def _sync(engine: Engine | AsyncEngine) -> Engine:
    return engine.sync_engine if isinstance(engine, AsyncEngine) else engine
