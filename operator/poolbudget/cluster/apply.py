"""Apply: write what a plan changes; lowering is confirmed before anything is raised."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from poolbudget.cluster import config_map, paths
from poolbudget.cluster.api import Api, Object
from poolbudget.cluster.config_map import BudgetReference, WantedConfigMap
from poolbudget.cluster.gather import Observed
from poolbudget.planning.inputs import PoolSizes, TargetKey
from poolbudget.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class Change:
    """A ConfigMap that has to be written, and what it said before."""

    wanted: WantedConfigMap
    live: Object | None
    before: PoolSizes | None

    @property
    def raises(self) -> bool:
        """Whether a starting container could get more than before, or something for the first time."""
        return self.before is None or self.wanted.sizes.cap > self.before.cap

    def __str__(self) -> str:
        before = "new" if self.before is None else str(self.before)
        return f"{self.wanted.target}: {before} -> {self.wanted.sizes}"


def changes(observed: Observed, plan: Plan) -> list[Change]:
    """The ConfigMaps that differ from the plan. Foreign ones are left alone."""
    result: list[Change] = []
    for target in plan.targets:
        if target.sizes is None:
            continue
        spec = observed.target_spec(target.key)
        for item in config_map.wanted(observed.spec, spec, target.sizes, dict(observed.live)):
            live = observed.live.get(item.name)
            if item.name not in observed.foreign and config_map.differs(item, observed.reference, live):
                before = None if live is None else config_map.published_sizes(live)
                result.append(Change(item, live, before))
    return result


async def apply(api: Api, observed: Observed, plan: Plan) -> list[Change]:
    """Write the changes; returns them. Raises ApiError; a conflict means: gather and plan again."""
    todo = changes(observed, plan)
    budget = observed.reference
    lowering = [change for change in todo if not change.raises]
    await asyncio.gather(*(_write(api, budget, change) for change in lowering))
    raising = [change for change in todo if change.raises]
    await asyncio.gather(*(_write(api, budget, change) for change in raising))
    return todo


async def _write(api: Api, budget: BudgetReference, change: Change) -> None:
    body = config_map.to_manifest(change.wanted, budget, change.live)
    path = paths.config_map(budget.namespace, change.wanted.name)
    await api.apply(path, body, budget.field_manager)


def published_after(observed: Observed, plan: Plan, key: TargetKey) -> PoolSizes | None:
    """What the target's ConfigMap says once the plan is applied; None where it is not ours."""
    spec = observed.target_spec(key)
    if spec.config_map_name in observed.foreign:
        return None
    target = plan.target(key)
    return target.sizes
