"""What targets have in use, by what their pods' connections do in the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from poolbudget.cluster.api import Object
from poolbudget.cluster.in_place import Sight
from poolbudget.planning.demand import next_load, told_caps
from poolbudget.planning.inputs import Target, TargetKey
from poolbudget.resource.spec import PoolBudgetSpec, ShareBy
from poolbudget.tag import pod_part


@dataclass(frozen=True, slots=True)
class Loads:
    """Connections in use, smoothed, by the pods' part of their tags, and what was planned with last.

    `in_use` is None where nobody has looked since the last plan, or nobody can see what connections do.
    """

    in_use: Mapping[str, float] | None = None
    used: Mapping[TargetKey, float] = field(default_factory=dict)


def with_loads(
    targets: Iterable[Target],
    spec: PoolBudgetSpec,
    loads: Loads,
    manifest: Object,
    sight: Sight,
    usable: int | None,
) -> list[Target]:
    """The targets with their loads, where shares go by those and all of them are known.

    What was used before this operator began stands in the status.
    """
    targets = list(targets)
    if spec.share_by is not ShareBy.DEMAND or usable is None or sight.hides_states:
        return targets
    before = {**_in_status(manifest), **loads.used}
    found = [
        next_load(before.get(target.key), _measured(target, loads.in_use), told_caps(target), usable)
        for target in targets
        if target.is_in_place
    ]
    if None in found:
        return targets
    queue = iter(found)
    return [replace(target, load=next(queue)) if target.is_in_place else target for target in targets]


def _measured(target: Target, in_use: Mapping[str, float] | None) -> float | None:
    if in_use is None:
        return None
    return sum(in_use.get(pod_part(pod.uid), 0.0) for pod in target.pods if pod.is_adjustable)


def _in_status(manifest: Object) -> dict[TargetKey, float]:
    """The loads as the status has them; what an editor made senseless is passed over."""
    found = {}
    for item in (manifest.get("status") or {}).get("targets") or []:
        try:
            load = float(item["load"])
            if 0 <= load < float("inf"):
                found[TargetKey(item["kind"], item["name"])] = load
        except (KeyError, ValueError, TypeError):
            continue
    return found
