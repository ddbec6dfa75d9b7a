"""Apply: write what a plan changes; lowering is confirmed before anything is raised."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from poolbudget.cluster import config_map, paths
from poolbudget.cluster.api import Api, Object
from poolbudget.cluster.config_map import BudgetReference, WantedConfigMap
from poolbudget.cluster.gather import Observed
from poolbudget.planning.inputs import PoolSizes
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


@dataclass(frozen=True, slots=True)
class Written:
    """A change that the API server has confirmed, with the ConfigMap's new resourceVersion."""

    change: Change
    version: str


def changes(observed: Observed, plan: Plan) -> list[Change]:
    """The ConfigMaps that differ from the plan. Foreign ones are left alone."""
    result: list[Change] = []
    for target in plan.targets:
        if target.sizes is None:
            continue
        spec = observed.target_spec(target.key)
        for item in config_map.wanted(observed.spec, spec, target.sizes, dict(observed.live)):
            if item.name in observed.foreign:
                continue
            live = observed.live.get(item.name)
            if config_map.differs(item, observed.reference, live):
                before = None if live is None else config_map.published_sizes(live)
                result.append(Change(item, live, before))
    return result


async def apply(api: Api, observed: Observed, plan: Plan) -> list[Written]:
    """Write the changes; returns what was confirmed.

    Raises ApiError; a conflict means: gather and plan again, never write the same again.
    """
    todo = changes(observed, plan)
    budget = observed.reference
    lowering = [change for change in todo if not change.raises]
    lowered = await asyncio.gather(*(_write(api, budget, change) for change in lowering))
    raising = [change for change in todo if change.raises]
    raised = await asyncio.gather(*(_write(api, budget, change) for change in raising))
    return [*lowered, *raised]


async def _write(api: Api, budget: BudgetReference, change: Change) -> Written:
    body = config_map.to_manifest(change.wanted, budget, change.live)
    path = paths.config_map(budget.namespace, change.wanted.name)
    answer = await api.apply(path, body, budget.field_manager)
    return Written(change, answer["metadata"]["resourceVersion"])
