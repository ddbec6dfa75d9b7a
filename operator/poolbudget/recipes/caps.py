"""How large a pool may be at most, where the administrator does not say."""

from __future__ import annotations

from dataclasses import replace

from poolbudget.planning.inputs import TargetBounds
from poolbudget.resource.endpoint import Endpoint, PoolerType
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.resource.target import TargetSpec

# 5 kept and 2 on top: a small client-side pool, the proxy holds the real connections.
_RDS_PROXY_CAP = 7
# Behind a pooler that shares connections among clients, one or two for each process.
_TRANSACTION_CAP = 2


def default_cap(endpoint: Endpoint) -> int | None:
    """The largest cap of a pool by the way to the database; None for no limit but the budget's."""
    if endpoint.pooler.type is PoolerType.RDS_PROXY:
        return _RDS_PROXY_CAP
    return _TRANSACTION_CAP if endpoint.pooler.shares_connections else None


def bounds(spec: PoolBudgetSpec, target: TargetSpec) -> TargetBounds:
    """The target's bounds, with the default cap where it has no maxPerPool."""
    given = target.bounds
    return (
        given if given.max_per_pool is not None else replace(given, max_per_pool=default_cap(spec.endpoint))
    )
