"""Counts a role's backends all the time, from the outside."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

import asyncpg

from cluster.postgres import Postgres
from cluster.processes import Workspace

EVERY = 0.02
"""Seconds between two counts."""


class BackendCounter:
    """A thread that counts while the block runs, as the superuser on a slot that is kept for those."""

    def __init__(self, postgres: Postgres, role: str) -> None:
        self._url = postgres.url()
        self._role = role
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._count()), daemon=True)
        self.counts: list[int] = []

    @property
    def now(self) -> int:
        """The last count."""
        return self.counts[-1] if self.counts else 0

    def __enter__(self) -> BackendCounter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(timeout=10)

    async def _count(self) -> None:
        """Also across restarts of the server, which a test may want."""
        while not self._ending.is_set():
            try:
                connection = await asyncpg.connect(self._url)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(EVERY)
                continue
            try:
                while not self._ending.is_set():
                    query = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"
                    self.counts.append(await connection.fetchval(query, self._role))
                    await asyncio.sleep(EVERY)
            except Exception:
                # A connection that is cut ends in errors of many kinds.
                connection.terminate()
            else:
                await connection.close()


def connections_refused(workspace: Workspace, postgres: Postgres) -> list[str]:
    """What the server's log says of connections that it refused for want of a slot (SQLSTATE 53300)."""
    log = workspace.log(postgres.name).read_text(errors="replace")
    return [line for line in log.splitlines() if "connection slots" in line or "too many c" in line]
