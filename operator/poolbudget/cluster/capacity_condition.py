"""CapacityKnown: who said how many connections there are, in words."""

from __future__ import annotations

from collections.abc import Iterator

from poolbudget.capacity.estimate import NoEstimate, estimate
from poolbudget.capacity.limits import ServerLimits
from poolbudget.capacity.reading import DECLARED, ESTIMATE, PROBE, KnownCapacity
from poolbudget.cluster.facts import Facts
from poolbudget.resource.conditions import Condition, ConditionType, Reason, false, true, unknown
from poolbudget.resource.endpoint import PoolerType


def capacity_known(facts: Facts) -> Condition:
    """Whether anybody has said how many connections there are; a stale answer is one."""
    observed, kind = facts.observed, ConditionType.CAPACITY_KNOWN
    failure, capacity = observed.reading.failure, observed.capacity
    before = facts.before(kind)
    if observed.spec.capacity.probe is not None and observed.reading.is_empty and before is not None:
        # Just started: what was said before still holds until the probe has looked for itself.
        return before
    if capacity is None or observed.usable is None:
        return _nothing_known(facts)
    message = ". ".join(_capacity_in_words(facts, capacity, observed.usable.arithmetic))
    if observed.usable.warning:
        message = f"{message}. Warning: {observed.usable.warning}"
    if failure is not None:
        kept = f"Last figures kept since {capacity.stale_since}" if capacity.source == PROBE else "Not probed"
        return true(kind, failure.reason, f"{message}. {kept}: {failure.message}")
    misled = _misleading_url(facts)
    if misled is not None:
        return unknown(kind, Reason.ENDPOINT_MISMATCH, f"{message}. {misled}")
    return true(kind, _capacity_reason(facts, capacity), message)


def _nothing_known(facts: Facts) -> Condition:
    kind, spec, failure = ConditionType.CAPACITY_KNOWN, facts.observed.spec, facts.observed.reading.failure
    if failure is not None:
        return false(kind, failure.reason, failure.message)
    if spec.capacity.probe is None and spec.capacity.estimate is not None:
        try:
            estimate(spec.endpoint, spec.capacity.estimate)
        except NoEstimate as error:
            return false(kind, Reason.NO_ESTIMATE, str(error))
    return false(kind, Reason.WAITING_FOR_PROBE, "the database has not answered yet")


def _capacity_reason(facts: Facts, capacity: KnownCapacity) -> Reason:
    if capacity.source == PROBE:
        has_pooler = capacity.limits is not None and capacity.limits.has_pooler
        is_undeclared = facts.observed.spec.endpoint.pooler.type is PoolerType.NONE
        return Reason.POOLER_IN_FRONT if has_pooler and is_undeclared else Reason.PROBED
    by_source = {DECLARED: Reason.DECLARED, ESTIMATE: Reason.ESTIMATED}
    return by_source.get(capacity.source, Reason.POOLER_LIMITS)


def _capacity_in_words(facts: Facts, capacity: KnownCapacity, arithmetic: str) -> Iterator[str]:
    """The figures, whose they are, and what to do about what cannot be seen."""
    observed, limits = facts.observed, capacity.limits
    yield f"{capacity.connections} connections; usable: {arithmetic}"
    if capacity.estimate is not None:
        yield from _estimate_in_words(capacity)
    if capacity.pooler is not None:
        clients = "not limited" if capacity.pooler.clients is None else capacity.pooler.clients
        servers = "not known" if capacity.pooler.servers is None else capacity.pooler.servers
        asked = "by its admin console" if capacity.pooler.is_asked else "as declared"
        yield f"Pooler ({asked}): clients {clients}, server connections {servers}"
    if observed.reading.admin_failure is not None:
        yield observed.reading.admin_failure.message
    if limits is not None and capacity.source == PROBE:
        yield from _probe_in_words(facts, capacity, limits)


def _probe_in_words(facts: Facts, capacity: KnownCapacity, limits: ServerLimits) -> Iterator[str]:
    """What kind of server answered, and what it does not show."""
    observed = facts.observed
    if limits.has_pooler and observed.spec.endpoint.pooler.type is PoolerType.NONE:
        yield (
            "The probe's URL leads through a pooler, whose own limits are not known, and these figures are "
            "the server's behind it: set endpoint.pooler"
        )
    if limits.in_recovery:
        yield "The server is in recovery, a replica"
    if not limits.sees_all:
        yield (
            "The probe's role lacks pg_monitor, so states and addresses of others' connections are hidden: "
            "GRANT pg_monitor TO it"
        )
    if not capacity.others.is_exact:
        yield (
            "Which connections are the targets' own cannot be seen: name their role in "
            "capacity.probe.applicationRole"
        )
    if observed.reading.awaited is not None:
        more = observed.reading.awaited.max_connections
        yield f"Higher limits were seen once (max_connections {more}) and count when seen again"


def _estimate_in_words(capacity: KnownCapacity) -> Iterator[str]:
    expected = capacity.estimate
    if expected is None:
        return
    if capacity.source == ESTIMATE:
        yield f"An estimate: {expected}"
    elif capacity.source == PROBE and capacity.limits is not None:
        real = capacity.limits.max_connections
        difference = 100 * (real - expected.connections) / expected.connections
        yield f"The estimate was {expected.connections}: the server says {difference:+.0f} %"


def _misleading_url(facts: Facts) -> str | None:
    """Why the probe's figures may be another server's; a pooler in between explains another host."""
    observed = facts.observed
    endpoint, asked = observed.spec.endpoint, observed.reading.other_host
    if asked is None or endpoint.pooler.type is not PoolerType.NONE:
        return None
    return (
        f"The probe's URL leads to {asked} and the targets connect to {endpoint.host}: correct one of them, "
        "or set endpoint.pooler"
    )
