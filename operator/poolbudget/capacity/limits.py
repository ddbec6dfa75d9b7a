"""From what an endpoint allows to what the targets share: plain arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from poolbudget.capacity.consumers import NOBODY, Others
from poolbudget.capacity.pooler import PoolerLimits
from poolbudget.capacity.shares import Holder, Share, part_of
from poolbudget.resource.capacity import Reserved

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
    `role_limit` (of the application's role) and `database_limit` are None where there is none;
    superusers are exempt from both (PostgreSQL, InitializeSessionUserId and CheckMyDatabase).
    `version` is `server_version_num`, 0 where unknown. `has_pooler` says that the connection did not
    lead to the server itself, `sees_all` that the backends of other roles are visible (pg_monitor).
    """

    max_connections: int
    superuser_reserved: int = DEFAULT_SUPERUSER_RESERVED
    reserved: int = 0
    provider_reserved: int = 0
    role_limit: int | None = None
    database_limit: int | None = None
    version: int = 0
    in_recovery: bool = False
    idle_session_timeout: int = 0
    has_pooler: bool = False
    sees_all: bool = True

    @property
    def server_reserved(self) -> int:
        """Connections that an ordinary role never gets."""
        return self.superuser_reserved + self.reserved + self.provider_reserved

    def allows_more_than(self, other: ServerLimits) -> bool:
        """Whether any limit is higher than the other's."""
        return any(mine > theirs for mine, theirs in zip(self._bounds(), other._bounds(), strict=True))

    def lower_of(self, other: ServerLimits) -> ServerLimits:
        """These limits, none of them above the other's."""
        reserved = max(self.server_reserved, other.server_reserved)
        return replace(
            self,
            max_connections=min(self.max_connections, other.max_connections),
            superuser_reserved=reserved - self.reserved - self.provider_reserved,
            role_limit=_least(self.role_limit, other.role_limit),
            database_limit=_least(self.database_limit, other.database_limit),
        )

    def _bounds(self) -> tuple[float, float, float, float]:
        unlimited = float("inf")
        return (
            self.max_connections,
            -self.server_reserved,
            unlimited if self.role_limit is None else self.role_limit,
            unlimited if self.database_limit is None else self.database_limit,
        )


def _least(one: int | None, other: int | None) -> int | None:
    given = [value for value in (one, other) if value is not None]
    return min(given, default=None)


@dataclass(frozen=True, slots=True)
class Usable:
    """What the targets share, how that came about, and a warning where little is reserved."""

    connections: int
    arithmetic: str
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit on the way to the database, with what has to be taken off it, in words.

    `percent` of it is this PoolBudget's, where others (`holders`) have it in common.
    """

    connections: int
    what: str
    less: tuple[tuple[int, str], ...]
    percent: int | None = None
    holders: tuple[Holder, ...] = ()

    @property
    def left(self) -> int:
        """What is left for the targets; never below 0."""
        return self._result[0]

    def __str__(self) -> str:
        terms = [f"{self.connections}{self.what}", *(f"{count} {why}" for count, why in self.less if count)]
        return f"{' - '.join(terms)} = {self._all}{self._result[1]}"

    @property
    def _all(self) -> int:
        return max(0, self.connections - sum(count for count, _ in self.less))

    @property
    def _result(self) -> tuple[int, str]:
        if self.percent is None:
            return self._all, ""
        return part_of(self._all, self.percent, self.holders)


def usable_connections(
    limits: ServerLimits | None,
    reserved: Reserved,
    others: Others = NOBODY,
    pooler: PoolerLimits | None = None,
    share: Share | None = None,
) -> Usable:
    """What is left of the tightest limit on the way; never below 0.

    170 connections with 3 for superusers, 10 for administrators and 2 for replication: 155. Others that
    are really there are taken off where they are more than what is reserved for them. `limits` None:
    nothing is known of the server itself, only of the pooler.
    """
    bounds = list(_bounds(limits, reserved, others, pooler, share))
    tightest = min(bounds, key=lambda bound: bound.left)
    kept = reserved.admin + _margin(tightest.connections, reserved)
    return Usable(tightest.left, str(tightest), _thin_reserve_warning(tightest.connections, kept))


def _bounds(
    limits: ServerLimits | None,
    reserved: Reserved,
    others: Others,
    pooler: PoolerLimits | None,
    share: Share | None,
) -> Iterator[Bound]:
    percent = None if share is None else share.percent
    if pooler is not None and pooler.clients is not None:
        less = _kept(reserved, pooler.other_clients, pooler.clients, is_server=False)
        at_pooler = () if share is None else share.at_pooler
        # Who shares the server only, through another pooler or directly, does not take clients of this one.
        mine = percent if at_pooler else None
        yield Bound(pooler.clients, " clients of the pooler", less, mine, at_pooler)
    if pooler is not None and pooler.holds_session and pooler.session_servers is not None:
        margin = _margin(pooler.session_servers, reserved)
        yield Bound(pooler.session_servers, " server connections of the pooler", ((margin, "as a margin"),))
    needs_server = pooler is None or pooler.clients is None or pooler.holds_session
    if limits is not None and needs_server:
        yield from _server_bounds(limits, reserved, others, share)


def _server_bounds(
    limits: ServerLimits, reserved: Reserved, others: Others, share: Share | None
) -> Iterator[Bound]:
    """The server's own limit, which PoolBudgets have in common, and those of one database and role."""
    kept = _kept(reserved, others.connections, limits.max_connections, is_server=True)
    less = ((limits.server_reserved, "of the server"), *kept)
    percent, holders = (None, ()) if share is None else (share.percent, share.on_server)
    yield Bound(limits.max_connections, "", less, percent, holders)
    if limits.database_limit is not None:
        less = _kept(reserved, others.in_database, limits.database_limit, is_server=False)
        yield Bound(limits.database_limit, " by the database's limit", less)
    if limits.role_limit is not None:
        declared = _declared(reserved)
        margin = _margin(limits.role_limit, reserved)
        seen = max(declared, others.of_role)
        words = "held by others of that role" if others.of_role > declared else "for jobs and others"
        yield Bound(limits.role_limit, " by the role's limit", ((seen, words), (margin, "as a margin")))


def _declared(reserved: Reserved) -> int:
    return sum(item.total for item in (*reserved.jobs, *reserved.external))


def _kept(reserved: Reserved, seen: int, limit: int, is_server: bool) -> tuple[tuple[int, str], ...]:
    """What is reserved, or what others really hold where that is more; and the margin."""
    replication = reserved.replication if is_server else 0
    jobs = sum(item.total for item in reserved.jobs)
    external = sum(item.total for item in reserved.external)
    margin = (_margin(limit, reserved), "as a margin")
    if seen > reserved.admin + replication + jobs + external:
        return ((seen, "held by others"), margin)
    return (
        (reserved.admin, "for administrators"),
        (replication, "for replication"),
        (jobs, "for jobs"),
        (external, "for others outside the cluster"),
        margin,
    )


def _margin(connections: int, reserved: Reserved) -> int:
    return -(-connections * reserved.percent // 100)


def _thin_reserve_warning(max_connections: int, kept: int) -> str | None:
    advised = _ADVISED_CONNECTIONS + -(-max_connections * _ADVISED_PERCENT // 100)
    if kept >= advised:
        return None
    return (
        f"{kept} connections are kept for administrators, migrations and monitoring; "
        f"10 plus 5 % ({advised}) is advised: raise reserved.admin or reserved.percent"
    )
