"""What is known of an endpoint's capacity, from whom, and since when."""

from __future__ import annotations

from dataclasses import dataclass

from poolbudget.capacity.failures import ProbeFailure
from poolbudget.capacity.limits import DEFAULT_SUPERUSER_RESERVED, ServerLimits
from poolbudget.resource.spec import Capacity as CapacitySpec
from poolbudget.resource.status import CapacityStatus

PROBE = "Probe"
DECLARED = "Declared"


@dataclass(frozen=True, slots=True)
class Reading:
    """The probe's last good figures, and its trouble since then (a time in RFC 3339), if any."""

    limits: ServerLimits | None = None
    failure: ProbeFailure | None = None
    failing_since: str | None = None


@dataclass(frozen=True, slots=True)
class KnownCapacity:
    """Connections that the endpoint accepts, those that the server keeps, and who said so."""

    max_connections: int
    server_reserved: int
    source: str
    observed_time: str

    def to_status(self) -> dict[str, object]:
        """As it stands in the PoolBudget's status."""
        return {
            "maxConnections": self.max_connections,
            "serverReserved": self.server_reserved,
            "source": self.source,
            "observedTime": self.observed_time,
        }


def known_capacity(
    spec: CapacitySpec, reading: Reading, last: CapacityStatus | None, now: str
) -> KnownCapacity | None:
    """The probe's figures, else its last ones from the status, else what the spec declares.

    The last figures survive a restart of the operator while the database is down. None where nobody
    has ever said anything.
    """
    if spec.probe is not None and reading.limits is not None:
        limits = reading.limits
        return _since(last, limits.max_connections, limits.server_reserved, PROBE, now)
    if spec.probe is not None and last is not None and last.source == PROBE:
        return _since(last, last.max_connections, last.server_reserved, PROBE, now)
    if spec.max_connections is not None:
        return _since(last, spec.max_connections, DEFAULT_SUPERUSER_RESERVED, DECLARED, now)
    return None


def _since(
    last: CapacityStatus | None, max_connections: int, server_reserved: int, source: str, now: str
) -> KnownCapacity:
    """The time stays while the figures stay: a growing age would be a write at every look."""
    same = last is not None and (last.max_connections, last.server_reserved, last.source) == (
        max_connections,
        server_reserved,
        source,
    )
    observed = last.observed_time if last is not None and same else now
    return KnownCapacity(max_connections, server_reserved, source, observed)
