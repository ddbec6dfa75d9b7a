"""What the next rollout of a target may come to, before it happens."""

from __future__ import annotations

from dataclasses import dataclass, replace

from poolbudget.planning.inputs import PodStage, RolloutLimit, Target, Workload
from poolbudget.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class Forecast:
    """The worst sum of the next rollout, in connections, and the largest `maxSurge` that stays within usable.

    `largest_safe_surge` is None where not even a surge of 0 does.
    """

    worst: int
    largest_safe_surge: int | None


def forecast(target: Target, plan: Plan, usable: int) -> Forecast | None:
    """The next rollout of a target, at the most pods that it may have; None where nothing overlaps.

    Old pods keep what they hold until they are gone. The first wave may start with what is published
    now; sizes are lowered while the rollout goes on, and whoever comes later gets the floor at least.
    """
    workload = target.workload
    if workload is None or not workload.waves or not workload.desired:
        return None
    worst = _worst(target, plan, workload)
    safe = [
        surge
        for surge in range(workload.maximum() + 1)
        if _worst(target, plan, replace(workload, max_surge=RolloutLimit(surge))) <= usable
    ]
    return Forecast(worst, max(safe, default=None))


def _worst(target: Target, plan: Plan, workload: Workload) -> int:
    planned = plan.target(target.key)
    live = sum(pod.is_replica and pod.stage is not PodStage.TERMINATING for pod in target.pods)
    maximum = workload.maximum()
    coming = max(0, maximum - live) + workload.max_surge.rounded_up(maximum) + workload.overlapping(maximum)
    coming -= sum(pod.stage is PodStage.TERMINATING for pod in target.pods)
    first = min(max(0, coming), workload.in_rollout(live, 0))
    told = target.bounds.floor if planned.sizes is None else planned.sizes.cap
    later = max(0, coming - first) * target.bounds.cost(target.bounds.floor)
    return plan.allocated + first * target.bounds.cost(told) + later
