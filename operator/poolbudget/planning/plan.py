"""The plan: what each target's starting containers are told, and whether it all fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from poolbudget.planning.demand import dealt_caps, load_per_pool
from poolbudget.planning.expected import ComingPods, coming_pods
from poolbudget.planning.in_place import PodPlan, final_claims, pod_plans, present_claims
from poolbudget.planning.inputs import Inputs, PodStage, PoolSizes, Target, TargetKey
from poolbudget.planning.shares import Claim, Group
from poolbudget.planning.sizes import split_cap
from poolbudget.planning.words import sum_in_words, target_in_words


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What one target's starting containers are told.

    `sizes` is what the ConfigMap shall say now, None for nothing, and `start` what it may say once it
    may be raised (a cap of `start_cap`). `fair_cap` is what each pool would get if all pods started
    anew. `allocated` is what the target's pods may open, `certain` what they may open for sure. `shares`
    has what each pod is to be told that follows its share.
    """

    key: TargetKey
    pods: int
    coming: ComingPods
    fair_cap: int | None
    start_cap: int | None
    start: PoolSizes | None
    sizes: PoolSizes | None
    allocated: int
    certain: int
    arithmetic: str
    is_in_place: bool = False
    shares: tuple[PodPlan, ...] = ()

    @property
    def held_back(self) -> bool:
        """Whether less than the fair share is told, since other pods hold more than theirs."""
        if self.is_in_place:
            return self.waits_to_grow
        return self.start_cap is not None and self.fair_cap is not None and self.start_cap < self.fair_cap

    @property
    def waits_to_grow(self) -> bool:
        """Whether a pod that runs could be told more, once others have given it up."""
        return any(share.waits_to_grow for share in self.shares)

    @property
    def waits_to_raise(self) -> bool:
        """Whether more could be told than is: something for the first time, or a larger size."""
        return self.start is not None and (self.sizes is None or self.sizes.cap < self.start.cap)


class Fit(StrEnum):
    """How the sum of what all pods may open compares with what is usable."""

    FITS = "Fits"
    MAY_EXCEED = "MayExceed"
    EXCEEDS = "Exceeds"


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole budget; sums are in connections.

    `expected_pods` are those that exist and those that may come, `floor_sum` what they need at their
    floors and `max_pods` how many pods fit at their floors (None while the capacity is unknown).
    `next_step` is what is allocated once the pods have started that may start before the next plan.
    """

    targets: tuple[TargetPlan, ...]
    pods: int
    expected_pods: int
    allocated: int
    certain: int
    next_step: int
    floor_sum: int
    feasible: bool
    max_pods: int | None
    arithmetic: str

    def fit(self, usable: int) -> Fit:
        """Whether all pods, and those of the next step, stay within `usable` connections."""
        if self.certain > usable:
            return Fit.EXCEEDS
        return Fit.FITS if max(self.allocated, self.next_step) <= usable else Fit.MAY_EXCEED

    def target(self, key: TargetKey) -> TargetPlan:
        """The plan of one target; raises KeyError for one that is not in the plan."""
        for target in self.targets:
            if target.key == key:
                return target
        raise KeyError(str(key))

    @property
    def waits_to_raise(self) -> bool:
        """Whether any target could be told more."""
        return any(target.waits_to_raise for target in self.targets)

    @property
    def shares(self) -> tuple[PodPlan, ...]:
        """What each pod is to be told that follows its share, of all targets."""
        return tuple(share for target in self.targets for share in target.shares)


def plan(inputs: Inputs) -> Plan:
    """Work out what every target's starting containers may be told, from what the database allows.

    The sum of what all pods may open, of what those about to start will be told and of what is reserved
    for others at their floors stays within `usable`. Within that, caps are weighted max-min fair. A
    smaller cap than the published one is told at once, a larger one only when `may_raise` is set. While
    the capacity is unknown what is published stays; a new target gets its `minPerPool`, and nothing
    where none is given.
    """
    coming = [coming_pods(target, inputs.reserve_for) for target in inputs.targets]
    percent, may_grow = inputs.pool_size_percent, inputs.may_grow
    shares: list[tuple[PodPlan, ...]] = [
        pod_plans(target, (), (), percent, may_grow) for target in inputs.targets
    ]
    if inputs.usable is None:
        fair: list[int | None] = [_cap_without_capacity(target) for target in inputs.targets]
        starts = fair
    else:
        reserve = _reserve(inputs.usable, inputs.targets, coming)
        free = inputs.usable - reserve
        loads = [
            load_per_pool(target, item.missing) for target, item in zip(inputs.targets, coming, strict=True)
        ]
        wishes = [_claim_afresh(*item, free) for item in zip(inputs.targets, coming, loads, strict=True)]
        fair_shares = dealt_caps(free, wishes)
        claims = [_claim(*item) for item in zip(inputs.targets, coming, fair_shares, strict=True)]
        finals = _finals(inputs, coming, loads, claims, free)
        nows = [present_claims(*item) for item in zip(inputs.targets, finals, loads, strict=True)]
        starts_now, caps_now = _dealt(free, claims, nows)
        shares = [
            pod_plans(target, final, now, percent, may_grow)
            for target, final, now in zip(inputs.targets, finals, caps_now, strict=True)
        ]
        fair, starts = list(fair_shares), list(starts_now)
    targets = tuple(
        _target_plan(inputs, *item) for item in zip(inputs.targets, coming, fair, starts, shares, strict=True)
    )
    return _summary(inputs, targets, coming)


def _finals(
    inputs: Inputs,
    coming: Sequence[ComingPods],
    loads: Sequence[float | None],
    claims: Sequence[Claim],
    free: int,
) -> list[list[int]]:
    """The cap of each pod that can be told one, once everybody has given up what is too much.

    Pods that are asked for already count as if they were there: whoever has to shrink for them is told so
    once, and before they come.
    """
    usable = free + sum(
        (item.missing + _without_node(target)) * target.bounds.cost(target.bounds.start_per_pool)
        for target, item in zip(inputs.targets, coming, strict=True)
        if target.is_in_place
    )
    pods = [
        final_claims(target, item.missing + _without_node(target), _limit(target, usable), load)
        for target, item, load in zip(inputs.targets, coming, loads, strict=True)
    ]
    return _dealt(usable, claims, pods)[1]


def _dealt(
    free: int, claims: Sequence[Claim], pods: Sequence[Sequence[Claim]]
) -> tuple[list[int], list[list[int]]]:
    """Fair caps of targets and of single pods, all dealt out of the same connections."""
    caps = dealt_caps(free, [*claims, *(claim for group in pods for claim in group)])
    of_pods, at = [], len(claims)
    for group in pods:
        of_pods.append(caps[at : at + len(group)])
        at += len(group)
    return caps[: len(claims)], of_pods


def _reserve(usable: int, targets: Sequence[Target], coming: Sequence[ComingPods]) -> int:
    """Connections kept for possible pods, at their floors.

    Where not even the floors of all of them fit, they get at most half: an autoscaler's maximum that is
    far too high must not strangle the pods that run. `Feasible` says so.
    """
    wanted = sum(_kept(target, item) for target, item in zip(targets, coming, strict=True))
    floors = _floor_sum(targets, coming)
    return wanted if floors <= usable else min(wanted, usable // 2)


def _kept(target: Target, coming: ComingPods) -> int:
    """Connections kept for pods of a target that are not there.

    Of one that is in place those of the next step need what they start with, and only that: whoever runs
    gives up the rest within a second. Later ones find room in the same way.
    """
    if target.is_in_place:
        pods = coming.starting + _without_node(target)
        return pods * target.bounds.cost(target.bounds.start_per_pool)
    return coming.reserved * target.bounds.cost(target.bounds.floor)


def _floor_sum(targets: Sequence[Target], coming: Sequence[ComingPods]) -> int:
    """What the pods that exist and those that may come need at their floors."""
    return sum(
        _present(target) * target.bounds.cost(target.bounds.floor)
        + (item.starting + item.reserved) * target.bounds.cost(_least_start(target))
        for target, item in zip(targets, coming, strict=True)
        if not target.is_former
    )


def _present(target: Target) -> int:
    """Pods that are there; of those whose end is confirmed only connections may be left."""
    return sum(pod.stage is not PodStage.ENDED for pod in target.pods)


def _least_start(target: Target) -> int:
    """The least cap with which a pod starts."""
    floor, start = target.bounds.floor, target.bounds.start_per_pool
    return max(floor, start) if target.is_in_place else floor


def _without_node(target: Target) -> int:
    """Pods that follow their shares and have no node yet: they are told nothing, and about to start."""
    return sum(pod.share is not None and pod.is_live and not pod.has_node for pod in target.pods)


def _staying(target: Target) -> int:
    """Pods that live, and would start anew."""
    return sum(pod.stage in (PodStage.STARTING, PodStage.RUNNING) for pod in target.pods)


def _limit(target: Target, usable: int) -> int:
    most = usable if target.bounds.max_per_pool is None else target.bounds.max_per_pool
    return max(target.bounds.floor, most)


def _claim_afresh(target: Target, coming: ComingPods, load: float | None, usable: int) -> Claim:
    """The claim of a target as if its pods started anew, nothing held by anybody."""
    bounds = target.bounds
    expected = coming.missing if target.is_in_place else coming.starting
    pods = 0 if target.is_former else _staying(target) + expected
    groups = (Group(pods, bounds.pod_cost),) if pods else ()
    return Claim(bounds.floor, _limit(target, usable), bounds.weight, groups, load=load)


def _claim(target: Target, coming: ComingPods, fair_cap: int) -> Claim:
    """The claim of a target as things are: what its pods hold is theirs until they are gone."""
    bounds = target.bounds
    if target.is_former:
        held_for_good = sum(pod.charge.connections for pod in target.pods)
        return Claim(bounds.floor, bounds.floor, bounds.weight, (), held_for_good)
    if target.is_in_place:
        start = bounds.start_per_pool
        held_for_good = sum(pod.charge.at(start) for pod in target.pods if not pod.is_adjustable)
        return Claim(start, start, bounds.weight, (), held_for_good)
    fixed = sum(pod.charge.connections for pod in target.pods if pod.charge.next is None)
    held = Counter(
        (pod.charge.next, pod.charge.connections) for pod in target.pods if pod.charge.next is not None
    )
    groups = [Group(pods, cost, charge) for (cost, charge), pods in held.items() if cost is not None]
    if coming.starting:
        groups.append(Group(coming.starting, bounds.pod_cost))
    return Claim(bounds.floor, max(bounds.floor, fair_cap), bounds.weight, tuple(groups), fixed)


def _cap_without_capacity(target: Target) -> int | None:
    if target.is_in_place and target.published is None and target.bounds.min_per_pool is not None:
        return target.bounds.start_per_pool
    return target.bounds.min_per_pool if target.published is None else target.published.cap


def _sizes(target: Target, start: PoolSizes | None, inputs: Inputs) -> PoolSizes | None:
    """What to publish: what the plan gives, or what is published where that must not grow yet."""
    published = target.published
    if start is None or (published is not None and inputs.usable is None):
        return published
    if inputs.may_raise or target.is_off or (published is not None and start.cap <= published.cap):
        return start
    return published


def _target_plan(
    inputs: Inputs,
    target: Target,
    coming: ComingPods,
    fair_cap: int | None,
    cap: int | None,
    shares: tuple[PodPlan, ...],
) -> TargetPlan:
    is_told = cap is not None and not target.is_former
    start = split_cap(cap, inputs.pool_size_percent) if is_told and cap is not None else None
    sizes = None if target.is_former else _sizes(target, start, inputs)
    told = {share.uid: share.cost.at(share.sizes.cap) for share in shares}
    allocated = [
        max(pod.charge.connections, told[pod.uid])
        if pod.uid in told
        else pod.allocated(None if sizes is None else sizes.cap)
        for pod in target.pods
    ]
    return TargetPlan(
        key=target.key,
        pods=_present(target),
        coming=coming,
        fair_cap=None if target.is_former else fair_cap,
        start_cap=cap if is_told else None,
        start=start,
        sizes=sizes,
        allocated=sum(allocated),
        certain=sum(pod.charge.certain for pod in target.pods),
        arithmetic=target_in_words(target, sizes, allocated),
        is_in_place=target.is_in_place,
        shares=shares,
    )


def _summary(inputs: Inputs, targets: tuple[TargetPlan, ...], coming: Sequence[ComingPods]) -> Plan:
    allocated = sum(target.allocated for target in targets)
    floor_sum = _floor_sum(inputs.targets, coming)
    return Plan(
        targets=targets,
        pods=sum(target.pods for target in targets),
        expected_pods=sum(
            target.pods + item.starting + item.reserved for target, item in zip(targets, coming, strict=True)
        ),
        allocated=allocated,
        certain=sum(target.certain for target in targets),
        next_step=allocated + _about_to_start(inputs, targets),
        floor_sum=floor_sum,
        feasible=inputs.usable is None or floor_sum <= inputs.usable,
        max_pods=None if inputs.usable is None else max_pods(inputs.usable, inputs.targets, coming),
        arithmetic=sum_in_words([target.allocated for target in targets]),
    )


def _about_to_start(inputs: Inputs, targets: Sequence[TargetPlan]) -> int:
    """Connections of pods without a node, and of those that may come before the next plan."""
    total = 0
    for target, planned in zip(inputs.targets, targets, strict=True):
        if planned.sizes is not None:
            pods = planned.coming.starting + sum(not pod.has_node for pod in target.pods)
            total += pods * target.bounds.cost(planned.sizes.cap)
    return total


def max_pods(usable: int, targets: Sequence[Target], coming: Sequence[ComingPods]) -> int:
    """How many pods fit at their floors.

    With several targets, those of the most expensive one are assumed to come on top; where not even
    the expected pods fit, the same mix of pods is made smaller.
    """
    pods = sum(
        _present(target) + item.starting + item.reserved
        for target, item in zip(targets, coming, strict=True)
        if not target.is_former
    )
    floors = _floor_sum(targets, coming)
    if not pods:
        return 0
    if floors > usable:
        return max(0, pods * usable // floors)
    dearest = max(target.bounds.cost(target.bounds.floor) for target in targets if not target.is_former)
    return pods + (usable - floors) // dearest
