"""What a pooler in front of the database allows: its client side, and its server side."""

from __future__ import annotations

from dataclasses import dataclass, replace

from poolbudget.capacity.tables import table
from poolbudget.resource.endpoint import Endpoint, Pooler, PoolerMode, PoolerType, Provider
from poolbudget.resource.quantities import seconds

# PgBouncer's defaults (pgbouncer.org, configuration).
_MAX_CLIENT_CONN = 100
_DEFAULT_POOL_SIZE = 20
_SERVER_IDLE_TIMEOUT = 600
# Prepared statements work in transaction mode from 1.21 on where asked for, from 1.24 on by default.
_PREPARED_BY_DEFAULT = (1, 24)
_PREPARED_AT_ALL = (1, 21)


@dataclass(frozen=True, slots=True)
class AdminFigures:
    """What PgBouncer's admin console says (SHOW VERSION, SHOW CONFIG, SHOW POOLS, SHOW CLIENTS).

    Counts are of the one pooler that answered. `client_applications` are its clients by application_name.
    """

    version: str
    max_client_conn: int
    default_pool_size: int
    max_db_connections: int
    server_idle_timeout: int
    max_prepared_statements: int
    pool_mode: str
    clients: int = 0
    waiting: int = 0
    servers: int = 0
    client_applications: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class PoolerLimits:
    """Both sides of the poolers together, in connections; None where nothing limits or nothing is known.

    `holds_session`: each client holds a server connection for as long as it is connected.
    `server_idle_timeout` is in seconds. `keeps_prepared` says that prepared statements work.
    """

    clients: int | None
    servers: int | None
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
    return replace(
        declared,
        clients=admin.max_client_conn * pooler.replicas,
        servers=(admin.max_db_connections or admin.default_pool_size) * pooler.replicas,
        holds_session=admin.pool_mode == "session",
        keeps_prepared=keeps_prepared(admin.version, admin.max_prepared_statements, admin.pool_mode),
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
        clients=None if clients is None else clients * pooler.replicas,
        servers=None if servers is None else servers * pooler.replicas,
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
