"""A keyed work queue: events only mark a key, and one worker at a time works on it.

The first mark of a quiet key is worked on at once, later ones are gathered for a moment, so that 300
pod events become a handful of reconciles and a scaling is answered without delay.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)

_FIRST_RETRY, _LAST_RETRY = 0.2, 60.0
_MOST_DOUBLINGS = 10
_GRACE = 5.0
"""Seconds that turns in progress are given at the end."""


class _Entry:
    """A key's state: the loop's times of the next turn (infinite for none) and of the last one's start."""

    def __init__(self) -> None:
        self.due = math.inf
        self.changed = asyncio.Event()
        self.last_turn = -math.inf
        self.failures = 0
        self.task: asyncio.Task[None] | None = None


class WorkQueue(Generic[Key]):
    """Calls `process(key)` for marked keys; what it raises is logged and tried again later."""

    def __init__(
        self,
        process: Callable[[Key], Awaitable[None]],
        *,
        gather_for: float = 0.1,
        workers: int = 8,
    ) -> None:
        """`gather_for` is in seconds, `workers` how many keys are worked on at the same time."""
        self._process = process
        self._gather_for = gather_for
        self._slots = asyncio.Semaphore(workers)
        self._entries: dict[Key, _Entry] = {}
        self._closed = False

    def mark(self, key: Key, *, urgent: bool = False) -> None:
        """Something about the key may have changed; an urgent mark is not gathered with others."""
        entry = self._entries.setdefault(key, _Entry())
        now = asyncio.get_running_loop().time()
        self._wake(key, entry, now if urgent else max(now, entry.last_turn + self._gather_for))

    def mark_after(self, key: Key, seconds: float) -> None:
        """Look at the key again after a while, unless something happens before."""
        entry = self._entries.setdefault(key, _Entry())
        self._wake(key, entry, asyncio.get_running_loop().time() + seconds)

    async def close(self) -> None:
        """Take no more marks and let the turns in progress finish, if they do so soon."""
        self._closed = True
        tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
        for entry in self._entries.values():
            entry.due = math.inf
            entry.changed.set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _wake(self, key: Key, entry: _Entry, due: float) -> None:
        if self._closed:
            return
        entry.due = min(entry.due, due)
        entry.changed.set()
        if entry.task is None:
            entry.task = asyncio.create_task(self._work(key, entry), name=f"reconcile {key}")

    async def _work(self, key: Key, entry: _Entry) -> None:
        """Turns of one key, one after the other, until nothing is due."""
        loop = asyncio.get_running_loop()
        try:
            while entry.due < math.inf:
                wait = entry.due - loop.time()
                if wait > 0:
                    await self._sleep(entry, wait)
                    continue
                async with self._slots:
                    entry.due = math.inf
                    entry.last_turn = loop.time()
                    await self._turn(key, entry)
        finally:
            entry.task = None
        if entry.failures == 0 and self._entries.get(key) is entry:
            # Kept for as long as it gathers marks; keys of what is gone must not pile up.
            self._drop_later(key, entry)

    async def _sleep(self, entry: _Entry, seconds: float) -> None:
        entry.changed.clear()
        try:
            await asyncio.wait_for(entry.changed.wait(), seconds)
        except TimeoutError:
            return

    async def _turn(self, key: Key, entry: _Entry) -> None:
        try:
            await self._process(key)
            entry.failures = 0
        except Exception as error:
            delay = min(_FIRST_RETRY * 2**entry.failures, _LAST_RETRY)
            entry.failures = min(entry.failures + 1, _MOST_DOUBLINGS)
            logger.warning("%s: %s; again in %.1f s", key, error, delay)
            logger.debug("Details", exc_info=error)
            entry.due = min(entry.due, asyncio.get_running_loop().time() + delay)

    def _drop_later(self, key: Key, entry: _Entry) -> None:
        def drop() -> None:
            if entry.task is None and self._entries.get(key) is entry:
                del self._entries[key]

        asyncio.get_running_loop().call_later(self._gather_for, drop)
