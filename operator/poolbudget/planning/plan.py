"""The plan: what each target's pods are told, and whether it all fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from poolbudget.planning.expected import expected_pods
from poolbudget.planning.inputs import Inputs, PoolSizes, Target, TargetKey
from poolbudget.planning.shares import Claim, fair_caps
from poolbudget.planning.sizes import split_cap


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What one target's starting containers are told.

    `sizes` is what the ConfigMap shall say now, None for nothing. `fair_cap` is the target's fair share,
    and `waits_to_raise` says that it is larger than `sizes` and held back for a moment.
    """

    key: TargetKey
    pods: int
    expected_pods: int
    fair_cap: int | None
    sizes: PoolSizes | None
    allocated: int
    arithmetic: str
    waits_to_raise: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole budget; sums are in connections.

    `floor_sum` is what the expected pods need at their floors, `max_pods` how many pods fit at their
    floors; both are None while the capacity is unknown.
    """

    targets: tuple[TargetPlan, ...]
    pods: int
    expected_pods: int
    allocated: int
    floor_sum: int
    feasible: bool
    max_pods: int | None
    arithmetic: str

    def target(self, key: TargetKey) -> TargetPlan:
        """The plan of one target; raises KeyError for one that is not in the plan."""
        for target in self.targets:
            if target.key == key:
                return target
        raise KeyError(str(key))

    @property
    def waits_to_raise(self) -> bool:
        """Whether any target's larger share is held back for a moment."""
        return any(target.waits_to_raise for target in self.targets)


def plan(inputs: Inputs) -> Plan:
    """Work out what every target's pods may open, from what the database allows.

    Each target gets one cap for all of its expected pods, by weighted max-min. A smaller cap than the
    published one is told at once, a larger one only when `may_raise` is set. While the capacity is
    unknown what is published stays; a new target gets its `minPerPool`, and nothing where none is given.
    """
    claims = [Claim(expected_pods(target, inputs.reserve_for), target.bounds) for target in inputs.targets]
    caps = _caps(inputs, claims)
    targets = tuple(
        _target_plan(target, claim, cap, inputs)
        for target, claim, cap in zip(inputs.targets, claims, caps, strict=True)
    )
    floor_sum = sum(claim.floor_cost for claim in claims)
    allocated = sum(target.allocated for target in targets)
    return Plan(
        targets=targets,
        pods=sum(target.pods for target in targets),
        expected_pods=sum(claim.pods for claim in claims),
        allocated=allocated,
        floor_sum=floor_sum,
        feasible=inputs.usable is None or floor_sum <= inputs.usable,
        max_pods=None if inputs.usable is None else max_pods(inputs.usable, claims),
        arithmetic=_sum_in_words(targets, allocated),
    )


def _caps(inputs: Inputs, claims: Sequence[Claim]) -> list[int | None]:
    if inputs.usable is None:
        return [_cap_without_capacity(target) for target in inputs.targets]
    return list(fair_caps(inputs.usable, claims))


def _cap_without_capacity(target: Target) -> int | None:
    return target.bounds.min_per_pool if target.published is None else target.published.cap


def _sizes(target: Target, cap: int | None, inputs: Inputs) -> PoolSizes | None:
    """What to publish: the cap split in two, or what is published where that must not grow yet."""
    if cap is None:
        return None
    published = target.published
    fair = split_cap(cap, inputs.pool_size_percent)
    if published is None:
        return fair
    unchanged = inputs.usable is None or (fair.cap > published.cap and not inputs.may_raise)
    return published if unchanged else fair


def _target_plan(target: Target, claim: Claim, cap: int | None, inputs: Inputs) -> TargetPlan:
    sizes = _sizes(target, cap, inputs)
    pods = len(target.pods)
    allocated = 0 if sizes is None else pods * target.bounds.cost(sizes.cap)
    fair = None if cap is None else split_cap(cap, inputs.pool_size_percent)
    return TargetPlan(
        key=target.key,
        pods=pods,
        expected_pods=claim.pods,
        fair_cap=cap,
        sizes=sizes,
        allocated=allocated,
        arithmetic=_pods_in_words(target, sizes, allocated),
        waits_to_raise=sizes is not None and fair is not None and sizes.cap < fair.cap,
    )


def max_pods(usable: int, claims: Sequence[Claim]) -> int:
    """How many pods fit at their floors.

    With several targets, those of the most expensive one are assumed to come on top; where not even
    the expected pods fit, the same mix of pods is made smaller.
    """
    pods = sum(claim.pods for claim in claims)
    floors = sum(claim.floor_cost for claim in claims)
    if not claims:
        return 0
    if floors > usable:
        return max(0, pods * usable // floors)
    dearest = max(claim.bounds.cost(claim.bounds.floor) for claim in claims)
    return pods + (usable - floors) // dearest


def _pods_in_words(target: Target, sizes: PoolSizes | None, allocated: int) -> str:
    if sizes is None:
        return "nothing is published before the capacity is known"
    bounds = target.bounds
    each = f"({sizes.pool_size} + {sizes.max_overflow})"
    if bounds.pools_per_pod > 1:
        each = f"{bounds.workers} workers x {bounds.pools_per_worker} pools x {each}"
    if bounds.extra_connections:
        each = f"({each} + {bounds.extra_connections} extra)"
    return f"{len(target.pods)} pods x {each} = {allocated}"


def _sum_in_words(targets: Sequence[TargetPlan], allocated: int) -> str:
    parts = " + ".join(str(target.allocated) for target in targets)
    return f"{parts} = {allocated}" if len(targets) > 1 else str(allocated)
