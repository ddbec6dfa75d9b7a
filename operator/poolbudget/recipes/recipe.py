"""The recipe: which engine settings are right on the way from a pod to its database.

docs/recipes.md has each value with its reason and source, and tests/integration/test_poolers.py what
happens without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from poolbudget.capacity.pooler import PoolerLimits
from poolbudget.resource.endpoint import Endpoint, PoolerType, Provider
from poolbudget.resource.quantities import seconds
from poolbudget.resource.target import PoolClass

SHORTEST_RECYCLE = 60
"""Seconds: below that, new TLS handshakes and logins cost more than they help."""

_PATH_MARGIN = 50
"""Seconds before the network drops an idle connection; 350 s of AWS become 300."""

_SERVER_IDLE_MARGIN = 60

# Seconds after which a connection is not used again, by provider.
_RECYCLE = {
    Provider.SELF_MANAGED: (1800, "half an hour"),
    Provider.RDS: (
        1800,
        "half an hour; set endpoint.idleTimeout where the network drops idle connections earlier",
    ),
    Provider.AURORA: (
        1800,
        "half an hour; set endpoint.idleTimeout where the network drops idle connections earlier",
    ),
    Provider.AURORA_SERVERLESS: (
        1800,
        "half an hour; set endpoint.idleTimeout where the network drops idle connections earlier",
    ),
    Provider.CLOUD_SQL: (300, "half of the 10 minutes after which Google's network drops idle connections"),
    Provider.ALLOY_DB: (300, "half of the 10 minutes after which Google's network drops idle connections"),
    Provider.AZURE: (300, "Azure's network drops idle connections after 4 to 10 minutes"),
    Provider.NEON: (300, "Neon suspends an idle compute after 5 minutes"),
    Provider.SUPABASE: (1800, "half an hour"),
}

_CONNECTION_CHECK_VERSION = 140000


@dataclass(frozen=True, slots=True)
class Setting:
    """One engine setting, as a ConfigMap's key and value, and why it has this value."""

    key: str
    value: str
    why: str


def recipe(
    endpoint: Endpoint, pool_class: PoolClass, pooler: PoolerLimits | None, server_version: int
) -> tuple[Setting, ...]:
    """The settings for one way to a database; `server_version` is server_version_num, 0 where unknown."""
    return (
        Setting("POOL_CLASS", pool_class.value, "SQLAlchemy's pool for asyncio, or for threads"),
        *_timeout(endpoint, pool_class),
        recycle(endpoint, pooler),
        Setting("POOL_PRE_PING", "true", "a connection that died meanwhile is replaced at checkout"),
        *_statement_caches(endpoint, pooler),
        *_command_timeout(pool_class),
        *_ssl(endpoint),
        *_server_settings(endpoint, server_version),
        *_socket(endpoint),
    )


def recycle(endpoint: Endpoint, pooler: PoolerLimits | None) -> Setting:
    """POOL_RECYCLE in seconds: the shortest of what provider, network and pooler ask for, at least 60."""
    seconds_, why = _RECYCLE[endpoint.provider]
    if endpoint.pooler.type is PoolerType.RDS_PROXY:
        seconds_, why = 900, "half of the 1800 s after which RDS Proxy drops idle clients"
    elif endpoint.pooler.type is PoolerType.PG_BOUNCER and pooler is not None:
        by_pooler = pooler.server_idle_timeout - _SERVER_IDLE_MARGIN
        if pooler.server_idle_timeout and by_pooler < seconds_:
            seconds_, why = by_pooler, "a minute less than PgBouncer's server_idle_timeout"
    if endpoint.idle_timeout is not None:
        path = int(seconds(endpoint.idle_timeout)) - _PATH_MARGIN
        if path < seconds_:
            seconds_, why = path, f"the network drops idle connections after {endpoint.idle_timeout}"
    return Setting("POOL_RECYCLE", str(max(SHORTEST_RECYCLE, seconds_)), why)


def _timeout(endpoint: Endpoint, pool_class: PoolClass) -> Iterator[Setting]:
    """POOL_TIMEOUT in seconds; a NullPool never waits, and refuses the setting."""
    if pool_class is PoolClass.NULL_POOL:
        return
    if endpoint.pooler.type is PoolerType.RDS_PROXY:
        yield Setting("POOL_TIMEOUT", "15", "the proxy queues by itself: better to fail early")
    else:
        yield Setting("POOL_TIMEOUT", "30", "SQLAlchemy's default: seconds that a checkout waits")


def _statement_caches(endpoint: Endpoint, pooler: PoolerLimits | None) -> Iterator[Setting]:
    """Off where a prepared statement may be looked for on another server connection, or pins one."""
    if not endpoint.pooler.shares_connections and (pooler is None or pooler.holds_session):
        return
    if pooler is not None and pooler.keeps_prepared:
        return
    why = (
        "a prepared statement pins the client to its server connection"
        if endpoint.pooler.type is PoolerType.RDS_PROXY
        else "in transaction mode the next statement may run on another server connection"
    )
    yield Setting("STATEMENT_CACHE_SIZE", "0", f"asyncpg: {why}")
    yield Setting("PREPARED_STATEMENT_CACHE_SIZE", "0", f"SQLAlchemy's asyncpg dialect: {why}")
    yield Setting(
        "UNIQUE_STATEMENT_NAMES", "true", "asyncpg before 0.31 names statements alike in each process"
    )


def _command_timeout(pool_class: PoolClass) -> Iterator[Setting]:
    if pool_class is PoolClass.NULL_POOL:
        yield Setting("COMMAND_TIMEOUT", "5", "an invocation that is about to end must not wait for a query")


_TLS_ALWAYS = (
    Provider.RDS,
    Provider.AURORA,
    Provider.AURORA_SERVERLESS,
    Provider.AZURE,
    Provider.NEON,
    Provider.SUPABASE,
)


# Providers that run the pooler themselves.
_OWN_POOLER = (Provider.AZURE, Provider.NEON, Provider.SUPABASE)


def _ssl(endpoint: Endpoint) -> Iterator[Setting]:
    """SSL in libpq's words; nothing where only the administrator can know."""
    if endpoint.pooler.type is PoolerType.CLOUD_SQL_AUTH_PROXY:
        yield Setting("DATABASE_SSL", "disable", "the proxy beside the application encrypts")
    elif endpoint.pooler.type is PoolerType.PG_BOUNCER and endpoint.provider not in _OWN_POOLER:
        # A PgBouncer of one's own speaks no TLS with its clients unless told to (client_tls_sslmode).
        return
    elif endpoint.pooler.type is PoolerType.RDS_PROXY or endpoint.provider in _TLS_ALWAYS:
        yield Setting("DATABASE_SSL", "require", "the provider asks for TLS by default")


def _server_settings(endpoint: Endpoint, server_version: int) -> Iterator[Setting]:
    """Settings of the session. No pooler passes them on as startup parameters: there they are left out."""
    if endpoint.pooler.type not in (PoolerType.NONE, PoolerType.CLOUD_SQL_AUTH_PROXY):
        return
    yield Setting("DATABASE_JIT", "off", "compiling costs short queries more than it saves")
    if server_version >= _CONNECTION_CHECK_VERSION:
        yield Setting(
            "CLIENT_CONNECTION_CHECK_INTERVAL",
            "500ms",
            "the server soon ends what a killed process was running (PostgreSQL 14 and later)",
        )


def _socket(endpoint: Endpoint) -> Iterator[Setting]:
    if endpoint.socket_directory is not None:
        yield Setting("DATABASE_HOST", endpoint.socket_directory, "the Unix socket's folder, given as host")
