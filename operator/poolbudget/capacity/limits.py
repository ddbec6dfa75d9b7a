"""From what a server allows to what the targets share: plain arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from poolbudget.resource.spec import Reserved

# PostgreSQL's default of superuser_reserved_connections, assumed where nobody can be asked.
DEFAULT_SUPERUSER_RESERVED = 3

# "Reserve at least 10 connections plus 5 %" for administrators, migrations and monitoring: a rule of
# thumb of many tuning guides. Less gets a warning, never a refusal.
_ADVISED_CONNECTIONS = 10
_ADVISED_PERCENT = 5


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a PostgreSQL server says of itself, in connections.

    `reserved` is `reserved_connections` (PostgreSQL 16 and later) and `provider_reserved` what a
    provider keeps, such as `rds.rds_superuser_reserved_connections`; 0 where the setting is unknown.
    """

    max_connections: int
    superuser_reserved: int = DEFAULT_SUPERUSER_RESERVED
    reserved: int = 0
    provider_reserved: int = 0

    @property
    def server_reserved(self) -> int:
        """Connections that an ordinary role never gets."""
        return self.superuser_reserved + self.reserved + self.provider_reserved


@dataclass(frozen=True, slots=True)
class Usable:
    """What the targets share, how that came about, and a warning where little is reserved."""

    connections: int
    arithmetic: str
    warning: str | None = None


def usable_connections(max_connections: int, server_reserved: int, reserved: Reserved) -> Usable:
    """Capacity less every reserve; never below 0.

    170 connections with 3 for superusers, 10 for administrators and 2 for replication: 155.
    """
    margin = -(-max_connections * reserved.percent // 100)
    total = server_reserved + reserved.admin + reserved.replication + margin
    parts = [
        f"{max_connections} - {server_reserved} of the server",
        f"{reserved.admin} for administrators",
    ]
    if reserved.replication:
        parts.append(f"{reserved.replication} for replication")
    if margin:
        parts.append(f"{margin} as a margin")
    connections = max(0, max_connections - total)
    return Usable(
        connections,
        f"{' - '.join(parts)} = {connections}",
        _thin_reserve_warning(max_connections, reserved.admin + margin),
    )


def _thin_reserve_warning(max_connections: int, kept: int) -> str | None:
    advised = _ADVISED_CONNECTIONS + -(-max_connections * _ADVISED_PERCENT // 100)
    if kept >= advised:
        return None
    return (
        f"{kept} connections are kept for administrators, migrations and monitoring; "
        f"10 plus 5 % ({advised}) is advised: raise reserved.admin or reserved.percent"
    )
