"""One engine's pool follows its pod's share, and says in the database what it has applied.

A file that the kubelet keeps up to date holds the share. A new one is applied at once; when the open
connections fit, each connection that comes back and stays carries the new tag in its `application_name`
(poolbudget.tag). New connections carry the last tag that was said.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_only, greenlet_spawn

from poolbudget.client.pool import AsyncResizableQueuePool, PoolHooks, ResizableQueuePool
from poolbudget.client.process import can_tell_processes, living_processes, this_process
from poolbudget.client.session import application_name, run
from poolbudget.client.settings import read_text
from poolbudget.client.share import Share, ShareError, parse_share
from poolbudget.client.signals import is_ending
from poolbudget.tag import Tag, labelled, pod_part, read_tag, without_tag

logger = logging.getLogger(__name__)

MOST_WAIT_FOR_FORMER = 10.0
"""Seconds that a new process waits for the connections of its pod's former one to end, at most."""

_LOOK_FOR_FORMER = 0.1
_TEND = 2.0
"""Seconds between two looks whether a connection is open, none is too much, and all is said."""


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

    def __init__(
        self,
        source: Source,
        pod: str,
        budget: str,
        index: int,
        start: Share,
        most_wait: float = MOST_WAIT_FOR_FORMER,
    ) -> None:
        """`index` tells this process's pools apart; `start` is what the pool has at first.

        `pod` and `budget` are what stands for them in a tag. `most_wait` is for how many seconds to wait for
        the end of a former process's connections.
        """
        self._most_wait = most_wait
        self._source = source
        self._pod = pod
        self._budget = budget
        self._index = index
        self._name = ""
        self._text = ""
        self._heard = ""
        self._complaint = ""
        self._looked = 0.0
        self._applied = start
        self._worker: threading.Thread | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        """Nothing is open yet, in this process, and nothing said: it may have to wait for its former one."""
        self._lock = threading.Lock()
        self._text, self._heard, self._worker = "", "", None
        self._said = replace(self._tag(self._applied), revision=0)
        self._to_say: Tag | None = None

    def read_first(self) -> None:
        """Take the share that is there already, before anything is open."""
        share = self._read()
        if share is not None:
            self._applied = share
            self.begin_anew()

    @property
    def index(self) -> int:
        """Which of this process's pools it is."""
        return self._index

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
        if not can_tell_processes() or self._most_wait <= 0:
            return
        deadline = time.monotonic() + self._most_wait
        try:
            # Whatever listens to new connections may have begun a transaction.
            record.dbapi_connection.rollback()  # type: ignore[union-attr]
            while self._former_are_left(record):
                if time.monotonic() > deadline:
                    logger.warning("Connections of this pod's former process are still open: going on")
                    return
                _sleep(pool)
        except Exception as error:
            # Behind some poolers nobody can look; that must not keep the application from working.
            logger.warning("Whether a former process's connections are left is not known: %r", error)

    def _former_are_left(self, record: ConnectionPoolEntry) -> bool:
        query = (
            f"SELECT application_name FROM pg_stat_activity WHERE application_name LIKE '%pb:{self._pod}.%'"  # noqa: S608
        )
        names = [row[0] for row in run(record.dbapi_connection, query, rows=True)]
        tags = [tag for tag in map(read_tag, names) if tag is not None]
        mine = {tag.process for tag in tags if (tag.pod, tag.budget) == (self._pod, self._budget)}
        return bool(mine - living_processes())

    def fits(self, pool: ResizableQueuePool) -> None:
        """The open connections fit the share that is applied: it may be said."""
        share = self._applied
        if share.revision > self._said.revision and pool.cap <= share.cap:
            self._to_say = self._tag(share)

    def has_to_speak(self, record: ConnectionPoolEntry) -> bool:
        """Whether there is a share to say, or a connection does not say what was said last."""
        if self._to_say is not None:
            return True
        name = application_name(record.dbapi_connection)
        return name is not None and name != self._heard

    def returned(self, pool: ResizableQueuePool, record: ConnectionPoolEntry) -> None:
        """Say what has to be said on a connection that the application does not use.

        Each connection that stays is to say the newest: one that does may be closed at any time, RESET ALL
        takes it back to what it said when it was made, and an application may set a name of its own.
        """
        pending = self._to_say
        tag = pending or self._said
        name = application_name(record.dbapi_connection)
        if name is not None and read_tag(name) == tag:
            self._hear(name, tag)
        else:
            own = self._name if name is None else without_tag(name)
            try:
                label = labelled(own, tag).replace("'", "''")
                run(record.dbapi_connection, f"SET application_name = '{label}'")
            except BaseException as error:
                record.invalidate(error)
                if not isinstance(error, Exception):
                    raise
                return
        if pending is not None:
            with self._lock:
                if pending.revision > self._said.revision:
                    self._said, self._heard = pending, ""
                if self._to_say is pending:
                    self._to_say = None

    def _hear(self, name: str, tag: Tag) -> None:
        """A name that says what was said last; not one that another thread has outdated meanwhile."""
        with self._lock:
            if tag is self._said:
                self._heard = name

    # What the watcher tells, in its own thread.

    def look(self, pool: ResizableQueuePool) -> None:
        """Read the file, and have a newer share applied; see that one connection is open at least.

        A process that is to end obeys no larger one: what it has is enough for what it has to finish.
        """
        share = self._read()
        if share is not None and share.revision > self._applied.revision:
            if not is_ending() or share.cap <= self._applied.cap:
                self._obey(pool, share)
        elif time.monotonic() - self._looked > _TEND and self._has_to_tend(pool):
            self._tend(pool)

    def _has_to_tend(self, pool: ResizableQueuePool) -> bool:
        """Whether something has not come about: no connection is open, too many are, or not all is said."""
        if pool.rests or is_ending():
            return False
        return not pool.existing or pool.is_over or self._applied.revision > self._said.revision

    def _obey(self, pool: ResizableQueuePool, share: Share) -> None:
        # At once for whoever opens a connection meanwhile, then for what is open already.
        pool.set_sizes(share.pool_size, share.max_overflow)
        self._applied = share
        self._tend(pool)
        logger.info("%s: %d + %d connections", self._source.file, share.pool_size, share.max_overflow)

    def _tend(self, pool: ResizableQueuePool) -> None:
        """Close what is too much, and say what was applied; what fails is done again at a later look."""
        self._looked = time.monotonic()

        def tend() -> None:
            pool.settle()
            if not pool.rests:
                pool.announce()

        self._do(pool, tend)

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
        """Do something with a pool where it may be used: in a thread of its own, or in its event loop.

        Not in the watcher's thread: one server that does not answer must not keep other pools from shrinking.
        """
        if not isinstance(pool, AsyncResizableQueuePool):
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(
                    target=self._try, args=(action,), name="poolbudget-pool", daemon=True
                )
                self._worker.start()
        elif pool.loop is not None and not pool.loop.is_closed():
            with contextlib.suppress(RuntimeError):  # closed meanwhile
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
