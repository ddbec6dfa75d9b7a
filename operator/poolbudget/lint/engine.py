"""PB2xx: engine settings, and pools behind poolers."""

from __future__ import annotations

from collections.abc import Iterator

from poolbudget.capacity.limits import usable_connections
from poolbudget.cluster.facts import Facts
from poolbudget.recipes.recipe import SHORTEST_RECYCLE, recycle
from poolbudget.recipes.render import Recipe
from poolbudget.resource.endpoint import PoolerType
from poolbudget.resource.target import PoolClass, TargetSpec

Found = Iterator[tuple[str, str]]

_MOST_BEHIND_PROXY = 10


def _targets(facts: Facts) -> Iterator[tuple[TargetSpec, Recipe]]:
    for spec in facts.observed.spec.targets:
        yield spec, facts.observed.recipes[spec.key]


def statement_cache(facts: Facts) -> Found:
    """PB201: prepared statements behind a pooler that shares server connections."""
    capacity = facts.observed.capacity
    pooler = None if capacity is None else capacity.pooler
    if pooler is None or pooler.holds_session or pooler.keeps_prepared:
        return
    for spec, recipe in _targets(facts):
        for key in ("STATEMENT_CACHE_SIZE", "PREPARED_STATEMENT_CACHE_SIZE"):
            if recipe.get(key) not in (None, "0"):
                yield (
                    str(spec.key),
                    f"{key} is set to {recipe.get(key)} behind a pooler in transaction mode, where the next "
                    "statement may run on another server connection: remove the override",
                )


def long_recycle(facts: Facts) -> Found:
    """PB202: connections are kept for longer than the network or the provider keeps them."""
    capacity = facts.observed.capacity
    endpoint = facts.observed.spec.endpoint
    best = recycle(endpoint, None if capacity is None else capacity.pooler)
    for spec, recipe in _targets(facts):
        value = _whole(recipe.get("POOL_RECYCLE"))
        if value is None or value < 0 or value > int(best.value):
            yield (
                str(spec.key),
                f"POOL_RECYCLE is {recipe.get('POOL_RECYCLE')}, and {best.value} is right here "
                f"({best.why}): remove the override, or connections are found dead at checkout",
            )


def short_recycle(facts: Facts) -> Found:
    """PB203: connections are made anew all the time."""
    for spec, recipe in _targets(facts):
        value = _whole(recipe.get("POOL_RECYCLE"))
        if value is not None and 0 <= value < SHORTEST_RECYCLE:
            yield (
                str(spec.key),
                f"POOL_RECYCLE is {value} s: each minute pays for new TLS handshakes and logins, so set at "
                f"least {SHORTEST_RECYCLE}",
            )


def large_behind_proxy(facts: Facts) -> Found:
    """PB204: large client-side pools in front of RDS Proxy."""
    if facts.observed.spec.endpoint.pooler.type is not PoolerType.RDS_PROXY:
        return
    for spec in facts.observed.spec.targets:
        if spec.max_per_pool is not None and spec.max_per_pool > _MOST_BEHIND_PROXY:
            yield (
                str(spec.key),
                f"maxPerPool is {spec.max_per_pool} behind RDS Proxy, which holds the real connections: 3 to "
                f"{_MOST_BEHIND_PROXY} are enough, so lower it",
            )


def null_pool(facts: Facts) -> Found:
    """PB205: a pool without a limit."""
    for spec in facts.observed.spec.targets:
        if spec.pool_class is PoolClass.NULL_POOL:
            yield (
                str(spec.key),
                "a NullPool has no limit, so nothing bounds what these pods open: let a pooler's "
                "max_client_conn bound them, or use AsyncAdaptedQueuePool with a small maxPerPool",
            )


def large_behind_transaction_pooler(facts: Facts) -> Found:
    """PB206: two large pools one behind the other."""
    endpoint = facts.observed.spec.endpoint
    if not endpoint.pooler.shares_connections or endpoint.pooler.type is PoolerType.RDS_PROXY:
        return
    for spec in facts.observed.spec.targets:
        if spec.max_per_pool is not None and spec.max_per_pool > _MOST_BEHIND_PROXY:
            yield (
                str(spec.key),
                f"maxPerPool is {spec.max_per_pool} behind a pooler in transaction mode: its client "
                "connections wait there instead, so leave maxPerPool out (2) or keep it small",
            )


def pooler_beyond_server(facts: Facts) -> Found:
    """PB207: the poolers together may open more connections than the server has for them."""
    observed = facts.observed
    capacity = observed.capacity
    if capacity is None or capacity.pooler is None or capacity.limits is None:
        return
    servers = capacity.pooler.servers
    left = usable_connections(capacity.limits, observed.spec.reserved).connections
    if servers is None or servers <= left:
        return
    yield (
        observed.reference.name,
        f"{capacity.pooler.replicas} poolers may open {servers} connections on a server that has {left} for "
        "them: set max_db_connections so that all replicas together stay below",
    )


def hidden_pooler(facts: Facts) -> Found:
    """PB208: a pooler that the PoolBudget does not mention."""
    capacity = facts.observed.capacity
    if facts.observed.spec.endpoint.pooler.type is not PoolerType.NONE:
        return
    if capacity is not None and capacity.limits is not None and capacity.limits.has_pooler:
        yield (
            facts.observed.reference.name,
            "the way to the server leads through a pooler whose limits nobody knows: set endpoint.pooler, "
            "so that its clients are bounded and the engine settings are right",
        )


def _whole(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
