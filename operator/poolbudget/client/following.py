"""One engine's pool follows its pod's share, and says in the database what it has applied.

A file that the kubelet keeps up to date holds the share. A new one is applied at once; when the open
connections fit, the next connection that comes back carries the new tag in its `application_name`
(poolbudget.tag). New connections carry the last tag that was said.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_only, greenlet_spawn

from poolbudget.client.pool import AsyncResizableQueuePool, PoolHooks, ResizableQueuePool
from poolbudget.client.process import living_processes, this_process
from poolbudget.client.session import run
from poolbudget.client.settings import read_text
from poolbudget.client.share import Share, ShareError, parse_share
from poolbudget.client.signals import is_ending
from poolbudget.tag import Tag, budget_part, labelled, pod_part, read_tag

logger = logging.getLogger(__name__)

MOST_WAIT_FOR_FORMER = 10.0
"""Seconds that a new process waits for the connections of its pod's former one to end, at most."""

_LOOK_FOR_FORMER = 0.1
_KEEP_OPEN = 2.0
"""Seconds between two looks whether any connection is open."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a pod's share stands, and what tells the pod from others.

    `file` is the share's, `uid_file` the one with the pod's UID.
    """

    file: Path
    uid_file: Path

    def pod(self) -> str | None:
        """What stands for the pod in a tag; None while there is no such file."""
        text = read_text(self.uid_file)
        try:
            return None if text is None else pod_part(text)
        except ValueError as error:
            logger.warning("%s: %s", self.uid_file, error)
            return None


class Following(PoolHooks):
    """What the pool of one engine has applied, and what it still has to say."""

    def __init__(self, source: Source, pod: str, budget: str, index: int, start: Share) -> None:
        """`index` tells this process's pools apart; `start` is what the pool has at first."""
        self._source = source
        self._pod = pod
        self._budget = budget_part(budget)
        self._index = index
        self._name = ""
        self._text = ""
        self._complaint = ""
        self._looked = 0.0
        self._applied = start
        self.begin_anew()

    def begin_anew(self) -> None:
        """Nothing is open yet, in this process: what is applied counts as said with the first connection."""
        self._lock = threading.Lock()
        self._said = self._tag(self._applied)
        self._to_say: Tag | None = None

    def read_first(self) -> None:
        """Take the share that is there already, before anything is open."""
        share = self._read()
        if share is not None:
            self._applied = share
            self.begin_anew()

    @property
    def folder(self) -> Path:
        """The folder in which the share's file changes."""
        return self._source.file.parent

    @property
    def applied(self) -> Share:
        """The share that the pool obeys."""
        return self._applied

    @property
    def acknowledged(self) -> int:
        """The revision that was said in the database last."""
        return self._said.revision

    def label(self, name: str) -> str:
        """`application_name` for new connections of an application that calls itself `name`."""
        self._name = name
        return labelled(name, self._said)

    # What the pool tells.

    def opened_first(self, pool: ResizableQueuePool, record: ConnectionPoolEntry) -> None:
        """Wait until no connection of this pod's former process is left, for a while at most."""
        deadline = time.monotonic() + MOST_WAIT_FOR_FORMER
        try:
            while self._former_are_left(record):
                if time.monotonic() > deadline:
                    logger.warning("Connections of this pod's former process are still open: going on")
                    return
                _sleep(pool)
        except Exception as error:
            # Behind some poolers nobody can look; that must not keep the application from working.
            logger.debug("Looking for a former process's connections failed: %r", error)

    def _former_are_left(self, record: ConnectionPoolEntry) -> bool:
        query = (
            f"SELECT application_name FROM pg_stat_activity WHERE application_name LIKE '%pb:{self._pod}.%'"  # noqa: S608
        )
        names = [row[0] for row in run(record.dbapi_connection, query, rows=True)]
        tags = [tag for tag in map(read_tag, names) if tag is not None and tag.pod == self._pod]
        return bool({tag.process for tag in tags} - living_processes())

    def fits(self, pool: ResizableQueuePool) -> None:
        """The open connections fit the share that is applied: it may be said."""
        if self._applied.revision > self._said.revision and pool.cap <= self._applied.cap:
            self._to_say = self._tag(self._applied)

    def returned(self, pool: ResizableQueuePool, record: ConnectionPoolEntry) -> None:
        """Say what has to be said on a connection that the application does not use."""
        tag = self._to_say
        if tag is None:
            return
        try:
            name = labelled(self._name, tag).replace("'", "''")
            run(record.dbapi_connection, f"SET application_name = '{name}'")
        except BaseException as error:
            record.invalidate(error)
            if not isinstance(error, Exception):
                raise
            return
        with self._lock:
            if tag.revision > self._said.revision:
                self._said = tag
            if self._to_say is tag:
                self._to_say = None

    # What the watcher tells, in its own thread.

    def look(self, pool: ResizableQueuePool) -> None:
        """Read the file, and have a newer share applied; see that one connection is open at least.

        A process that is to end obeys no larger one: what it has is enough for what it has to finish.
        """
        share = self._read()
        if share is not None and share.revision > self._applied.revision:
            if not is_ending() or share.cap <= self._applied.cap:
                self._obey(pool, share)
        elif not pool.rests and not is_ending() and time.monotonic() - self._looked > _KEEP_OPEN:
            self._looked = time.monotonic()
            if not pool.existing or self._to_say is not None:
                self._do(pool, pool.announce)

    def _obey(self, pool: ResizableQueuePool, share: Share) -> None:
        self._applied = share
        logger.info("%s: %d + %d connections", self._source.file, share.pool_size, share.max_overflow)
        # At once for whoever opens a connection meanwhile, then for what is open already.
        pool.set_sizes(share.pool_size, share.max_overflow)

        def apply() -> None:
            pool.settle()
            if not pool.rests:
                pool.announce()

        self._do(pool, apply)

    def _read(self) -> Share | None:
        text = read_text(self._source.file)
        if text is None or text == self._text:
            return None
        self._text = text
        try:
            share = parse_share(text)
        except ShareError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                logger.warning("%s is kept as it was: %s", self._source.file, error)
            return None
        self._complaint = ""
        return share

    def _do(self, pool: ResizableQueuePool, action: Callable[[], None]) -> None:
        """Do something with a pool where it may be used: here, or in its event loop."""
        if not isinstance(pool, AsyncResizableQueuePool):
            self._try(action)
        elif pool.loop is not None and not pool.loop.is_closed():
            pool.loop.call_soon_threadsafe(_spawn, lambda: self._try(action))

    def _try(self, action: Callable[[], None]) -> None:
        """What fails is done again at a later look: the database may be away."""
        try:
            action()
        except Exception as error:
            logger.debug("Following %s failed for now: %s", self._source.file, type(error).__name__)

    def _tag(self, share: Share) -> Tag:
        return Tag(self._pod, this_process(), self._budget, self._index, share.revision, share.cap)


_running: set[asyncio.Task[None]] = set()


def _spawn(action: Callable[[], None]) -> None:
    """Run something where SQLAlchemy may await. To be called in the event loop."""
    task = asyncio.ensure_future(greenlet_spawn(action))
    _running.add(task)
    task.add_done_callback(_running.discard)


def _sleep(pool: ResizableQueuePool) -> None:
    if isinstance(pool, AsyncResizableQueuePool):
        await_only(asyncio.sleep(_LOOK_FOR_FORMER))
    else:
        time.sleep(_LOOK_FOR_FORMER)
