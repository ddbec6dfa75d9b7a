"""What tells a PoolBudget's pods from others in the database's list of connections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from poolbudget.capacity.consumers import Own
from poolbudget.cluster.pod_records import PodRecord
from poolbudget.cluster.pods import PodCache
from poolbudget.runtime.index import BudgetIndex, BudgetKey
from poolbudget.tag import budget_part


def own_of(index: BudgetIndex, pods: PodCache, key: BudgetKey, allocated: Mapping[BudgetKey, int]) -> Own:
    """The pods of a PoolBudget and of the others on its server: their addresses, names and roles.

    `allocated` is what each may open, as far as that was worked out. What neighbours hold is told by their
    shares, and must not count a second time as held by others.
    """
    entry = index.get(key)
    if entry is None:
        return Own()
    together = {key, *index.near(key)}
    entries = [found for found in (index.get(item) for item in together) if found is not None]
    records = {item: list(_records(index, pods, item)) for item in together}
    everybody = [record for found in records.values() for record in found]
    return Own(
        roles=frozenset(found.role for found in entries if found.role is not None),
        addresses=_addresses(everybody),
        names=frozenset(target.name for found in entries for target in found.targets)
        | {record.name for record in everybody},
        running=len(everybody),
        held=sum(allocated[item] for item in together) if together <= allocated.keys() else None,
        of_targets=_addresses(records[key]),
        budgets=frozenset(
            budget_part(f"{item.namespace}/{item.name}")
            for item in together
            if (found := index.get(item)) is not None and found.follows
        ),
        has_pooler=any(found.has_pooler for found in entries),
    )


def _records(index: BudgetIndex, pods: PodCache, key: BudgetKey) -> Iterator[PodRecord]:
    """A PoolBudget's pods that may hold connections."""
    entry = index.get(key)
    if entry is None:
        return
    for record in pods.in_namespace(key.namespace):
        reads = any(item.config_map in entry.config_maps for item in record.consumes)
        if record.may_hold and (record.owner in entry.targets or reads):
            yield record


def _addresses(records: Iterable[PodRecord]) -> frozenset[str]:
    return frozenset(record.address for record in records if record.address)
