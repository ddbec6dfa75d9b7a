"""Skewed loads: what shares by demand come to beside equal ones, and beside the best there is.

Each pool is a queue with random arrivals and as many servers as it may open connections (M/M/c), for which
the mean wait is known (Erlang's C formula). A target's pods share its load evenly.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from poolbudget.planning.demand import next_load
from poolbudget.planning.inputs import (
    Applied,
    Charge,
    Inputs,
    Pod,
    PodShare,
    PodStage,
    PoolSizes,
    ReserveFor,
    RolloutLimit,
    Target,
    TargetBounds,
    TargetKey,
    Workload,
)
from poolbudget.planning.plan import plan

USABLE = 155
_UTILIZATION = (0.55, 0.8)
_MOST_LOOKS = 60


@dataclass(frozen=True, slots=True)
class Load:
    """A target's pods, and the connections that each of their pools would use if it had enough."""

    pods: int
    per_pool: float

    def wait(self, cap: int) -> float:
        """The mean wait for a connection, in mean times of use; infinite for a saturated pool."""
        return mean_wait(cap, self.per_pool)


@dataclass(frozen=True, slots=True)
class Result:
    """One case: caps per pool by target, and the mean wait over all of its requests, three ways."""

    loads: tuple[Load, ...]
    equal: tuple[int, ...]
    by_demand: tuple[int, ...]
    best: tuple[int, ...]
    looks: int

    def mean_wait(self, caps: Sequence[int]) -> float:
        """The mean wait of all requests, in mean times of use."""
        total = sum(load.pods * load.per_pool for load in self.loads)
        waits = (
            load.pods * load.per_pool * load.wait(cap) for load, cap in zip(self.loads, caps, strict=True)
        )
        return sum(waits) / total

    def saturated(self, caps: Sequence[int]) -> int:
        """How many targets' pools can never catch up."""
        return sum(cap <= load.per_pool for load, cap in zip(self.loads, caps, strict=True))


def mean_wait(servers: int, load: float) -> float:
    """Erlang's C formula, divided by what is left over: the mean wait in an M/M/c queue."""
    if servers <= load:
        return math.inf
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    waits = blocked / (1 - load / servers * (1 - blocked))
    return waits / (servers - load)


def skewed_cases(count: int, seed: int = 1) -> Iterator[tuple[Load, ...]]:
    """Targets of one to three pods whose loads differ widely (Pareto, 1.1), 55 to 80 % of usable together.

    Only such as fit at all: with more than its load for every pool.
    """
    dice = random.Random(seed)  # noqa: S311 - a simulation
    while count:
        targets = [(dice.randint(1, 3), dice.paretovariate(1.1)) for _ in range(dice.randint(3, 8))]
        most = USABLE * dice.uniform(*_UTILIZATION)
        scale = most / sum(share for _, share in targets)
        loads = tuple(Load(pods, share * scale / pods) for pods, share in targets)
        if sum(load.pods * (math.floor(load.per_pool) + 1) for load in loads) <= USABLE:
            yield loads
            count -= 1


def play(loads: tuple[Load, ...]) -> Result:
    """Begin with equal shares, measure what is in use, plan anew, until nothing changes any more.

    What a saturated pool would use is never seen: only that it uses all it has.
    """
    equal = caps = _planned(loads, None, None)
    used: list[float | None] = [None] * len(loads)
    looks = 0
    while looks < _MOST_LOOKS:
        looks += 1
        before, used = used, [_measured(*item) for item in zip(loads, caps, used, strict=True)]
        caps = _planned(loads, caps, used)
        if before == used:
            break
    return Result(loads, equal, caps, best_caps(loads), looks)


def _measured(load: Load, cap: int, used: float | None) -> float | None:
    in_use = load.pods * min(load.per_pool, cap)
    return next_load(used, in_use, load.pods * cap, USABLE)


def _planned(
    loads: Sequence[Load], caps: Sequence[int] | None, used: Sequence[float | None] | None
) -> tuple[int, ...]:
    """The caps by the operator's own planner."""
    targets = tuple(
        _target(position, load, caps[position] if caps else None, used[position] if used else None)
        for position, load in enumerate(loads)
    )
    decided = plan(Inputs(USABLE, targets, ReserveFor.CURRENT_PODS))
    return tuple(min(share.final_cap for share in item.shares) for item in decided.targets)


def _target(position: int, load: Load, cap: int | None, used: float | None) -> Target:
    sizes = None if cap is None else PoolSizes(cap, 0)
    pods = tuple(
        Pod(
            f"{position}-{number}",
            f"{position}-{number}",
            PodStage.RUNNING,
            Charge(cap or 1),
            share=PodShare(sizes, is_acknowledged=True, applied=Applied(1, cap or 1, cap or 1)),
        )
        for number in range(load.pods)
    )
    workload = Workload(load.pods, RolloutLimit(0))
    return Target(
        TargetKey("Deployment", f"load-{position}"),
        TargetBounds(),
        workload,
        pods,
        PoolSizes(1, 0),
        is_in_place=True,
        load=used,
    )


def best_caps(loads: Sequence[Load]) -> tuple[int, ...]:
    """The caps with the least mean wait, all pods of a target alike: found one connection at a time.

    Each next connection of a pool saves less than the one before, so that taking the best next step is the
    best in the end, but for what is left over when no whole step fits any more.
    """
    caps = [math.floor(load.per_pool) + 1 for load in loads]
    left = USABLE - sum(load.pods * cap for load, cap in zip(loads, caps, strict=True))
    queue = [
        _next_step(load, cap, position) for position, (load, cap) in enumerate(zip(loads, caps, strict=True))
    ]
    heapq.heapify(queue)
    while queue:
        _, position = heapq.heappop(queue)
        load = loads[position]
        if load.pods <= left:
            left -= load.pods
            caps[position] += 1
            heapq.heappush(queue, _next_step(load, caps[position], position))
    return tuple(caps)


def _next_step(load: Load, cap: int, position: int) -> tuple[float, int]:
    """What the next connection per pool saves per connection, the most first."""
    return -load.per_pool * (load.wait(cap) - load.wait(cap + 1)), position
