"""What is known of an endpoint's capacity, from whom, and since when."""

from __future__ import annotations

from dataclasses import dataclass

from poolbudget.capacity.failures import ProbeFailure
from poolbudget.capacity.limits import DEFAULT_SUPERUSER_RESERVED, ServerLimits
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.resource.status import CapacityStatus

PROBE = "Probe"
DECLARED = "Declared"


@dataclass(frozen=True, slots=True)
class Reading:
    """The probe's last good figures, and its trouble since then; empty before its first look."""

    limits: ServerLimits | None = None
    failure: ProbeFailure | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the probe has not come back even once."""
        return self.limits is None and self.failure is None


@dataclass(frozen=True, slots=True)
class KnownCapacity:
    """Connections that the endpoint accepts, those that the server keeps, and who said so.

    Times are RFC 3339: when the figures were first seen, and since when they cannot be renewed.
    """

    max_connections: int
    server_reserved: int
    source: str
    endpoint: str
    observed_time: str
    stale_since: str | None = None

    def to_status(self) -> dict[str, object]:
        """As it stands in the PoolBudget's status."""
        status: dict[str, object] = {
            "maxConnections": self.max_connections,
            "serverReserved": self.server_reserved,
            "source": self.source,
            "endpoint": self.endpoint,
            "observedTime": self.observed_time,
        }
        return status if self.stale_since is None else {**status, "staleSince": self.stale_since}


def known_capacity(
    spec: PoolBudgetSpec, reading: Reading, status: CapacityStatus | None, now: str
) -> KnownCapacity | None:
    """The probe's figures, else its last ones from the status, else what the spec declares.

    The last figures survive a restart of the operator while the database is down, but not a change
    of the endpoint: they are another server's then. None where nobody has ever said anything.
    """
    endpoint = f"{spec.endpoint.host}:{spec.endpoint.port}"
    last = status if status is not None and status.endpoint == endpoint else None
    figures = _figures(spec, reading, last)
    if figures is None:
        return None
    max_connections, server_reserved, source = figures
    # The times stay while the figures stay: a growing age would be a write at every look.
    same = last is not None and (last.max_connections, last.server_reserved, last.source) == figures
    return KnownCapacity(
        max_connections,
        server_reserved,
        source,
        endpoint,
        observed_time=last.observed_time if last is not None and same else now,
        stale_since=_stale_since(spec, reading, last, now),
    )


def _figures(
    spec: PoolBudgetSpec, reading: Reading, last: CapacityStatus | None
) -> tuple[int, int, str] | None:
    declared = spec.capacity.max_connections
    if spec.capacity.probe is not None:
        if reading.limits is not None:
            return reading.limits.max_connections, reading.limits.server_reserved, PROBE
        if last is not None and last.source == PROBE:
            return last.max_connections, last.server_reserved, PROBE
    return None if declared is None else (declared, DEFAULT_SUPERUSER_RESERVED, DECLARED)


def _stale_since(spec: PoolBudgetSpec, reading: Reading, last: CapacityStatus | None, now: str) -> str | None:
    """The beginning of the trouble outlives other troubles, and restarts of the operator."""
    before = None if last is None else last.stale_since
    if spec.capacity.probe is None:
        return None
    if reading.is_empty:
        return before
    return None if reading.failure is None else before or now
