"""What tells a PoolBudget's pods from others in the database's list of connections."""

from __future__ import annotations

from collections.abc import Mapping

from poolbudget.capacity.consumers import Own
from poolbudget.cluster.pods import PodCache
from poolbudget.runtime.index import BudgetIndex, BudgetKey


def own_of(index: BudgetIndex, pods: PodCache, key: BudgetKey, allocated: Mapping[BudgetKey, int]) -> Own:
    """The pods of a PoolBudget and of the others on its server: their addresses, names and roles.

    `allocated` is what each may open, as far as that was worked out. What neighbours hold is told by their
    shares, and must not count a second time as held by others.
    """
    entry = index.get(key)
    if entry is None:
        return Own()
    roles: set[str] = set()
    addresses: set[str] = set()
    names: set[str] = set()
    running = 0
    together = {key, *index.near(key)}
    for other in together:
        found = index.get(other)
        if found is None:
            continue
        if found.role is not None:
            roles.add(found.role)
        names |= {target.name for target in found.targets}
        for record in pods.in_namespace(other.namespace):
            reads = any(item.config_map in found.config_maps for item in record.consumes)
            if record.may_hold and (record.owner in found.targets or reads):
                running += 1
                names.add(record.name)
                if record.address:
                    addresses.add(record.address)
    held = sum(allocated[item] for item in together) if together <= allocated.keys() else None
    return Own(frozenset(roles), frozenset(addresses), frozenset(names), running, held)
