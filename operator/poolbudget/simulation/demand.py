"""Skewed loads: what shares by demand come to beside equal ones, and beside the best there is.

Each pool is a queue with random arrivals and as many servers as it may open connections (M/M/c), for which
the mean wait is known (Erlang's C formula). A target's pods share its load evenly.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from poolbudget.planning.demand import NOTHING, Demand, InUse, averaged, next_demand
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

LOOK = 5.0
"""Seconds between two looks at what is in use."""

DURATION, SETTLED = 900.0, 600.0
"""Seconds of a case, and after which it is judged."""


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
    """One case: caps per pool by target; those by demand at each look once it has settled."""

    loads: tuple[Load, ...]
    equal: tuple[int, ...]
    by_demand: tuple[tuple[int, ...], ...]
    best: tuple[int, ...]

    def mean_wait(self, caps: Sequence[int]) -> float:
        """The mean wait of all requests, in mean times of use."""
        total = sum(load.pods * load.per_pool for load in self.loads)
        waits = (
            load.pods * load.per_pool * load.wait(cap) for load, cap in zip(self.loads, caps, strict=True)
        )
        return sum(waits) / total

    def mean_wait_by_demand(self) -> float:
        """The same, over all the time."""
        return sum(self.mean_wait(caps) for caps in self.by_demand) / len(self.by_demand)

    def saturated(self, caps: Sequence[int]) -> int:
        """How many targets' pools can never catch up."""
        return sum(cap <= load.per_pool for load, cap in zip(self.loads, caps, strict=True))

    @property
    def changes(self) -> int:
        """How often shares changed after it had settled."""
        return sum(one != other for one, other in itertools.pairwise(self.by_demand))


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


def play(loads: tuple[Load, ...], seed: int = 1, in_use: Look | None = None) -> Result:
    """Begin with equal shares, look at what is in use every 5 s, plan anew where that has changed.

    `in_use` gives what one pool uses at a moment; by default it is chance, as in a queue at rest.
    """
    at_random = AtRandom(random.Random(seed))  # noqa: S311 - a simulation
    look = at_random if in_use is None else in_use
    equal = caps = _planned(loads, None, None)
    averages: list[list[InUse | None]] = [[None] * load.pods for load in loads]
    demands: list[Demand | None] = [None] * len(loads)
    seen = []
    for number in range(1, int(DURATION / LOOK) + 1):
        before = demands
        demands = [
            _measured(load, cap, averages[position], demands[position], number * LOOK, look)
            for position, (load, cap) in enumerate(zip(loads, caps, strict=True))
        ]
        if _loads_of(before) != _loads_of(demands):
            caps = _planned(loads, caps, _loads_of(demands))
        if number * LOOK > SETTLED:
            seen.append(caps)
    return Result(loads, equal, tuple(seen), best_caps(loads))


Look = Callable[[float, int], float]
"""What a pool uses at a moment that wants a load and has a cap."""


class AtRandom:
    """Connections in use in an M/M/c queue at rest, drawn anew each time; all, if it is saturated."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def __call__(self, load: float, cap: int) -> int:
        """One draw."""
        if load >= cap:
            return cap
        return self._dice.choices(range(cap + 1), cum_weights=_distribution(load, cap))[0]


@functools.lru_cache(maxsize=4096)
def _distribution(load: float, cap: int) -> tuple[float, ...]:
    """Cumulated weights of 0 to all in use: those of the queue count as all."""
    weight, total, found = 1.0, 0.0, []
    for count in range(cap):
        total += weight
        found.append(total)
        weight *= load / (count + 1)
    return (*found, total + weight / (1 - load / cap))


def _loads_of(demands: Sequence[Demand | None]) -> list[float | None]:
    return [None if demand is None else demand.planned for demand in demands]


def _measured(
    load: Load, cap: int, averages: list[InUse | None], before: Demand | None, time: float, look: Look
) -> Demand | None:
    """What one look makes of a target; `averages` of its pods are brought up to date."""
    for pod, average in enumerate(averages):
        averages[pod] = averaged(average, float(look(load.per_pool, cap)), LOOK)
    measured = sum((average for average in averages if average is not None), NOTHING)
    return next_demand(before, measured, load.pods * cap, USABLE, time)


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
