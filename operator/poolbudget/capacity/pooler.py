"""What a pooler in front of the database allows: its client side, and its server side."""

from __future__ import annotations

from dataclasses import dataclass, replace

from poolbudget.capacity.consumers import Backends
from poolbudget.capacity.tables import table
from poolbudget.resource.endpoint import Endpoint, Pooler, PoolerMode, PoolerType, Provider
from poolbudget.resource.model import MAX_CONNECTIONS
from poolbudget.resource.quantities import seconds

# PgBouncer's defaults (pgbouncer.org, configuration).
_MAX_CLIENT_CONN = 100
_DEFAULT_POOL_SIZE = 20
_SERVER_IDLE_TIMEOUT = 600
# Prepared statements work in transaction mode from 1.21 on where asked for, from 1.24 on by default.
_PREPARED_BY_DEFAULT = (1, 24)
_PREPARED_AT_ALL = (1, 21)


MOST_CLIENTS = 2000
"""Groups of clients that are told apart; more are cut off."""


@dataclass(frozen=True, slots=True)
class AdminFigures:
    """What PgBouncer's admin console says (SHOW VERSION, SHOW CONFIG, SHOW POOLS, SHOW CLIENTS).

    `pool_mode` is that of all pools, "" where it is not one. Counts are of the one pooler that answered,
    and `clients` those that are connected to it.
    """

    version: str
    max_client_conn: int
    default_pool_size: int
    max_db_connections: int
    server_idle_timeout: int
    max_prepared_statements: int
    pool_mode: str
    clients: tuple[Backends, ...] = ()
    waiting: int = 0
    servers: int = 0

    @property
    def limits(self) -> tuple[int, ...]:
        """What may be more or less than before; a limit of 0 is none."""
        return (
            self.max_client_conn,
            self.default_pool_size,
            self.max_db_connections or MAX_CONNECTIONS,
        )

    def lower_of(self, other: AdminFigures) -> AdminFigures:
        """These figures, no limit above the other's."""
        limits = [min(pair) for pair in zip(self.limits, other.limits, strict=True)]
        return replace(
            self,
            max_client_conn=limits[0],
            default_pool_size=limits[1],
            max_db_connections=limits[2] if limits[2] < MAX_CONNECTIONS else 0,
        )


@dataclass(frozen=True, slots=True)
class PoolerLimits:
    """Both sides of the poolers together, in connections; None where nothing limits or nothing is known.

    `holds_session`: each client holds a server connection for as long as it is connected.
    `servers` is the most that the poolers may open at all, `session_servers` for one user and database.
    `server_idle_timeout` is in seconds, 0 for never. `keeps_prepared` says that prepared statements work.
    """

    clients: int | None
    servers: int | None
    session_servers: int | None
    replicas: int
    holds_session: bool
    keeps_prepared: bool
    server_idle_timeout: int
    version: str | None
    is_asked: bool
    other_clients: int = 0


def pooler_limits(endpoint: Endpoint, admin: AdminFigures | None, plan: str | None) -> PoolerLimits | None:
    """What stands between the targets and the database allows; None where nothing does.

    A proxy that maps each client to a server connection of its own (CloudSQLAuthProxy) limits nothing.
    `plan` is the provider's plan, where its pooler's limit hangs on that.
    """
    pooler = endpoint.pooler
    if pooler.type in (PoolerType.NONE, PoolerType.CLOUD_SQL_AUTH_PROXY):
        return None
    declared = _declared(endpoint, pooler, plan)
    if admin is None or pooler.type is not PoolerType.PG_BOUNCER:
        return declared
    mode = admin.pool_mode or ("session" if declared.holds_session else "transaction")
    return replace(
        declared,
        clients=_together(admin.max_client_conn, pooler),
        servers=_together(admin.max_db_connections or admin.default_pool_size, pooler),
        session_servers=_together(_per_pair(admin.default_pool_size, admin.max_db_connections), pooler),
        holds_session=mode == "session",
        keeps_prepared=keeps_prepared(admin.version, admin.max_prepared_statements, mode),
        server_idle_timeout=admin.server_idle_timeout,
        version=admin.version,
        is_asked=True,
    )


def _declared(endpoint: Endpoint, pooler: Pooler, plan: str | None) -> PoolerLimits:
    is_pg_bouncer = pooler.type is PoolerType.PG_BOUNCER
    servers = pooler.max_db_connections or pooler.default_pool_size
    if is_pg_bouncer and servers is None and endpoint.provider is not Provider.NEON:
        servers = _DEFAULT_POOL_SIZE
    clients = _clients(endpoint, pooler, plan)
    mode = "session" if pooler.pooling_mode is PoolerMode.SESSION else "transaction"
    return PoolerLimits(
        clients=_together(clients, pooler),
        servers=_together(servers, pooler),
        session_servers=_together(
            _per_pair(pooler.default_pool_size or _DEFAULT_POOL_SIZE, pooler.max_db_connections), pooler
        )
        if is_pg_bouncer
        else None,
        replicas=pooler.replicas,
        holds_session=pooler.pooling_mode is PoolerMode.SESSION,
        keeps_prepared=keeps_prepared(
            pooler.version if is_pg_bouncer else None, pooler.max_prepared_statements, mode
        ),
        server_idle_timeout=_SERVER_IDLE_TIMEOUT
        if pooler.server_idle_timeout is None
        else int(seconds(pooler.server_idle_timeout)),
        version=pooler.version,
        is_asked=False,
    )


def _per_pair(default_pool_size: int, max_db_connections: int | None) -> int:
    """Server connections for one user and database."""
    return min(default_pool_size, max_db_connections or default_pool_size)


def _together(one: int | None, pooler: Pooler) -> int | None:
    """Of all replicas; never more than any server has."""
    return None if one is None else max(0, min(one * pooler.replicas, MAX_CONNECTIONS))


def _clients(endpoint: Endpoint, pooler: Pooler, plan: str | None) -> int | None:
    """Client connections of one pooler: declared, or the provider's, or PgBouncer's default.

    None for RDS Proxy without a declared limit: its clients need not fit max_connections, and AWS names
    no figure of its own.
    """
    if pooler.max_client_connections is not None:
        return pooler.max_client_connections
    if endpoint.provider is Provider.NEON and pooler.type is PoolerType.PG_BOUNCER:
        clients: int = table("neon")["pooler_clients"]
        return clients
    if endpoint.provider is Provider.SUPABASE and plan is not None:
        found = table("supabase")["plans"].get(plan.lower())
        return None if found is None else found[1]
    return _MAX_CLIENT_CONN if pooler.type is PoolerType.PG_BOUNCER else None


def keeps_prepared(version: str | None, max_prepared_statements: int | None, mode: str) -> bool:
    """Whether prepared statements outlive a transaction (PgBouncer, changelog of 1.21 and 1.24).

    tests/integration/test_poolers.py shows both: on 1.18 they fail in transaction mode, on 1.24 not.
    """
    if mode == "session":
        return True
    if version is None:
        return False
    number = tuple(int(part) for part in version.split(".")[:2])
    if number < _PREPARED_AT_ALL:
        return False
    if max_prepared_statements is None:
        return number >= _PREPARED_BY_DEFAULT
    return max_prepared_statements > 0
