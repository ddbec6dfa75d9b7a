"""What targets have in use, by what their pods' connections do in the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from poolbudget.cluster.api import Object
from poolbudget.planning.demand import NOTHING, Demand, InUse, next_demand, pools, told_caps
from poolbudget.planning.inputs import Target, TargetKey
from poolbudget.resource.model import MAX_CONNECTIONS as MOST
from poolbudget.resource.spec import PoolBudgetSpec, ShareBy
from poolbudget.tag import pod_part


@dataclass(frozen=True, slots=True)
class Loads:
    """Connections in use at `time`, averaged, by the pods' part of their tags; what was made of it before.

    `in_use` is None where nobody has looked, or nobody can see what connections do.
    """

    in_use: Mapping[str, InUse] | None = None
    time: float = 0.0
    demands: Mapping[TargetKey, Demand] = field(default_factory=dict)


def demands_of(
    targets: Iterable[Target],
    spec: PoolBudgetSpec,
    loads: Loads,
    manifest: Object,
    usable: int | None,
    now: float,
) -> dict[TargetKey, Demand]:
    """The load of each target whose shares go by that; empty where they do not.

    What was planned with before this operator began stands in the status.
    """
    if spec.share_by is not ShareBy.DEMAND:
        return {}
    before = {**_in_status(manifest, now), **loads.demands}
    found = {}
    for target in targets:
        if target.is_in_place:
            most = _most(target, usable)
            cap = told_caps(target)
            demand = next_demand(before.get(target.key), _measured(target, loads), cap, most, loads.time)
            if demand is not None:
                found[target.key] = demand
    return found


def with_loads(targets: Iterable[Target], demands: Mapping[TargetKey, Demand]) -> list[Target]:
    """The targets with their loads; one that nobody knows anything of counts as idle beside others."""
    if not demands:
        return list(targets)
    return [
        replace(target, load=demands[target.key].planned if target.key in demands else 0.0)
        if target.is_in_place
        else target
        for target in targets
    ]


def _most(target: Target, usable: int | None) -> int:
    """The most that a target may ever have in use."""
    limit = target.bounds.max_per_pool
    known = [] if usable is None else [usable]
    if limit is not None:
        known.append(limit * max(1, pools(target, 0)))
    return min(known, default=MOST)


def _measured(target: Target, loads: Loads) -> InUse | None:
    """Pods that end have their part in it until they are gone: it is their successors' then."""
    if loads.in_use is None:
        return None
    found = (loads.in_use.get(pod_part(pod.uid), NOTHING) for pod in target.pods if pod.share is not None)
    return sum(found, NOTHING)


def _in_status(manifest: Object, now: float) -> dict[TargetKey, Demand]:
    """The loads as the status has them; what an editor made senseless is passed over."""
    found = {}
    for item in (manifest.get("status") or {}).get("targets") or []:
        try:
            load = float(item["load"])
            if 0 <= load <= MOST:
                found[TargetKey(item["kind"], item["name"])] = Demand(load, load, now)
        except (KeyError, ValueError, TypeError):
            continue
    return found
