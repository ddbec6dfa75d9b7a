"""What the next rollout of a target may come to, before it happens."""

from __future__ import annotations

from dataclasses import dataclass

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
    """The next rollout of a target while everything else stays as it is; None where nothing overlaps.

    Old pods keep what they hold until they are gone. Sizes are lowered while the rollout goes on, so
    each new pod that starts beside them gets its floor at least.
    """
    workload = target.workload
    if workload is None or not workload.waves or not workload.desired:
        return None
    worst = _worst(target, plan, workload)
    safe = [
        surge
        for surge in range(workload.desired + 1)
        if _worst(target, plan, _with_surge(workload, surge)) <= usable
    ]
    return Forecast(worst, max(safe, default=None))


def _worst(target: Target, plan: Plan, workload: Workload) -> int:
    desired = workload.desired
    beside = workload.overlapping(desired) + workload.max_surge.rounded_up(desired)
    terminating = sum(pod.stage is PodStage.TERMINATING for pod in target.pods)
    return plan.allocated + max(0, beside - terminating) * target.bounds.cost(target.bounds.floor)


def _with_surge(workload: Workload, surge: int) -> Workload:
    return Workload(
        desired=workload.desired,
        max_surge=RolloutLimit(surge),
        max_unavailable=workload.max_unavailable,
        waves=workload.waves,
    )
