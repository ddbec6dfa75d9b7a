"""Asks PgBouncer's admin console for its limits and its clients, over one connection.

The console speaks the simple query protocol only (pgbouncer.org, usage), so psycopg asks and not
asyncpg, which has no results for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg.rows import dict_row
from sqlalchemy.engine import make_url

from poolbudget.capacity.consumers import PROBE, backends
from poolbudget.capacity.failures import ProbeFailure, redacted
from poolbudget.capacity.pooler import MOST_CLIENTS, AdminFigures
from poolbudget.capacity.probe import parse_url
from poolbudget.resource.conditions import Reason

_TIMEOUT = 5


def _only(modes: Iterable[str]) -> str:
    """The mode of all pools; "" where there are none yet, or of different modes.

    What SHOW CONFIG says is only the default, and databases and users have modes of their own.
    """
    found = set(modes)
    return found.pop() if len(found) == 1 else ""


class AdminConsole:
    """PgBouncer's database `pgbouncer`, asked by an admin or stats user. The connection stays open."""

    def __init__(self, url: str) -> None:
        """Raises ProbeFailure for a text that is not a PostgreSQL URL."""
        self._url = parse_url(url)[0]
        query = make_url(url.strip()).query
        self._tls = {name: str(query[name]) for name in ("sslmode", "sslrootcert") if name in query}
        self._connection: psycopg.AsyncConnection[dict[str, Any]] | None = None

    async def figures(self) -> AdminFigures:
        """What the pooler says now. Raises ProbeFailure."""
        try:
            async with asyncio.timeout(3 * _TIMEOUT):
                return await self._ask(await self._connected())
        except Exception as error:
            await self.close()
            said = redacted(str(error).strip() or type(error).__name__, self._url.password)[:300]
            raise ProbeFailure(
                Reason.PROBE_FAILED,
                f"PgBouncer's admin console at {self._url.host}:{self._url.port or 6432} gave no figures: "
                f"the URL must name the database pgbouncer and a user of admin_users or stats_users ({said})",
            ) from None

    async def close(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_TIMEOUT):
                    await connection.close()

    async def _connected(self) -> psycopg.AsyncConnection[dict[str, Any]]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                host=self._url.host,
                port=self._url.port or 6432,
                dbname=self._url.database or "pgbouncer",
                user=self._url.username,
                password=self._url.password,
                application_name=PROBE,
                connect_timeout=_TIMEOUT,
                autocommit=True,
                prepare_threshold=None,
                row_factory=dict_row,
                **self._tls,  # type: ignore[arg-type]
            )
        return self._connection

    async def _ask(self, connection: psycopg.AsyncConnection[dict[str, Any]]) -> AdminFigures:
        async def rows(command: str) -> list[dict[str, Any]]:
            cursor = await connection.execute(command)
            found: list[dict[str, Any]] = await cursor.fetchall()
            return found

        config = {row["key"]: row["value"] for row in await rows("SHOW CONFIG")}
        pools = [row for row in await rows("SHOW POOLS") if row["database"] != "pgbouncer"]
        clients = Counter(
            (str(row["user"]), str(row["database"]), str(row.get("application_name") or ""), str(row["addr"]))
            for row in await rows("SHOW CLIENTS")
            if row["database"] != "pgbouncer"
        )
        version = str((await rows("SHOW VERSION"))[0]["version"])
        return AdminFigures(
            version=(re.findall(r"[0-9]+(?:\.[0-9]+)+", version) or ["0.0"])[0],
            max_client_conn=int(config["max_client_conn"]),
            default_pool_size=int(config["default_pool_size"]),
            max_db_connections=int(config.get("max_db_connections", 0)),
            server_idle_timeout=int(float(config["server_idle_timeout"])),
            max_prepared_statements=int(config.get("max_prepared_statements", 0)),
            pool_mode=_only(str(row.get("pool_mode") or "") for row in pools),
            # A client's state is not what its transaction does: whether it is in use is not known.
            clients=tuple(
                backends((*who, count, 0, 0, count)) for who, count in clients.most_common(MOST_CLIENTS)
            ),
            waiting=sum(int(row["cl_waiting"]) for row in pools),
            servers=sum(
                int(row[state]) for row in pools for state in ("sv_active", "sv_idle", "sv_used", "sv_tested")
            ),
        )
