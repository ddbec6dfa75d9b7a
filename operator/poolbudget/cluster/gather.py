"""Gather: everything that one reconcile looks at, read from the API server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from poolbudget.capacity.consumers import NOBODY, Others
from poolbudget.capacity.limits import Usable, usable_connections
from poolbudget.capacity.reading import KnownCapacity, Reading, known_capacity
from poolbudget.capacity.sightings import Sighting
from poolbudget.cluster import config_map, paths
from poolbudget.cluster.api import MANAGER, Object, Reader
from poolbudget.cluster.config_map import BudgetReference
from poolbudget.cluster.demand import Loads, demands_of, with_loads
from poolbudget.cluster.in_place import is_in_place, sight
from poolbudget.cluster.ledger import read_ledger
from poolbudget.cluster.neighbours import read_siblings, share_of, with_shares
from poolbudget.cluster.observed import InvalidSpecError, Neighbour, Observed, parse_spec, reference
from poolbudget.cluster.pod_records import PodRecord
from poolbudget.cluster.targets import Found, former_targets, lost_pods, targets, with_strangers
from poolbudget.planning import charges
from poolbudget.planning.charges import Assumptions
from poolbudget.planning.inputs import Inputs, TargetKey
from poolbudget.recipes.render import Recipe, followed, recipe_of
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.resource.status import CapacityStatus, OthersStatus
from poolbudget.resource.target import TargetSpec
from poolbudget.resource.times import timestamp

_FROM_CACHE = {"resourceVersion": "0"}


@dataclass(frozen=True, slots=True)
class Context:
    """What a gather needs to know besides what it reads.

    `read_pods` gives the pods of the PoolBudget's namespace; with `is_complete` none can be missing.
    `now` is in seconds since 1970, just before the PoolBudget itself was read. `sighting` is what pods say
    of themselves in the database, and `acknowledged` what they were seen to have applied before. `loads` is
    what they have in use.
    """

    read_pods: Callable[[], Awaitable[list[PodRecord]]]
    is_complete: bool
    reading: Reading
    neighbours: tuple[Neighbour, ...]
    siblings: tuple[str, ...]
    assumptions: Assumptions
    now: float
    sighting: Sighting | None = None
    acknowledged: Mapping[str, int] = field(default_factory=dict)
    loads: Loads = field(default_factory=Loads)


async def gather(reader: Reader, manifest: Object, spec: PoolBudgetSpec, context: Context) -> Observed:
    """Read what belongs to a PoolBudget that was just read and parsed. Raises ApiError.

    The ledger is in the PoolBudget: it was read before everything else, so that whoever writes it
    meanwhile makes all of this worthless.
    """
    budget = reference(manifest)
    keys = [item.key for item in spec.targets]
    manifests, autoscalers, (live, foreign), pods, neighbours, siblings = await asyncio.gather(
        asyncio.gather(*(reader.find(paths.workload(budget.namespace, key)) for key in keys)),
        _autoscalers(reader, budget.namespace),
        _config_maps(reader, budget, [item.config_map_name for item in spec.targets]),
        context.read_pods(),
        with_shares(reader, context.neighbours),
        read_siblings(reader, budget.namespace, context.siblings),
    )
    reading = _with_last_others(context.reading, spec, manifest)
    capacity = known_capacity(spec, reading, last_capacity(manifest), timestamp(context.now))
    usable = _usable(spec, capacity, neighbours)
    recipes = {item.key: _recipe(budget, spec, item, capacity) for item in spec.targets}
    found = Found(
        manifest=manifest,
        spec=spec,
        manifests=dict(zip(keys, manifests, strict=True)),
        autoscalers=autoscalers,
        pods=pods,
        live=live,
        histories={
            name: config_map.history_of(item, budget, context.now, _recipe_for(item, recipes))
            for name, item in live.items()
        },
        ledger=read_ledger(manifest),
        usable=None if usable is None else usable.connections,
        assumptions=context.assumptions,
        now=context.now,
        sight=sight(context.sighting, budget.namespace, budget.name, pods, context.acknowledged),
    )
    known = with_strangers(found, (*targets(found), *former_targets(found)))
    demands = demands_of(known, spec, context.loads, manifest, found.usable, context.now)
    planned = tuple(with_loads(known, demands))
    readers, histories = found.readers(), list(found.histories.values())
    assumptions, now = context.assumptions, context.now
    return Observed(
        reference=budget,
        manifest=manifest,
        spec=spec,
        reading=reading,
        capacity=capacity,
        usable=usable,
        ledger=found.ledger,
        inputs=Inputs(
            usable=found.usable,
            targets=planned,
            reserve_for=spec.reserve_for,
            pool_size_percent=spec.pool_size_percent,
        ),
        manifests=found.manifests,
        recipes=recipes,
        live=live,
        foreign=foreign,
        histories=found.histories,
        neighbours=neighbours,
        siblings=siblings,
        lost=tuple(lost_pods(found, planned)),
        now=context.now,
        changes_at=charges.next_change(readers, histories, assumptions, now),
        readable_by_all=charges.readable_by_all(histories, assumptions),
        oldest_pod=charges.oldest_pod(readers, assumptions),
        needed_after=charges.needed_after(readers, assumptions, now) if context.is_complete else None,
        pods={pod.uid: pod for pod in pods if budget.name in pod.follows},
        sight=found.sight,
        demands=demands,
    )


def _usable(
    spec: PoolBudgetSpec, capacity: KnownCapacity | None, neighbours: Iterable[Neighbour]
) -> Usable | None:
    if capacity is None:
        return None
    share = None if spec.endpoint.share is None else share_of(spec.endpoint.share, neighbours)
    return usable_connections(capacity.limits, spec.reserved, capacity.others, capacity.pooler, share)


def _recipe(
    budget: BudgetReference, spec: PoolBudgetSpec, target: TargetSpec, capacity: KnownCapacity | None
) -> Recipe:
    limits = None if capacity is None else capacity.limits
    found = recipe_of(
        spec.endpoint,
        target,
        None if capacity is None else capacity.pooler,
        0 if limits is None else limits.version,
        limits is not None and limits.has_pooler,
    )
    return followed(found, budget.namespace, budget.name) if is_in_place(spec, target) else found


def _recipe_for(live: Object, recipes: Mapping[TargetKey, Recipe]) -> Recipe | None:
    key = config_map.target_of(live)
    return None if key is None else recipes.get(key)


def last_capacity(manifest: Object) -> CapacityStatus | None:
    """The capacity as the status has it; what an editor made senseless counts as unknown."""
    try:
        return CapacityStatus.model_validate((manifest.get("status") or {}).get("capacity"))
    except ValidationError:
        return None


def last_others(spec: PoolBudgetSpec, manifest: Object) -> tuple[Others, int]:
    """Others' connections, and clients of a pooler, as the status has them.

    None where it says nonsense, or is about another endpoint.
    """
    last = last_capacity(manifest)
    if spec.capacity.probe is None or last is None or last.endpoint != spec.endpoint.address:
        return NOBODY, 0
    try:
        found = OthersStatus.model_validate((manifest.get("status") or {}).get("others"))
    except ValidationError:
        return NOBODY, 0
    return Others(found.connections, found.in_database, found.of_role, is_exact=found.exact), found.of_pooler


def _with_last_others(reading: Reading, spec: PoolBudgetSpec, manifest: Object) -> Reading:
    """What others held counts on until the probe has looked for itself."""
    others, clients = last_others(spec, manifest)
    return replace(
        reading,
        others=others if reading.others is None else reading.others,
        other_clients=clients if reading.other_clients is None else reading.other_clients,
    )


async def _autoscalers(reader: Reader, namespace: str) -> list[Object]:
    """From the API server's own cache, milliseconds behind at most.

    A list without a version waits until that cache has caught up, up to 100 ms where nothing else
    moves (Kubernetes, ConsistentListFromCache), which would cost more than it gives: an autoscaler
    announces nothing, and its change is an event that leads here again.
    """
    items: list[Object] = (await reader.get(paths.autoscalers(namespace), _FROM_CACHE))["items"]
    return items


async def _config_maps(
    reader: Reader, budget: BudgetReference, names: Iterable[str]
) -> tuple[dict[str, Object], dict[str, str | None]]:
    """The budget's ConfigMaps under current and earlier names, and foreign ones in their place.

    The current ones are read one by one: a list may come from a cache that lags behind our own writes.
    """
    selector = f"{config_map.MANAGED_BY}={MANAGER},{config_map.BUDGET}={budget.name}"
    query = {"labelSelector": selector, **_FROM_CACHE}
    unique = list(dict.fromkeys(names))
    listed, found = await asyncio.gather(
        reader.get(paths.config_maps(budget.namespace), query),
        asyncio.gather(*(reader.find(paths.config_map(budget.namespace, name)) for name in unique)),
    )
    current = dict(zip(unique, found, strict=True))
    live = {item["metadata"]["name"]: item for item in listed["items"]}
    foreign: dict[str, str | None] = {}
    for name, manifest in current.items():
        live.pop(name, None)
        if manifest is None:
            continue
        owner = config_map.owner(manifest)
        if owner == budget.name or (owner and await _is_abandoned(reader, budget.namespace, owner, manifest)):
            live[name] = manifest
        else:
            foreign[name] = owner
    return live, foreign


async def _is_abandoned(reader: Reader, namespace: str, owner: str, live: Object) -> bool:
    """Whether the PoolBudget that wrote a ConfigMap is gone, or has nothing to do with it any more.

    One that still binds the target keeps the ConfigMap up to date under its former name, too.
    """
    manifest = await reader.find(paths.budget(namespace, owner))
    if manifest is None:
        return True
    try:
        targets = parse_spec(manifest).targets
    except InvalidSpecError:
        return False
    name, written_for = live["metadata"]["name"], config_map.target_of(live)
    return not any(item.config_map_name == name or item.key == written_for for item in targets)
