"""Pools whose size can be changed while they work.

SQLAlchemy's own pools take their sizes once. Setting them later leaves waiters blocked until some
connection returns, and loses the wake-ups of those that wait while a connection is being closed. Here the
queue of idle connections has no bound of its own; what counts is how many records exist:

- `_overflow` counts existing records, from 0: open connections, and places for which one is being opened.
- `_max_overflow` is the ceiling, pool_size + max_overflow.
- `_keep` is how many may stay open without being used, pool_size.
- `_closing` of the existing records are being closed. They count until that is done: not before then has
  the server one connection less.

Names with an underscore that are SQLAlchemy's own are pinned by tests/unit/test_pool_contract.py, for every
minor version that is supported.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exc, util
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, QueuePool
from sqlalchemy.pool.base import _ConnectionRecord
from sqlalchemy.util.queue import Empty

_LOOP = "poolbudget event loop"
"""Where a record says after how many lost event loops it was made."""


class PoolHooks:
    """What happens around a pool's life; by default nothing."""

    def opened_first(self, pool: ResizableQueuePool, record: ConnectionPoolEntry) -> None:
        """A pool that holds back has opened its only connection; it opens more when this returns."""

    def has_to_speak(self, record: ConnectionPoolEntry) -> bool:
        """Whether `returned` has anything to do with a connection that is back. Must be quick."""
        return False

    def returned(self, pool: ResizableQueuePool, record: ConnectionPoolEntry) -> None:
        """A connection is back and outside of any transaction. Must not raise an Exception."""

    def fits(self, pool: ResizableQueuePool) -> None:
        """No more connections exist than the ceiling allows. Called with the lock held, and often."""


@dataclass(slots=True)
class Counters:
    """What has happened to a pool so far; seconds are of all waits together."""

    waits: int = 0
    waited_seconds: float = 0.0
    timeouts: int = 0
    resizes: int = 0


class ResizableQueuePool(QueuePool):
    """`sqlalchemy.pool.QueuePool`, resizable: for `create_engine`."""

    def __init__(
        self,
        creator: Any,
        pool_size: int = 5,
        max_overflow: int = 10,
        timeout: float = 30.0,
        use_lifo: bool = False,
        hooks: PoolHooks | None = None,
        holds_back: bool = False,
        counters: Counters | None = None,
        **arguments: Any,
    ) -> None:
        """As `sqlalchemy.pool.QueuePool`; a size of 0 or an overflow of -1, "no limit", is refused.

        With `holds_back` one connection at most is open until `hooks.opened_first` returns. `rests` tells
        afterwards that the pool was disposed of and not used since.
        """
        _check(pool_size, max_overflow)
        super().__init__(creator, 0, max_overflow, timeout, use_lifo, **arguments)
        # The queue's own lock where it has one: the garbage collector may return a connection while the
        # queue is locked, and two locks would be taken in both orders then.
        self._lock = getattr(self._pool, "mutex", None) or threading.RLock()
        self._overflow = 0
        self._keep = pool_size
        self._cap = pool_size + max_overflow
        self._holds_back = holds_back
        self._max_overflow = 1 if holds_back else self._cap
        self._closing = 0
        self._waiting = 0
        self._hooks = hooks or PoolHooks()
        self._process = os.getpid()
        self._is_disposed = False
        self._loops_lost = 0
        self.rests = False
        self.counters = counters or Counters()

    def resize(self, pool_size: int, max_overflow: int) -> None:
        """Change the sizes, in connections, while checkouts go on.

        Idle connections beyond the new sizes are closed at once, busy ones when they return. Whoever waits
        gets a place at once if there are more now. Never are more open than the larger of both caps allows.
        An asyncio pool has to be called where SQLAlchemy may await (`greenlet_spawn`).

        Raises ValueError for a `pool_size` below 1 or a `max_overflow` below 0.
        """
        self.set_sizes(pool_size, max_overflow)
        self.settle()

    def settle(self) -> None:
        """Close what is idle and too much, and give free places to those that wait."""
        while (record := self._surplus_idle()) is not None:
            self._close(record)
        self._settle()

    def set_sizes(self, pool_size: int, max_overflow: int) -> None:
        """The first half of `resize`, `settle` is the second; this one may be called in any thread.

        Raises ValueError, as `resize` does.
        """
        _check(pool_size, max_overflow)
        with self._lock:
            self._keep = pool_size
            self._cap = pool_size + max_overflow
            self._max_overflow = 1 if self._holds_back else self._cap
            self.counters.resizes += 1

    @property
    def cap(self) -> int:
        """The most connections that may be open: pool_size + max_overflow."""
        return self._cap

    @property
    def existing(self) -> int:
        """Connections that are open, or being opened or closed."""
        return self._overflow

    @property
    def is_over(self) -> bool:
        """Whether more connections exist than may."""
        return self._overflow > self._max_overflow

    @property
    def waiting(self) -> int:
        """Checkouts that wait for a connection."""
        return self._waiting

    def announce(self) -> None:
        """Have a connection pass by `hooks.returned`: an idle one, or a new one where there is none at all.

        Does nothing while all are busy: the next that returns will do.
        """
        record = self._idle()
        if record is not None:
            self._do_return_conn(record)
        elif not self._overflow:
            self.connect().close()

    def _do_get(self) -> ConnectionPoolEntry:
        self.rests = False
        with self._lock:
            record = self._idle()
            has_place = record is None and self._take_place()
            if record is None and not has_place:
                self._waiting += 1
        if record is None and not has_place:
            record = self._wait()
        if record is None or (self._holds_back and record.dbapi_connection is None):
            # An empty record is a place; whoever opens the first connection has to wait for the hook.
            return self._open()
        return record

    def _take_place(self) -> bool:
        """Make room for one more record, if there may be one. To be called with the lock held."""
        if self._overflow >= self._max_overflow:
            return False
        self._overflow += 1
        return True

    def _open(self) -> ConnectionPoolEntry:
        try:
            record = self._create_connection()
            self._mark(record)
        except BaseException:
            with util.safe_reraise():
                self._leave(closed=False)
            raise
        if self._holds_back:
            self._begin(record)
        else:
            self._settle()
        return record

    def _mark(self, record: ConnectionPoolEntry) -> None:
        """Let a record say in which event loop it counts; the first one needs no mark."""
        if self._loops_lost and record.record_info is not None:
            record.record_info[_LOOP] = self._loops_lost

    def _begin(self, record: ConnectionPoolEntry) -> None:
        """The first connection is there: more may follow once the hook says so."""
        try:
            self._hooks.opened_first(self, record)
        except BaseException:
            with util.safe_reraise():
                with self._lock:
                    self._closing += 1
                self._close(record)
            raise
        with self._lock:
            self._holds_back = False
            self._max_overflow = self._cap
        self._settle()

    def _wait(self) -> ConnectionPoolEntry:
        began = time.monotonic()
        try:
            return self._pool.get(True, self._timeout)
        except Empty:
            pass
        finally:
            with self._lock:
                self._waiting -= 1
                self.counters.waits += 1
                self.counters.waited_seconds += time.monotonic() - began
        self.counters.timeouts += 1
        raise exc.TimeoutError(
            f"QueuePool limit of size {self._keep} overflow {self._cap - self._keep} reached, "
            f"connection timed out, timeout {self._timeout:0.2f}",
            code="3o7r",
        )

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        if self._loops_lost and (record.record_info or {}).get(_LOOP, 0) != self._loops_lost:
            # Of an event loop that is gone: it does not count any more.
            record.close()
            return
        try:
            if record.dbapi_connection is not None and self._hooks.has_to_speak(record):
                with self._lock:
                    stays = not self._is_surplus(record)
                if stays:
                    self._hooks.returned(self, record)
        finally:
            self._put_back(record)

    def _is_surplus(self, record: ConnectionPoolEntry) -> bool:
        """Whether nobody needs a record that comes back. To be called with the lock held."""
        # What is not open, or older than the last `dispose`, is only of use as a place.
        made: float = getattr(record, "starttime", 0.0)
        is_good = record.dbapi_connection is not None and made >= self._invalidate_time
        useful = max(self._waiting, self._keep) if is_good else self._waiting
        return self._is_over() or self._pool.qsize() >= useful

    def _put_back(self, record: ConnectionPoolEntry) -> None:
        with self._lock:
            is_surplus = self._is_surplus(record)
            if is_surplus:
                self._closing += 1
            else:
                self._pool.put(record, False)
        if is_surplus:
            self._close(record)

    def _is_over(self) -> bool:
        return self._overflow - self._closing > self._max_overflow

    def _surplus_idle(self) -> ConnectionPoolEntry | None:
        """An idle record that is too much, counted as closing from now on."""
        with self._lock:
            is_surplus = self._is_over() or self._pool.qsize() > max(self._keep, self._waiting)
            record = self._idle() if is_surplus else None
            if record is not None:
                self._closing += 1
            return record

    def _idle(self) -> ConnectionPoolEntry | None:
        try:
            return self._pool.get(False)
        except Empty:
            return None

    def _close(self, record: ConnectionPoolEntry) -> None:
        """Close a record that is counted as closing."""
        try:
            record.close()
        finally:
            self._leave(closed=True)

    def _leave(self, *, closed: bool) -> None:
        """A record exists no longer, and its place is somebody else's."""
        with self._lock:
            self._overflow -= 1
            self._closing -= closed
        self._settle()

    def _settle(self) -> None:
        """Give free places to those that wait, and tell when everything fits."""
        with self._lock:
            while self._waiting > self._pool.qsize() and self._take_place():
                # An empty record: SQLAlchemy connects it when it is checked out.
                record = _ConnectionRecord(self, connect=False)
                self._mark(record)
                self._pool.put(record, False)
            if self._overflow <= self._max_overflow:
                self._hooks.fits(self)

    def size(self) -> int:
        """pool_size: connections that may stay open without being used."""
        return self._keep

    def overflow(self) -> int:
        """As in SQLAlchemy: negative while fewer than `size()` are open."""
        return self._overflow - self._keep

    def checkedout(self) -> int:
        """Connections in use."""
        return max(0, self._overflow - self._closing - self._pool.qsize())

    def dispose(self) -> None:
        """Close what is idle. Connections in use stay counted, and are renewed at their next checkout."""
        self._invalidate_time = time.time()
        while (record := self._any_idle()) is not None:
            self._close(record)
        self._is_disposed = True
        self.logger.info("Pool disposed. %s", self.status())

    def _any_idle(self) -> ConnectionPoolEntry | None:
        with self._lock:
            record = self._idle()
            if record is not None:
                self._closing += 1
            return record

    def recreate(self) -> ResizableQueuePool:
        """What `Engine.dispose` goes on with.

        While connections are open it is this pool, so that they go on counting: SQLAlchemy's own lets the
        server see up to twice the cap. After a fork it is a new one.
        """
        if self._overflow and self._process == os.getpid():
            self.rests, self._is_disposed = self._is_disposed, False
            return self
        self.logger.info("Pool recreating")
        anew = self.__class__(
            self._creator,
            pool_size=self._keep,
            max_overflow=self._cap - self._keep,
            timeout=self._timeout,
            use_lifo=self._pool.use_lifo,
            hooks=self._hooks,
            holds_back=self._holds_back or self._process != os.getpid(),
            counters=self.counters,
            pre_ping=self._pre_ping,
            recycle=self._recycle,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            _dispatch=self.dispatch,
            dialect=self._dialect,
        )
        anew.rests = True
        return anew


class AsyncResizableQueuePool(ResizableQueuePool, AsyncAdaptedQueuePool):
    """`sqlalchemy.pool.AsyncAdaptedQueuePool`, resizable: for `create_async_engine`.

    `loop` is the event loop in which it was used last.
    """

    loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """As `ResizableQueuePool`."""
        super().__init__(*arguments, **named)
        with contextlib.suppress(RuntimeError):
            self.loop = asyncio.get_running_loop()

    def _do_get(self) -> ConnectionPoolEntry:
        loop = asyncio.get_running_loop()
        if self.loop is not loop:
            if self.loop is not None and self.loop.is_closed():
                self._forget()
            self.loop = loop
        return super()._do_get()

    def _forget(self) -> None:
        """The event loop is closed: neither its connections nor those that waited in it are of any use."""
        self._pool = self._queue_class(0, use_lifo=self._pool.use_lifo)
        self._overflow = self._closing = self._waiting = 0
        self._loops_lost += 1


def _check(pool_size: int, max_overflow: int) -> None:
    if pool_size < 1 or max_overflow < 0:
        raise ValueError(
            f"pool_size must be at least 1 and max_overflow at least 0, not {pool_size} and {max_overflow}: "
            "SQLAlchemy reads less as no limit"
        )
