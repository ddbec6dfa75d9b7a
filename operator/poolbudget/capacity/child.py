"""Probes in processes of their own: whatever a server answers, it cannot stop or fill the operator.

A server that asks for 2^31 rounds of SCRAM would stop the operator's event loop for hours, one that
never ends its answer would fill its memory (tests/integration/test_hostile_servers.py). A child has limits,
and is ended when it does not answer. Children are forked from one process that has imported everything,
so that each costs a few MiB of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import resource
import signal
import socket
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from poolbudget.capacity.failures import ProbeFailure
from poolbudget.capacity.pooler import MOST_CLIENTS, AdminFigures
from poolbudget.capacity.probe import DatabaseProbe, Report
from poolbudget.capacity.queries import MOST_ROWS
from poolbudget.capacity.sightings import Tagged, tagged
from poolbudget.resource.conditions import Reason

if TYPE_CHECKING:
    from poolbudget.capacity.admin_console import AdminConsole

_PATIENCE = 45.0
"""Seconds after which a child that has not answered is ended; its own timeouts are well below."""

_MOST_MEMORY = 512 * 2**20
_MOST_CPU = 30

_context = multiprocessing.get_context("forkserver")
# What children would import each by themselves is imported once, before they are forked; the operator
# itself does not need it.
_context.set_forkserver_preload(
    [
        "poolbudget.capacity.child",
        "poolbudget.capacity.admin_console",
        "asyncpg",
        "sqlalchemy.dialects.postgresql.asyncpg",
    ]
)


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask: URLs with passwords in them, and a file whose content replaces the database's.

    In place of the console's URL may stand why it is not to be had.

    With `tags_only` only who says what of himself, of the database or else, `by_console`, of the pooler.
    """

    url: str
    endpoint_host: str
    role: str | None = None
    admin_url: str | ProbeFailure | None = None
    password_file: str | None = None
    tags_only: bool = field(default=False, compare=False)
    by_console: bool = field(default=False, compare=False)

    def __repr__(self) -> str:
        return f"Question(role={self.role!r})"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one look gave; of each pair one is None (both of the second where it is not asked).

    `other_host` is where the URL leads, if that is not where the targets connect to. `tagged` are the
    connections of pods that say something of themselves, None where that was not to be seen.
    """

    report: Report | None = None
    failure: ProbeFailure | None = None
    admin: AdminFigures | None = None
    admin_failure: ProbeFailure | None = None
    other_host: str | None = None
    tagged: tuple[Tagged, ...] | None = None


class ChildProbe:
    """A child that asks one database, and PgBouncer's console beside it, as often as it is told to."""

    def __init__(self) -> None:
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    async def look(self, question: Question) -> Answer:
        """One look; a child that does not come back is ended, and the next look begins with a new one."""
        try:
            connection = await self._started()
        except OSError as error:
            await self.close()
            return _failed(
                f"no probe could be started ({error}): the operator needs a /tmp that it can write to"
            )
        try:
            async with asyncio.timeout(_PATIENCE):
                connection.send(question)
                await _readable(connection)
                answer: Answer = connection.recv()
                return answer
        except (TimeoutError, EOFError, OSError):
            await self.close()
            return _failed(
                "the server kept the probe busy until it was ended: it asks for too much work, or never "
                "ends its answer"
            )
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the child, and with it its connections."""
        process, self._process = self._process, None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        # One that could not be started has no process.
        if process is not None and process.pid is not None:
            process.kill()
            await asyncio.to_thread(process.join)

    async def _started(self) -> Connection:
        if self._connection is None:
            ours, theirs = _context.Pipe()
            process = _context.Process(target=_serve, args=(theirs,), daemon=True, name="probe")
            self._process, self._connection = process, ours
            await asyncio.to_thread(process.start)
            theirs.close()
        return self._connection


def _failed(message: str) -> Answer:
    return Answer(failure=ProbeFailure(Reason.PROBE_FAILED, message))


async def _readable(connection: Connection) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connection.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection.fileno())


def _serve(connection: Connection) -> None:
    """The child: answer questions until the other end is gone."""
    # The operator decides when a probe ends, also after Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    probes = Probes()
    with contextlib.suppress(EOFError, OSError), asyncio.Runner() as runner:
        while True:
            question = connection.recv()
            used = resource.getrusage(resource.RUSAGE_SELF)
            limit = int(used.ru_utime + used.ru_stime) + _MOST_CPU
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
            connection.send(runner.run(probes.look(question)))


class Probes:
    """A database and a console; the connections stay open while the question is the same."""

    def __init__(self) -> None:
        self._question: Question | None = None
        self._database: DatabaseProbe | None = None
        self._console: AdminConsole | None = None

    async def look(self, question: Question) -> Answer:
        """Ask both at the same time."""
        if question != self._question:
            await self.close()
            self._question = question
        if question.tags_only:
            return await self._ask_tags(question)
        (report, failure), (admin, admin_failure) = await asyncio.gather(
            self._ask_database(question), self._ask_console(question)
        )
        other_host = None
        if self._database is not None and not same_host(self._database.host, question.endpoint_host):
            other_host = self._database.host
        return Answer(report, failure, admin, admin_failure, other_host, _tagged(question, report, admin))

    async def _ask_tags(self, question: Question) -> Answer:
        if question.by_console:
            admin, failure = await self._ask_console(question)
            return Answer(failure=failure, tagged=_tagged(question, None, admin))
        try:
            return Answer(tagged=await self._connected(question).tagged())
        except ProbeFailure as failure:
            return Answer(failure=failure)

    def _connected(self, question: Question) -> DatabaseProbe:
        if self._database is None:
            file = question.password_file
            password = None if file is None else lambda: read_password(Path(file))
            self._database = DatabaseProbe(question.url, question.role, password)
        return self._database

    async def close(self) -> None:
        """Close before opening: never more than one connection."""
        database, self._database = self._database, None
        console, self._console = self._console, None
        if database is not None:
            await database.close()
        if console is not None:
            await console.close()

    async def _ask_database(self, question: Question) -> tuple[Report | None, ProbeFailure | None]:
        try:
            return await self._connected(question).look(), None
        except ProbeFailure as failure:
            return None, failure

    async def _ask_console(self, question: Question) -> tuple[AdminFigures | None, ProbeFailure | None]:
        if question.admin_url is None:
            return None, None
        if isinstance(question.admin_url, ProbeFailure):
            return None, question.admin_url
        try:
            if self._console is None:
                from poolbudget.capacity.admin_console import AdminConsole  # noqa: PLC0415 - see preload

                self._console = AdminConsole(question.admin_url)
            return await self._console.figures(), None
        except ProbeFailure as failure:
            return None, failure


def _tagged(
    question: Question, report: Report | None, admin: AdminFigures | None
) -> tuple[Tagged, ...] | None:
    """From whoever shows each pod's connections as they are."""
    if question.by_console:
        is_cut_off = admin is not None and len(admin.clients) >= MOST_CLIENTS
        return None if admin is None or is_cut_off else tagged(admin.clients)
    if report is None or len(report.backends) >= MOST_ROWS:
        return None  # what was cut off is not gone
    return tagged(report.backends)


def same_host(one: str, other: str) -> bool:
    """Whether two names are one host: alike, one the beginning of the other, or at the same address.

    db.shop is db.shop.svc.cluster.local within a cluster, and an alias leads to where its target does.
    """
    short, long = sorted((one.lower().rstrip("."), other.lower().rstrip(".")), key=len)
    if long == short or long.startswith(f"{short}."):
        return True
    return not _addresses(one).isdisjoint(_addresses(other))


def _addresses(host: str) -> set[str]:
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


def read_password(file: Path) -> str:
    """A password from a file. Raises ProbeFailure."""
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        raise ProbeFailure(
            Reason.PASSWORD_NOT_FOUND,
            f"the file {file.name} cannot be read in the namespace's folder below --password-folder: mount "
            "it into the operator's pod",
        ) from None
