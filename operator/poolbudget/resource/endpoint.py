"""`spec.endpoint`: what the targets connect to, and what stands in between."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from poolbudget.resource.model import MAX_CONNECTIONS, NAME_LENGTH, Connections, Model, SecretKeyRef, rules
from poolbudget.resource.quantities import Duration, duration_rule


class Provider(StrEnum):
    """Who runs the database: decides engine settings, and the table for an estimate."""

    SELF_MANAGED = "SelfManaged"
    RDS = "RDS"
    AURORA = "Aurora"
    AURORA_SERVERLESS = "AuroraServerlessV2"
    CLOUD_SQL = "CloudSQL"
    ALLOY_DB = "AlloyDB"
    AZURE = "Azure"
    NEON = "Neon"
    SUPABASE = "Supabase"


class PoolerType(StrEnum):
    """What stands between the targets and the database."""

    NONE = "None"
    PG_BOUNCER = "PgBouncer"
    RDS_PROXY = "RDSProxy"
    CLOUD_SQL_AUTH_PROXY = "CloudSQLAuthProxy"
    SUPAVISOR = "Supavisor"


class PoolerMode(StrEnum):
    """When a pooler gives a server connection back."""

    SESSION = "Session"
    TRANSACTION = "Transaction"


class Pooler(Model):
    """A pooler or proxy in front of the database; names as in PgBouncer's configuration."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "self.type != 'PgBouncer' || has(self.mode)",
                "message": "pooler.mode is needed for PgBouncer: Session or Transaction (its pool_mode)",
            },
            {
                "rule": "self.type == 'PgBouncer' || !has(self.adminUrlSecretKeyRef)",
                "message": "only PgBouncer has an admin console: remove adminUrlSecretKeyRef",
            },
            duration_rule("serverIdleTimeout", "1s", "24h"),
        )
    )

    type: PoolerType = Field(default=PoolerType.NONE, description="What kind of pooler, None for none.")
    mode: PoolerMode | None = Field(
        default=None,
        description="When a server connection is given back: PgBouncer's pool_mode. RDSProxy and Supavisor "
        "are taken for Transaction, CloudSQLAuthProxy for Session.",
    )
    version: Annotated[str, Field(max_length=20, pattern=r"^[0-9]+\.[0-9]+(\.[0-9]+)?$")] | None = Field(
        default=None, description="PgBouncer's version, such as 1.24; read from the admin console if given."
    )
    replicas: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="Poolers behind the endpoint: each has its own limits, so they multiply."
    )
    max_client_connections: Connections | None = Field(
        default=None,
        description="Client connections that one pooler accepts: PgBouncer's max_client_conn (default 100), "
        "or a limit of your own for RDSProxy.",
    )
    default_pool_size: Connections | None = Field(
        default=None,
        description="PgBouncer's default_pool_size (default 20): server connections per user and database.",
    )
    max_db_connections: Annotated[int, Field(ge=0, le=MAX_CONNECTIONS)] | None = Field(
        default=None,
        description="PgBouncer's max_db_connections: server connections per database; 0 for no limit.",
    )
    max_prepared_statements: Annotated[int, Field(ge=0, le=100_000)] | None = Field(
        default=None, description="PgBouncer's max_prepared_statements (from 1.21 on; 200 from 1.24 on)."
    )
    server_idle_timeout: Duration | None = Field(
        default=None, description="PgBouncer's server_idle_timeout (default 600s)."
    )
    admin_url_secret_key_ref: SecretKeyRef | None = Field(
        default=None,
        description="Where the URL of PgBouncer's admin console stands, such as "
        "postgresql://stats:password@host:6432/pgbouncer: what it says counts instead of the fields above.",
    )

    @property
    def pooling_mode(self) -> PoolerMode:
        """The mode, by the type where it is not given."""
        if self.mode is not None:
            return self.mode
        transaction = (PoolerType.RDS_PROXY, PoolerType.SUPAVISOR)
        return PoolerMode.TRANSACTION if self.type in transaction else PoolerMode.SESSION

    @property
    def shares_connections(self) -> bool:
        """Whether several clients take turns on one server connection."""
        return self.type is not PoolerType.NONE and self.pooling_mode is PoolerMode.TRANSACTION


class Endpoint(Model):
    """The database, or the pooler in front of it, that the targets connect to."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "self.host.matches('^[A-Za-z0-9._:-]+$') && !self.host.contains('://')",
                "message": "host is a name or an address only, such as orders.example.internal: "
                "no scheme, no path; the port has a field of its own",
            },
            duration_rule("idleTimeout", "1s", "240h"),
        )
    )

    host: Annotated[str, Field(min_length=1, max_length=NAME_LENGTH)] = Field(
        description="Host name or address that the targets connect to."
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=5432, description="Port that the targets connect to."
    )
    socket_directory: Annotated[str, Field(max_length=200, pattern=r"^/[-A-Za-z0-9_./:]*$")] | None = Field(
        default=None,
        description="Folder of a Unix socket that the targets connect to instead of host, such as "
        "/cloudsql/project:region:instance.",
    )
    provider: Provider = Field(
        default=Provider.SELF_MANAGED,
        description="Who runs the database: decides the engine settings and the table for an estimate.",
    )
    server: Annotated[str, Field(min_length=1, max_length=NAME_LENGTH)] | None = Field(
        default=None,
        description="Name of the server behind the endpoint, where several endpoints lead to the same one. "
        "PoolBudgets with the same server, or the same host and port, share its connections.",
    )
    share: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None,
        description="Percent of the server's usable connections that are this PoolBudget's, where several "
        "PoolBudgets share the server.",
    )
    idle_timeout: Duration | None = Field(
        default=None,
        description="Time after which the network drops idle connections, such as 350s for a NAT gateway or "
        "network load balancer of AWS.",
    )
    pooler: Pooler = Field(default=Pooler(), description="What stands between the targets and the database.")

    @property
    def address(self) -> str:
        """Host and port in one word."""
        return f"{self.host}:{self.port}"

    @property
    def is_replica_by_name(self) -> bool:
        """Whether the host's name says that it is a replica, as Aurora's reader endpoints do."""
        return re.search(r"(^|[-.])(replica|reader|read|ro)([-.]|$)|\.cluster-ro-", self.host) is not None

    @property
    def servers(self) -> frozenset[str]:
        """Names of the server: endpoints that have one in common lead to the same.

        A loopback address is none: it is another server in each pod.
        """
        names = set() if is_loopback(self.host.lower()) else {self.normal_address}
        return frozenset(names if self.server is None else {*names, self.server})

    @property
    def normal_address(self) -> str:
        """Host and port, however the host is spelled."""
        return f"{self.host.lower().rstrip('.')}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether a host is whoever asks."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
