"""PB4xx: what the server shows."""

from __future__ import annotations

from collections.abc import Iterator

from poolbudget.capacity.consumers import NOBODY, Others
from poolbudget.capacity.limits import ServerLimits
from poolbudget.cluster.facts import Facts
from poolbudget.resource.endpoint import PoolerType

Found = Iterator[tuple[str, str]]


def _limits(facts: Facts) -> ServerLimits | None:
    return facts.observed.reading.limits


def _others(facts: Facts) -> Others:
    return facts.observed.reading.others or NOBODY


def past_the_pooler(facts: Facts) -> Found:
    """PB401: pods connect to the server itself although a pooler is declared."""
    observed = facts.observed
    proxies = (PoolerType.NONE, PoolerType.CLOUD_SQL_AUTH_PROXY)
    if observed.spec.endpoint.pooler.type in proxies or not _others(facts).direct:
        return
    yield (
        observed.reference.name,
        "connections come from the targets' pods straight to the server: their connection string does not "
        "lead to the pooler yet, so correct it",
    )


def long_transactions(facts: Facts) -> Found:
    """PB402: connections that are held while nothing is asked of the database."""
    if _others(facts).long_transactions:
        yield (
            facts.observed.reference.name,
            "transactions older than a minute hold their connections: commit before calls to others, and "
            "look into pg_stat_activity for what they wait for",
        )


def no_monitor(facts: Facts) -> Found:
    """PB403: the probe sees less than it could."""
    limits = _limits(facts)
    if limits is not None and not limits.sees_all:
        yield (
            facts.observed.reference.name,
            "the probe's role lacks pg_monitor, so others' connections are hidden in part: GRANT pg_monitor "
            "TO it",
        )


def idle_session_timeout(facts: Facts) -> Found:
    """PB404: the server ends idle sessions before the pool would."""
    limits = _limits(facts)
    if limits is None or not limits.idle_session_timeout:
        return
    for spec in facts.observed.spec.targets:
        value = facts.observed.recipes[spec.key].get("POOL_RECYCLE") or ""
        if value.isdecimal() and int(value) > limits.idle_session_timeout:
            yield (
                str(spec.key),
                f"the server ends sessions that are idle for {limits.idle_session_timeout} s and "
                f"POOL_RECYCLE is {value}: set idle_session_timeout to 0, or override POOL_RECYCLE with less",
            )
