"""What the next rollout of a target may come to, before it happens."""

from __future__ import annotations

import bisect
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
    now; sizes are lowered while the rollout goes on, and whoever comes later gets the floor at least. None
    also where pods follow their shares: those that run give up what new ones need.
    """
    workload = target.workload
    if workload is None or not workload.waves or not workload.desired or target.is_in_place:
        return None
    planned = plan.target(target.key)
    terminating = sum(pod.stage is PodStage.TERMINATING for pod in target.pods)
    live = sum(pod.is_replica and pod.stage is not PodStage.TERMINATING for pod in target.pods)
    told = target.bounds.floor if planned.sizes is None else planned.sizes.cap
    maximum, cost = workload.maximum(), target.bounds.cost

    def worst(rollout: Workload) -> int:
        coming = max(0, maximum - live) + rollout.max_surge.rounded_up(maximum)
        coming += rollout.overlapping(maximum) - terminating
        first = min(max(0, coming), rollout.in_rollout(live, 0))
        return plan.allocated + first * cost(told) + max(0, coming - first) * cost(target.bounds.floor)

    # The more pods a surge may add, the more there are: no need to try them all.
    fitting = bisect.bisect_right(
        range(maximum + 1), usable, key=lambda surge: worst(replace(workload, max_surge=RolloutLimit(surge)))
    )
    return Forecast(worst(workload), fitting - 1 if fitting else None)
