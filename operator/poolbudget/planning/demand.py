"""Shares by demand: measured load is filled first, and what is left goes where waiting falls the most.

Load is how many connections are in use at a time. Under random arrivals a pool needs its load, and on top
of it some multiple of the load's square root to keep waiting short (square-root staffing: Halfin and Whitt,
Heavy-traffic limits for queues with many exponential servers, Operations Research 29, 1981); with one
multiple for all, connections are worth the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from poolbudget.planning.inputs import Target
from poolbudget.planning.shares import Claim, fair_caps

WANTS_MORE = 0.9
"""Part of its cap from which a target counts as one that could use more: what it would use is not seen."""

_STEP = 1.5
"""How many times its cap a target is taken to want that uses all of it."""

_STEADY = 0.5
"""Square roots of the load by which it may change before shares follow: chance alone moves it by less."""

_LEAST = 0.25
"""Connections in use by which an idle pool's part of the spare is dealt."""

_DIGITS = 10
"""Loads are kept in tenths of a connection."""


def next_load(used: float | None, measured: float | None, cap: int, most: int) -> float | None:
    """The load of a target to plan with, in connections: the one used before, unless that is off by much.

    `measured` is what its pods had in use of late, None where nobody knows, and `cap` what they were told,
    all together. A target that uses nearly all of it would use more, how much is not seen: up to `_STEP`
    times its cap is tried, and no more than `most`.
    """
    if measured is None:
        return used
    load = min(float(most), _wanted(measured, cap))
    if used is not None:
        if abs(load - used) <= _STEADY * math.sqrt(max(load, _LEAST)):
            return used
        # Halfway down: what was tried upwards would else be tried again and again.
        load = max(load, (load + used) / 2)
    return math.ceil(load * _DIGITS) / _DIGITS


def _wanted(measured: float, cap: int) -> float:
    """From `WANTS_MORE` on more than what is measured, in the end `_STEP` times the cap.

    Without a jump, or shares would go to and fro; and steep, since a pool that is nearly full shows nearly
    all that it wants.
    """
    if not cap or measured <= WANTS_MORE * cap:
        return measured
    hidden = min(1.0, (measured / cap - WANTS_MORE) / (1 - WANTS_MORE)) ** 4
    return measured + hidden * max(0.0, _STEP * cap - measured)


def told_caps(target: Target) -> int:
    """What all pools of a target's pods were told together, in connections."""
    shares = ((pod.share, target.bounds) for pod in target.pods if pod.share is not None and pod.is_live)
    return sum(
        share.told.cap * (bounds.pools_per_pod if share.cost is None else share.cost.pools)
        for share, bounds in shares
        if share.told is not None
    )


def load_per_pool(target: Target, missing: int) -> float | None:
    """The load of each of a target's pools, as if it were spread evenly over pods, `missing` ones too."""
    if target.load is None:
        return None
    pods = sum(pod.is_live for pod in target.pods) + missing
    return target.load / max(1, pods * target.bounds.pools_per_pod)


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
