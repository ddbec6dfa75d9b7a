"""Gather: everything that one reconcile looks at, read from the API server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from poolbudget.capacity.limits import Usable, usable_connections
from poolbudget.capacity.reading import KnownCapacity, Reading, known_capacity
from poolbudget.cluster import config_map, paths
from poolbudget.cluster.api import Api, Object
from poolbudget.cluster.config_map import BudgetReference
from poolbudget.cluster.pods import PodCache, PodRecord
from poolbudget.cluster.workloads import autoscaler_of, belongs_to, workload
from poolbudget.planning.inputs import Inputs, Target, TargetBounds, TargetKey, UpdateMode
from poolbudget.resource.spec import PoolBudgetSpec, TargetSpec
from poolbudget.resource.status import CapacityStatus

_FROM_CACHE = {"resourceVersion": "0"}


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another PoolBudget on the same endpoint, and the targets that both bind."""

    name: str
    shared_targets: tuple[TargetKey, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """One PoolBudget and its surroundings at one moment.

    `live` holds this budget's ConfigMaps by name, `foreign` those that stand where one of ours
    should, with the PoolBudget that writes them (None: not a PoolBudget's).
    """

    reference: BudgetReference
    manifest: Object
    spec: PoolBudgetSpec
    reading: Reading
    capacity: KnownCapacity | None
    usable: Usable | None
    inputs: Inputs
    missing: tuple[TargetKey, ...]
    live: Mapping[str, Object]
    foreign: Mapping[str, str | None]
    neighbours: tuple[Neighbour, ...]

    @property
    def generation(self) -> int:
        """Generation of the spec that was read."""
        generation: int = self.manifest["metadata"]["generation"]
        return generation

    def target_spec(self, key: TargetKey) -> TargetSpec:
        """The spec's words about a target."""
        return next(item for item in self.spec.targets if item.key == key)


class InvalidSpecError(Exception):
    """The API server holds a spec that this operator does not understand."""


def reference(manifest: Object) -> BudgetReference:
    """Which PoolBudget a manifest is."""
    metadata = manifest["metadata"]
    return BudgetReference(metadata["namespace"], metadata["name"], metadata["uid"])


def parse_spec(manifest: Object) -> PoolBudgetSpec:
    """The spec as models. Raises InvalidSpecError with the first complaints."""
    try:
        return PoolBudgetSpec.model_validate(manifest.get("spec"))
    except ValidationError as error:
        complaints = [
            f"spec.{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
        ]
        raise InvalidSpecError("; ".join(complaints[:3])) from None


async def gather(
    api: Api,
    pods: PodCache,
    manifest: Object,
    spec: PoolBudgetSpec,
    reading: Reading,
    neighbours: tuple[Neighbour, ...],
    now: str,
) -> Observed:
    """Read what belongs to a PoolBudget that was just read and parsed. Raises ApiError."""
    budget = reference(manifest)
    keys = [item.key for item in spec.targets]
    manifests, autoscalers, (live, foreign) = await asyncio.gather(
        asyncio.gather(*(api.find(paths.workload(budget.namespace, key)) for key in keys)),
        _autoscalers(api, budget.namespace),
        _config_maps(api, budget, [item.config_map_name for item in spec.targets]),
    )
    records = list(pods.in_namespace(budget.namespace))
    targets = tuple(
        _target(item, found, autoscalers, records, live.get(item.config_map_name))
        for item, found in zip(spec.targets, manifests, strict=True)
    )
    capacity = known_capacity(spec, reading, _last_capacity(manifest), now)
    usable = (
        None
        if capacity is None
        else usable_connections(capacity.max_connections, capacity.server_reserved, spec.reserved)
    )
    return Observed(
        reference=budget,
        manifest=manifest,
        spec=spec,
        reading=reading,
        capacity=capacity,
        usable=usable,
        inputs=Inputs(
            usable=None if usable is None else usable.connections,
            targets=targets,
            reserve_for=spec.reserve_for,
            pool_size_percent=spec.pool_size_percent,
        ),
        missing=tuple(key for key, found in zip(keys, manifests, strict=True) if found is None),
        live=live,
        foreign=foreign,
        neighbours=neighbours,
    )


def _last_capacity(manifest: Object) -> CapacityStatus | None:
    """The capacity as the status has it; what an editor made senseless counts as unknown."""
    try:
        return CapacityStatus.model_validate((manifest.get("status") or {}).get("capacity"))
    except ValidationError:
        return None


async def _autoscalers(api: Api, namespace: str) -> list[Object]:
    """From the API server's own cache, milliseconds behind at most.

    A list without a version waits until that cache has caught up, up to 100 ms where nothing else
    moves (Kubernetes, ConsistentListFromCache), which would cost more than it gives: an autoscaler
    announces nothing, and its change is an event that leads here again.
    """
    items: list[Object] = (await api.get(paths.autoscalers(namespace), _FROM_CACHE))["items"]
    return items


async def _config_maps(
    api: Api, budget: BudgetReference, names: Iterable[str]
) -> tuple[dict[str, Object], dict[str, str | None]]:
    """The budget's ConfigMaps under current and earlier names, and foreign ones in their place.

    The current ones are read one by one: a list may come from a cache that lags behind our own writes.
    """
    selector = f"{config_map.MANAGED_BY}={config_map.MANAGER},{config_map.BUDGET}={budget.name}"
    query = {"labelSelector": selector, **_FROM_CACHE}
    unique = list(dict.fromkeys(names))
    listed, found = await asyncio.gather(
        api.get(paths.config_maps(budget.namespace), query),
        asyncio.gather(*(api.find(paths.config_map(budget.namespace, name)) for name in unique)),
    )
    current = dict(zip(unique, found, strict=True))
    live = {item["metadata"]["name"]: item for item in listed["items"]}
    foreign: dict[str, str | None] = {}
    for name, manifest in current.items():
        live.pop(name, None)
        if manifest is None:
            continue
        owner = config_map.owner(manifest)
        if owner == budget.name or (owner and await _is_abandoned(api, budget.namespace, owner, manifest)):
            live[name] = manifest
        else:
            foreign[name] = owner
    return live, foreign


async def _is_abandoned(api: Api, namespace: str, owner: str, live: Object) -> bool:
    """Whether the PoolBudget that wrote a ConfigMap is gone, or has nothing to do with it any more.

    One that still binds the target keeps the ConfigMap up to date under its former name, too.
    """
    manifest = await api.find(paths.budget(namespace, owner))
    if manifest is None:
        return True
    try:
        targets = parse_spec(manifest).targets
    except InvalidSpecError:
        return False
    name, written_for = live["metadata"]["name"], config_map.target_of(live)
    return not any(item.config_map_name == name or item.key == written_for for item in targets)


def _target(
    spec: TargetSpec,
    manifest: Object | None,
    autoscalers: list[Object],
    records: list[PodRecord],
    live: Object | None,
) -> Target:
    # What is not written can neither be lowered nor wait to be raised.
    is_off = spec.update_mode is UpdateMode.OFF
    mine = (record.for_planner() for record in records if belongs_to(record, spec.key, manifest))
    return Target(
        key=spec.key,
        bounds=TargetBounds(
            workers=spec.workers,
            pools_per_worker=spec.pools_per_worker,
            extra_connections=spec.extra_connections,
            min_per_pool=spec.min_per_pool,
            max_per_pool=spec.max_per_pool,
            weight=spec.weight,
        ),
        workload=None if manifest is None else workload(manifest, autoscaler_of(spec.key, autoscalers)),
        pods=tuple(pod for pod in mine if pod is not None),
        published=None if live is None or is_off else config_map.published_sizes(live),
    )
