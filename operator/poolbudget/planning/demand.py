"""Shares by demand: measured load is filled first, and what is left goes where waiting falls the most.

Load is how many connections are in use at a time. Under random arrivals a pool needs its load, and on top
of it some multiple of the load's square root to keep waiting short (square-root staffing: Halfin and Whitt,
Heavy-traffic limits for queues with many exponential servers, Operations Research 29, 1981); with one
multiple for all, connections are worth the same everywhere.

A target's pods are taken to share its work evenly, as a Service spreads it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from poolbudget.planning.inputs import PodCost, Target
from poolbudget.planning.shares import Claim, fair_caps

WANTS_MORE = 0.9
"""Part of its cap from which a target counts as one that could use more: what it would use is not seen."""

_STEP = 1.5
"""How many times its cap a target is taken to want that uses all of it."""

_STEADY = 0.35
"""Square roots of the load by which it may change before shares follow: chance alone moves it by less."""

_LEAST = 0.25
"""Connections in use by which an idle pool's part of the spare is dealt."""

_AVERAGE, _RECENT = 60.0, 30.0
"""Seconds over which what is in use is averaged: to tell a load from chance, and to see that a target runs
out of connections."""

_FALLING = 120.0
"""Seconds in which most of a fall is believed: a pod that restarts, or a minute's lull, must not cost a
target what it needs again."""

_LONGEST = 15.0
"""Seconds that one look may stand for, after an outage."""

_DIGITS = 10
"""Loads are kept in tenths of a connection."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A target's load, in connections: as it is by now, and as shares were worked out with last.

    `time` is of the look that it comes from (seconds since 1970).
    """

    level: float
    planned: float
    time: float


@dataclass(frozen=True, slots=True)
class InUse:
    """Connections in use: over the last minute, and of late."""

    average: float = 0.0
    recent: float = 0.0

    def __add__(self, other: InUse) -> InUse:
        return InUse(self.average + other.average, self.recent + other.recent)


NOTHING = InUse()


def averaged(before: InUse | None, now: float, elapsed: float) -> InUse:
    """What one pod has in use, by one look more; `elapsed` are the seconds since the last one."""
    if before is None:
        return InUse(now, now)
    elapsed = min(max(0.0, elapsed), _LONGEST)
    return InUse(
        now + (before.average - now) * math.exp(-elapsed / _AVERAGE),
        now + (before.recent - now) * math.exp(-elapsed / _RECENT),
    )


def next_demand(
    before: Demand | None, measured: InUse | None, cap: int, most: int, time: float
) -> Demand | None:
    """The load of a target to plan with: the one planned with before, unless that is off by much.

    `measured` is what its pods had in use at `time`, None where nobody has seen it, and `cap` what they were
    told, all together. It rises at once, and falls over minutes. A target that uses nearly all that it has
    would use more, how much is not seen: up to `_STEP` times its cap is tried. Never more than `most`.
    """
    if measured is None or (before is not None and time <= before.time):
        return before
    wanted = min(float(most), max(measured.average, _wanted(measured.recent, cap)))
    if before is None:
        return Demand(wanted, _in_tenths(wanted), time)
    level = wanted
    if wanted < before.level:
        elapsed = min(time - before.time, _LONGEST)
        level = wanted + (before.level - wanted) * math.exp(-elapsed / _FALLING)
    level = min(level, float(most))
    is_steady = abs(level - before.planned) <= _STEADY * math.sqrt(max(level, _LEAST))
    planned = min(before.planned, float(most)) if is_steady else _in_tenths(level)
    return Demand(level, planned, time)


def _in_tenths(load: float) -> float:
    return math.ceil(load * _DIGITS) / _DIGITS


def _wanted(recent: float, cap: int) -> float:
    """From `WANTS_MORE` on what was in use of late and more, in the end `_STEP` times the cap; 0 below.

    Steep: a pool that is nearly full shows nearly all that it wants.
    """
    if not cap or recent <= WANTS_MORE * cap:
        return 0.0
    hidden = min(1.0, (recent / cap - WANTS_MORE) / (1 - WANTS_MORE)) ** 4
    return recent + hidden * max(0.0, _STEP * cap - recent)


def told_caps(target: Target) -> int:
    """What all pools of a target's pods were told together, in connections; those that end use it, too."""
    return sum(
        pod.share.told.cap * _pools(target, pod.share.cost)
        for pod in target.pods
        if pod.share is not None and pod.share.told is not None
    )


def pools(target: Target, missing: int) -> int:
    """The pools of a target's living pods, and of those that are `missing`."""
    living = sum(
        _pools(target, None if pod.share is None else pod.share.cost) for pod in target.pods if pod.is_live
    )
    return living + missing * target.bounds.pools_per_pod


def load_per_pool(target: Target, missing: int) -> float | None:
    """The load of each of a target's pools, as if it were spread evenly over pods, `missing` ones too."""
    return None if target.load is None else target.load / max(1, pools(target, missing))


def _pools(target: Target, cost: PodCost | None) -> int:
    """Of one pod, by the workers of its time."""
    return target.bounds.pools_per_pod if cost is None else cost.pools


def dealt_caps(usable: int, claims: Sequence[Claim]) -> list[int]:
    """The cap of each claim: by weight, or by demand where loads are known.

    By demand every pool first gets more than its load, in weighted max-min fairness where there is not
    enough for all. The spare is dealt by weight times the square root of the load.
    """
    if all(claim.load is None for claim in claims):
        return fair_caps(usable, claims)
    wanted = [_up_to_load(claim) for claim in claims]
    filled = fair_caps(usable, wanted)
    if any(cap < claim.limit for cap, claim in zip(filled, wanted, strict=True)):
        # What rounding has left is somebody's all the same.
        return fair_caps(
            usable, [replace(claim, floor=cap) for claim, cap in zip(claims, filled, strict=True)]
        )
    return fair_caps(usable, [_beyond_load(*item) for item in zip(claims, filled, strict=True)])


def _up_to_load(claim: Claim) -> Claim:
    """Up to the least cap with which a pool can ever catch up with its load."""
    if claim.load is None:
        return claim
    return replace(claim, limit=max(claim.floor, min(claim.limit, math.floor(claim.load) + 1)))


def _beyond_load(claim: Claim, filled: int) -> Claim:
    if claim.load is None:
        return replace(claim, floor=filled, limit=filled)
    weight = claim.weight * math.sqrt(max(claim.load, _LEAST))
    return replace(claim, floor=filled, base=claim.load, weight=weight)
