"""Weighted max-min fair shares over pods, in whole connections per pool."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from poolbudget.planning.inputs import TargetBounds


@dataclass(frozen=True, slots=True)
class Claim:
    """A target's pods as one claim: all of them get the same cap."""

    pods: int
    bounds: TargetBounds

    @property
    def floor_cost(self) -> int:
        """Connections of all pods at their floor."""
        return self.pods * self.bounds.cost(self.bounds.floor)

    @property
    def step_cost(self) -> int:
        """Connections that one more per pool costs."""
        return self.pods * self.bounds.pools_per_pod

    def limit(self, usable: int) -> int:
        """The largest cap worth considering."""
        most = usable if self.bounds.max_per_pool is None else self.bounds.max_per_pool
        return max(self.bounds.floor, most)


def fair_caps(usable: int, claims: Sequence[Claim]) -> list[int]:
    """The fair cap of each claim: its weight's share, within its floor and maximum.

    The lowest cap (divided by weight) is as high as it can be, then the second lowest, and so on:
    max-min fairness, found by raising a water level (Bertsekas and Gallager, Data Networks, 6.5.2).
    Where even the floors exceed `usable`, every claim gets its floor and the caller has to say so.
    """
    free = usable - sum(claim.floor_cost for claim in claims)
    if free <= 0:
        return [claim.bounds.floor for claim in claims]
    level = _water_level(usable, free, claims)
    caps = [_cap_at(level, usable, claim) for claim in claims]
    _deal_remainder(usable, claims, caps)
    return caps


def _cap_at(level: float, usable: int, claim: Claim) -> int:
    wanted = int(level * claim.bounds.weight)
    return min(max(wanted, claim.bounds.floor), claim.limit(usable))


def _water_level(usable: int, free: int, claims: Sequence[Claim]) -> float:
    """The level at which the claims, if caps could be fractions, use up what is free.

    A claim begins to fill at floor / weight and is full at maximum / weight; between two such points
    the use grows in a straight line. Slightly underestimated, so that rounding never overshoots.
    """
    turns: list[tuple[float, int]] = []
    for claim in claims:
        weight = claim.bounds.weight
        slope = claim.step_cost * weight
        turns.append((claim.bounds.floor / weight, slope))
        turns.append((claim.limit(usable) / weight, -slope))
    turns.sort()
    level, slope_now, left = 0.0, 0, float(free)
    for turn, slope_change in turns:
        if slope_now > 0:
            needed = (turn - level) * slope_now
            if needed >= left:
                level += left / slope_now
                break
            left -= needed
        level = turn
        slope_now += slope_change
    return level * (1 - 1e-9)


def _deal_remainder(usable: int, claims: Sequence[Claim], caps: list[int]) -> None:
    """Hand out what rounding left: one connection per pool to whoever is lowest and still fits."""
    left = usable - sum(claim.pods * claim.bounds.cost(cap) for claim, cap in zip(claims, caps, strict=True))
    queue = [
        (cap / claim.bounds.weight, claim.step_cost, position)
        for position, (claim, cap) in enumerate(zip(claims, caps, strict=True))
        if claim.step_cost and cap < claim.limit(usable)
    ]
    heapq.heapify(queue)
    while queue:
        _, step, position = heapq.heappop(queue)
        if step > left:
            continue
        left -= step
        caps[position] += 1
        claim = claims[position]
        if caps[position] < claim.limit(usable):
            heapq.heappush(queue, (caps[position] / claim.bounds.weight, step, position))
