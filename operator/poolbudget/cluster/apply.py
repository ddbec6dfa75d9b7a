"""Apply: write what a plan changes; lowering is confirmed before anything is raised."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from poolbudget.cluster import config_map, paths
from poolbudget.cluster.api import Api, ApiError, Object
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


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a plan: confirmed writes, and the ConfigMaps that could not be written."""

    written: list[Written]
    failed: dict[str, ApiError]

    @property
    def conflict(self) -> bool:
        """Whether somebody else wrote first."""
        return any(error.is_conflict for error in self.failed.values())


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


async def apply(api: Api, observed: Observed, plan: Plan) -> Applied:
    """Write the changes, as far as they go through.

    After a conflict nothing of the plan counts any more: gather and plan again.
    """
    todo = changes(observed, plan)
    applied = await _write_all(api, observed.reference, [item for item in todo if not item.raises])
    if applied.failed:
        return applied
    raised = await _write_all(api, observed.reference, [item for item in todo if item.raises])
    return Applied([*applied.written, *raised.written], raised.failed)


async def _write_all(api: Api, budget: BudgetReference, todo: list[Change]) -> Applied:
    answers = await asyncio.gather(*(_write(api, budget, item) for item in todo), return_exceptions=True)
    applied = Applied([], {})
    for item, answer in zip(todo, answers, strict=True):
        if isinstance(answer, ApiError):
            applied.failed[item.wanted.name] = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            applied.written.append(Written(item, answer))
    return applied


async def _write(api: Api, budget: BudgetReference, change: Change) -> str:
    body = config_map.to_manifest(change.wanted, budget, change.live)
    path = paths.config_map(budget.namespace, change.wanted.name)
    answer = await api.apply(path, body, budget.field_manager)
    version: str = answer["metadata"]["resourceVersion"]
    return version
