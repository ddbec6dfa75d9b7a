"""Apply: the ConfigMaps that differ from a plan, and how each is written."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from poolbudget.cluster import config_map, paths
from poolbudget.cluster.api import Api, ApiError, Object
from poolbudget.cluster.config_map import WantedConfigMap
from poolbudget.cluster.observed import Observed
from poolbudget.cluster.targets import existed_before
from poolbudget.planning.history import History, next_history
from poolbudget.planning.inputs import PoolSizes
from poolbudget.planning.plan import Plan
from poolbudget.planning.sizes import split_cap


@dataclass(frozen=True, slots=True)
class Change:
    """A ConfigMap that has to be written. `before` is the record of what it said, None for nothing."""

    wanted: WantedConfigMap
    live: Object | None
    before: PoolSizes | None

    @property
    def raises(self) -> bool:
        """Whether a starting container could get more than now, or something for the first time."""
        readable = None if self.live is None else config_map.readable_sizes(self.live)
        return readable is None or self.wanted.sizes.cap > readable.cap

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
        spec = observed.target_spec(target.key)
        if target.sizes is None or spec is None:
            continue
        recipe = observed.recipes[target.key]
        for item in config_map.wanted(observed.spec, spec, recipe, target.sizes, dict(observed.live)):
            live = observed.live.get(item.name)
            if item.name not in observed.foreign and config_map.differs(item, observed.reference, live):
                before = None if live is None else config_map.published_sizes(live)
                result.append(Change(item, live, before))
    return result


async def write_all(
    api: Api, observed: Observed, todo: list[Change], now: float
) -> tuple[list[Written], dict[str, ApiError]]:
    """Write the changes at the same time; returns those that went through, and the others' errors."""
    answers = await asyncio.gather(
        *(_write(api, observed, item, now) for item in todo), return_exceptions=True
    )
    written: list[Written] = []
    failed: dict[str, ApiError] = {}
    for item, answer in zip(todo, answers, strict=True):
        if isinstance(answer, ApiError):
            failed[item.wanted.name] = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            written.append(Written(item, answer))
    return written, failed


async def touch(api: Api, observed: Observed, name: str, claim: int, now: float) -> str | None:
    """Write a ConfigMap anew, raising nothing; whatever is still under way to it is refused then.

    One that is not there is created at the target's floor, for which room is always kept. Returns the
    new resourceVersion, if anything was written. Raises ApiError.
    """
    path = paths.config_map(observed.reference.namespace, name)
    live = observed.live.get(name)
    if live is not None:
        metadata = {
            "resourceVersion": live["metadata"]["resourceVersion"],
            "annotations": {config_map.CLAIM: str(claim)},
        }
        answer = await api.patch(path, {"metadata": metadata}, observed.reference.field_manager)
        version: str = answer["metadata"]["resourceVersion"]
        return version
    spec = next((item for item in observed.spec.targets if item.config_map_name == name), None)
    if spec is not None and name not in observed.foreign:
        sizes = split_cap(spec.bounds.floor, observed.spec.pool_size_percent)
        for item in config_map.wanted(observed.spec, spec, observed.recipes[spec.key], sizes, {}):
            return await _write(api, observed, Change(item, None, None), now)
    return None


async def _write(api: Api, observed: Observed, change: Change, now: float) -> str:
    body = config_map.to_manifest(
        change.wanted,
        observed.reference,
        change.live,
        _next_history(observed, change, now),
        observed.ledger.claim,
    )
    path = paths.config_map(observed.reference.namespace, change.wanted.name)
    answer = await api.apply(path, body, observed.reference.field_manager)
    version: str = answer["metadata"]["resourceVersion"]
    return version


def _next_history(observed: Observed, change: Change, now: float) -> History:
    """The ConfigMap's history with what is about to be written."""
    wanted = change.wanted
    return next_history(
        None if change.live is None else observed.histories[wanted.name],
        not existed_before(observed.manifest, wanted.name),
        observed.next_revision(now),
        wanted.sizes.cap,
        wanted.cost,
        now,
        observed.needed_after,
        observed.oldest_pod,
    )
