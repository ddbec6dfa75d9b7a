"""Asks a PostgreSQL server what it allows and who is connected, over one connection."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from poolbudget.capacity import queries
from poolbudget.capacity.consumers import MOST_CHARACTERS, PROBE, Backends, backends
from poolbudget.capacity.failures import ProbeFailure, explain
from poolbudget.capacity.limits import ServerLimits
from poolbudget.capacity.sightings import Tagged, tagged
from poolbudget.resource.conditions import Reason
from poolbudget.resource.model import MAX_CONNECTIONS

_TIMEOUT = 5.0
"""Seconds for connecting, and for each query."""

# libpq's parameters that change nothing for a probe.
_IGNORED = ("application_name", "connect_timeout", "target_session_attrs", "channel_binding", "options")

_DRIVER = "postgresql+asyncpg"
_SCHEMES = ("postgresql", "postgres", _DRIVER)
_HOST = re.compile(r"[A-Za-z0-9._:%-]+")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True, slots=True)
class Report:
    """What one look at a server gave: its limits, who is connected, and to which database we are."""

    limits: ServerLimits
    backends: tuple[Backends, ...]
    database: str


class DatabaseProbe:
    """One database to ask, over one connection that stays open between two looks.

    The connection is read-only and never more than this one, so that the probe itself takes no part
    of the budget that it measures but one slot of the administrators' reserve; and it still answers
    when the server is full.
    """

    def __init__(self, url: str, role: str | None = None, password: Callable[[], str] | None = None) -> None:
        """`role` is whose connection limit counts; `password` is asked anew at each connect.

        Raises ProbeFailure for a text that is not a PostgreSQL URL.
        """
        self._url, arguments = parse_url(url)
        self._role = role
        try:
            self._engine: AsyncEngine = _engine(self._url, arguments)
        except (ArgumentError, ValueError, TypeError):
            raise _invalid("its parameters are not understood") from None
        self._password: str | None = None
        if password is not None:
            self._ask_password(password)

    @property
    def host(self) -> str:
        """The host of the URL."""
        return self._url.host or ""

    async def look(self) -> Report:
        """What the server allows now, and who is there. Raises ProbeFailure."""
        try:
            async with asyncio.timeout(3 * _TIMEOUT), self._engine.connect() as connection:
                return await self._report(connection)
        except ProbeFailure:
            raise
        except Exception as error:
            raise explain(error, self._url.set(password=self._password or self._url.password)) from None

    async def tagged(self) -> tuple[Tagged, ...]:
        """Which pods say what of themselves. Raises ProbeFailure."""
        try:
            async with asyncio.timeout(_TIMEOUT), self._engine.connect() as connection:
                rows = (await connection.execute(queries.TAGGED)).all()
                if len(rows) >= queries.MOST_TAGS:
                    raise ProbeFailure(
                        Reason.PROBE_FAILED, "more connections with tags than can be looked at"
                    )
                return tagged(backends(item) for item in rows)
        except ProbeFailure:
            raise
        except Exception as error:
            raise explain(error, self._url.set(password=self._password or self._url.password)) from None

    async def _report(self, connection: AsyncConnection) -> Report:
        row = (await connection.execute(queries.LIMITS)).one()
        *numbers, recovery, all_, database = row
        maximum, superuser, reserved, provider, version, idle, by_database, pid = map(_number, numbers)
        by_role = None
        if self._role is not None:
            found = (await connection.execute(queries.ROLE_LIMIT, {"role": self._role})).one_or_none()
            if found is None:
                raise ProbeFailure(
                    Reason.ROLE_NOT_FOUND,
                    f"the server has no role {self._role}: correct capacity.probe.applicationRole",
                )
            by_role = _number(found[0])
        rows = (await connection.execute(queries.BACKENDS)).all()[: queries.MOST_ROWS]
        limits = ServerLimits(
            maximum,
            superuser,
            reserved,
            provider,
            role_limit=_limit(by_role),
            database_limit=_limit(by_database),
            version=version,
            in_recovery=recovery is True,
            idle_session_timeout=idle,
            has_pooler=pid != await _announced_pid(connection),
            sees_all=all_ is True,
        )
        for figure in (limits.max_connections, limits.server_reserved):
            if not 0 <= figure <= MAX_CONNECTIONS:
                raise ProbeFailure(Reason.PROBE_FAILED, "the server's figures are beyond what any server has")
        return Report(limits, tuple(backends(item) for item in rows), str(database)[:MOST_CHARACTERS])

    def _ask_password(self, password: Callable[[], str]) -> None:
        @event.listens_for(self._engine.sync_engine, "do_connect")
        def provide(_: Any, __: Any, ___: Any, arguments: dict[str, Any]) -> None:
            # Kept to be struck out of whatever the server says.
            self._password = arguments["password"] = password()

    async def close(self) -> None:
        """Give the connection back; a server that does not answer is not waited for."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_TIMEOUT):
                await self._engine.dispose()


def _number(value: Any) -> int:
    """A whole number, whatever the other side calls it. Raises ValueError or TypeError."""
    return int(value)


def _limit(value: int | None) -> int | None:
    """A connection limit; one that no server can reach is none."""
    return None if value is None or value < 0 or value > MAX_CONNECTIONS else value


async def _announced_pid(connection: AsyncConnection) -> int:
    """The process that the other side named when we connected: a pooler makes one up (BackendKeyData)."""
    raw = await connection.get_raw_connection()
    pid: int = raw.driver_connection.get_server_pid()  # type: ignore[union-attr]
    return pid


def _engine(url: URL, arguments: dict[str, Any]) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        pool_timeout=_TIMEOUT,
        # As a property of each transaction: poolers refuse it as a startup parameter.
        execution_options={"postgresql_readonly": True},
        connect_args={
            "timeout": _TIMEOUT,
            "command_timeout": _TIMEOUT,
            "server_settings": {"application_name": PROBE},
            # Works behind a pooler in transaction mode, too.
            "statement_cache_size": 0,
            **arguments,
        },
    )


def parse_url(text_of_url: str) -> tuple[URL, dict[str, Any]]:
    """A URL for SQLAlchemy's asyncpg dialect, and what asyncpg wants beside it.

    Takes the URLs that people have: `postgres://` and `postgresql://`, with libpq's `sslmode`.
    Raises ProbeFailure, without repeating the URL.
    """
    url = _address(text_of_url)
    query = dict(url.query)
    mode = str(query.pop("sslmode", "prefer"))
    if mode not in _SSL_MODES:
        raise _invalid(f"sslmode is one of {', '.join(_SSL_MODES)}")
    root_certificate = query.pop("sslrootcert", None)
    for unused in _IGNORED:
        query.pop(unused, None)
    if query:
        raise _invalid(f"the parameter {min(query)!r} is not understood")
    arguments = {"ssl": _ssl(mode, None if root_certificate is None else str(root_certificate))}
    return url.set(drivername=_DRIVER, query=query), arguments


def _address(text_of_url: str) -> URL:
    """A URL with a known scheme and a plausible host. Raises ProbeFailure."""
    if text_of_url.count("@") > 1:
        # What is password and what is host cannot be told apart, and a guess would be told as the host.
        raise _invalid("it has more than one @: in a password write %40 for @, %2F for /, %3F for ?")
    try:
        url = make_url(text_of_url.strip())
    except (ArgumentError, ValueError):
        raise _invalid("it is not a URL") from None
    if url.drivername not in _SCHEMES:
        raise _invalid(f"its scheme is {url.drivername!r}")
    if not url.host:
        raise _invalid("it names no host")
    if not _HOST.fullmatch(url.host):
        # The rest of a password would be taken for a host, and be told as such.
        raise _invalid("its host is no name or address; in a password write %40 for @ and %2F for /")
    return url


def _ssl(mode: str, root_certificate: str | None) -> ssl.SSLContext | str:
    """Asyncpg takes libpq's words; a verified connection uses the system's certificates."""
    if mode not in ("verify-ca", "verify-full"):
        return mode
    try:
        context = ssl.create_default_context(cafile=root_certificate)
    except OSError:
        raise _invalid(f"sslrootcert {root_certificate} cannot be read by the operator") from None
    context.check_hostname = mode == "verify-full"
    return context


def _invalid(why: str) -> ProbeFailure:
    return ProbeFailure(
        Reason.URL_INVALID,
        f"the URL in the Secret cannot be used: {why}; "
        "expected postgresql://user:password@host:5432/database",
    )
