"""What is known of an endpoint's capacity, from whom, and since when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from poolbudget.capacity.consumers import NOBODY, Others
from poolbudget.capacity.estimate import Estimate, NoEstimate, estimate
from poolbudget.capacity.failures import ProbeFailure
from poolbudget.capacity.limits import DEFAULT_SUPERUSER_RESERVED, ServerLimits
from poolbudget.capacity.pooler import AdminFigures, PoolerLimits, pooler_limits
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.resource.status import CapacityStatus

PROBE = "Probe"
DECLARED = "Declared"
ESTIMATE = "Estimate"
POOLER = "Pooler"
CONSOLE = "AdminConsole"


@dataclass(frozen=True, slots=True)
class Reading:
    """The probe's last good figures, and its trouble since then; empty before its first look.

    `awaited` and `awaited_admin` are higher limits that one look has seen and a second one has to confirm.
    `others` and `other_clients` are connections to the server and to the pooler that are not the targets',
    None before anybody has looked. `admin_failure` is why PgBouncer's admin console said nothing.
    `other_host` is where the URL leads, if that is not where the targets connect to; like higher limits
    (`awaited_host`), it has to be seen twice. `is_right_host` remembers that it once was the same: names that
    stand for several addresses give others each time.
    """

    limits: ServerLimits | None = None
    failure: ProbeFailure | None = None
    awaited: ServerLimits | None = None
    others: Others | None = None
    other_clients: int | None = None
    admin: AdminFigures | None = None
    awaited_admin: AdminFigures | None = None
    admin_failure: ProbeFailure | None = None
    other_host: str | None = None
    awaited_host: str | None = None
    is_right_host: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether the probe has not come back even once."""
        return self.limits is None and self.failure is None and self.awaited is None

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits to be seen a second time."""
        return self.awaited is None and self.awaited_admin is None and self.awaited_host is None


def confirmed(reading: Reading, fresh: ServerLimits, last: ServerLimits | None) -> Reading:
    """The reading after another look: less counts at once, more only when two looks in a row agree.

    `last` is what was known before the first look, from the status: after a restart of the operator, or
    an outage of the database, a figure that is higher than before is not believed at once. A server that
    comes back after a failover or a resize may be another one.
    """
    known = reading.limits or last
    if known is None or not fresh.allows_more_than(known) or reading.awaited == fresh:
        return replace(reading, limits=fresh, failure=None, awaited=None)
    cautious = fresh.lower_of(known)
    return replace(reading, limits=cautious, failure=None, awaited=fresh)


def with_host(reading: Reading, other: str | None) -> Reading:
    """The reading after another look at where the URL leads: None for where the targets connect to."""
    if other is None or reading.is_right_host:
        return replace(reading, other_host=None, awaited_host=None, is_right_host=True)
    if other in (reading.other_host, reading.awaited_host):
        return replace(reading, other_host=other, awaited_host=None)
    return replace(reading, awaited_host=other)


def confirmed_admin(reading: Reading, fresh: AdminFigures | None) -> Reading:
    """The same for what PgBouncer's console says; what it said last stays while it says nothing."""
    known = reading.admin
    if fresh is None:
        return replace(reading, awaited_admin=None)
    awaited = reading.awaited_admin
    if awaited is not None and fresh.limits == awaited.limits:
        return replace(reading, admin=fresh, awaited_admin=None)
    if known is None:
        return replace(reading, awaited_admin=fresh)
    cautious = fresh.lower_of(known)
    return replace(reading, admin=cautious, awaited_admin=None if cautious.limits == fresh.limits else fresh)


@dataclass(frozen=True, slots=True)
class KnownCapacity:
    """What the endpoint allows, and who said so.

    `limits` is the server's side, None where only the pooler's is known. Times are RFC 3339: when the
    figures were first seen, and since when they cannot be renewed.
    """

    limits: ServerLimits | None
    source: str
    endpoint: str
    observed_time: str
    stale_since: str | None = None
    estimate: Estimate | None = None
    pooler: PoolerLimits | None = None
    others: Others = NOBODY

    @property
    def connections(self) -> int:
        """Connections that the endpoint accepts: the tightest limit on the way, nothing taken off."""
        found = []
        if self.pooler is not None and self.pooler.clients is not None:
            found.append(self.pooler.clients)
        if self.limits is not None and not (found and not self._holds_session):
            given = (self.limits.max_connections, self.limits.role_limit, self.limits.database_limit)
            found += [limit for limit in given if limit is not None]
        return min(found, default=0)

    @property
    def _holds_session(self) -> bool:
        return self.pooler is not None and self.pooler.holds_session

    def to_status(self) -> dict[str, object]:
        """As it stands in the PoolBudget's status."""
        status: dict[str, Any] = {
            "connections": self.connections,
            "source": self.source,
            "endpoint": self.endpoint,
            "observedTime": self.observed_time,
            "staleSince": self.stale_since,
            **_server_status(self.limits),
        }
        if self.estimate is not None:
            status["estimate"] = {
                "connections": self.estimate.connections,
                "uncertaintyPercent": self.estimate.uncertainty_percent,
                "rule": f"{self.estimate.rule} ({self.estimate.source})",
            }
        if self.pooler is not None:
            status["pooler"] = _pooler_status(self.pooler)
        return {key: value for key, value in status.items() if value is not None}


def _server_status(limits: ServerLimits | None) -> dict[str, Any]:
    if limits is None:
        return {}
    return {
        "maxConnections": limits.max_connections,
        "serverReserved": limits.server_reserved,
        "roleLimit": limits.role_limit,
        "databaseLimit": limits.database_limit,
        "serverVersion": limits.version or None,
        "recovery": limits.in_recovery or None,
        "behindPooler": limits.has_pooler or None,
    }


def _pooler_status(pooler: PoolerLimits) -> dict[str, Any]:
    status = {
        "clientConnections": pooler.clients,
        "serverConnections": pooler.servers,
        "replicas": pooler.replicas,
        "mode": "Session" if pooler.holds_session else "Transaction",
        "keepsPrepared": pooler.keeps_prepared,
        "serverIdleTimeout": pooler.server_idle_timeout,
        "sessionConnections": pooler.session_servers,
        "version": pooler.version,
        "source": CONSOLE if pooler.is_asked else DECLARED,
    }
    return {key: value for key, value in status.items() if value is not None}


def last_limits(spec: PoolBudgetSpec, status: CapacityStatus | None) -> ServerLimits | None:
    """What the probe said last according to the status, if that is about the same endpoint."""
    if status is None or status.endpoint != spec.endpoint.address or status.source != PROBE:
        return None
    if status.max_connections is None:
        return None
    return ServerLimits(
        status.max_connections,
        status.server_reserved or 0,
        role_limit=status.role_limit,
        database_limit=status.database_limit,
        version=status.server_version or 0,
        in_recovery=bool(status.recovery),
        has_pooler=bool(status.behind_pooler),
    )


def known_capacity(
    spec: PoolBudgetSpec, reading: Reading, status: CapacityStatus | None, now: str
) -> KnownCapacity | None:
    """The probe's figures, else its last ones from the status, else what is declared, else the estimate.

    The last figures survive a restart of the operator while the database is down, but not a change
    of the endpoint: they are another server's then. None where nobody has ever said anything.
    """
    last = status if status is not None and status.endpoint == spec.endpoint.address else None
    expected = _estimate(spec)
    limits, source = _limits(spec, reading, status, expected)
    size = spec.capacity.estimate
    pooler = pooler_limits(spec.endpoint, reading.admin, None if size is None else size.class_)
    pooler = _with_last_word(pooler, spec, reading, last)
    if limits is None and (pooler is None or pooler.clients is None or pooler.holds_session):
        return None
    known = KnownCapacity(
        limits,
        source if limits is not None else POOLER,
        spec.endpoint.address,
        now,
        _stale_since(spec, reading, last, now),
        expected,
        pooler,
        reading.others or NOBODY,
    )
    # The times stay while the figures stay: a growing age would be a write at every look.
    return (
        replace(known, observed_time=last.observed_time) if last is not None and _says(last, known) else known
    )


def _says(status: CapacityStatus, known: KnownCapacity) -> bool:
    """Whether a status has the same figures."""
    try:
        return _figures(status) == _figures(CapacityStatus.model_validate(known.to_status()))
    except ValidationError:
        return False


def _with_last_word(
    pooler: PoolerLimits | None, spec: PoolBudgetSpec, reading: Reading, last: CapacityStatus | None
) -> PoolerLimits | None:
    """What the console said last, from the status, while it has not answered a restarted operator yet."""
    if pooler is None:
        return None
    if reading.other_clients is not None:
        pooler = replace(pooler, other_clients=reading.other_clients * pooler.replicas)
    is_asked = spec.endpoint.pooler.admin_url_secret_key_ref is not None and reading.admin is None
    told = None if last is None or not is_asked else last.pooler
    if told is None or told.source != CONSOLE or told.client_connections is None:
        return pooler
    return replace(
        pooler,
        clients=told.client_connections,
        servers=told.server_connections,
        session_servers=told.session_connections,
        holds_session=told.mode == "Session",
        keeps_prepared=bool(told.keeps_prepared),
        server_idle_timeout=told.server_idle_timeout or 0,
        version=told.version,
        is_asked=True,
    )


def _figures(status: CapacityStatus) -> CapacityStatus:
    return status.model_copy(update={"observed_time": "", "stale_since": None})


def _estimate(spec: PoolBudgetSpec) -> Estimate | None:
    """The estimate, if one is asked for and can be made; lint says why where it cannot."""
    if spec.capacity.estimate is None:
        return None
    try:
        return estimate(spec.endpoint, spec.capacity.estimate)
    except NoEstimate:
        return None


def _limits(
    spec: PoolBudgetSpec, reading: Reading, status: CapacityStatus | None, expected: Estimate | None
) -> tuple[ServerLimits | None, str]:
    declared = spec.capacity.max_connections
    if spec.capacity.probe is not None:
        if reading.limits is not None:
            return reading.limits, PROBE
        before = last_limits(spec, status)
        if before is not None:
            return before, PROBE
    if declared is not None:
        return ServerLimits(declared, DEFAULT_SUPERUSER_RESERVED), DECLARED
    if expected is not None:
        return ServerLimits(expected.lowest, expected.reserved), ESTIMATE
    return None, ""


def _stale_since(spec: PoolBudgetSpec, reading: Reading, last: CapacityStatus | None, now: str) -> str | None:
    """The beginning of the trouble outlives other troubles, and restarts of the operator."""
    before = None if last is None else last.stale_since
    if spec.capacity.probe is None:
        return None
    if reading.is_empty:
        return before
    return None if reading.failure is None else before or now
