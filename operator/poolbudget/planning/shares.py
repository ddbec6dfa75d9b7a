"""Weighted max-min fair shares over pods, in whole connections per pool."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from poolbudget.planning.inputs import PodCost

_HAIR = 1e-9
"""What is lost to rounding, in connections."""


@dataclass(frozen=True, slots=True)
class Group:
    """Pods of a target that cost the same: at least what they hold already, more at a larger cap."""

    pods: int
    cost: PodCost
    held: int = 0

    def at(self, cap: int) -> int:
        """Connections of all pods once their target's cap is this."""
        return self.pods * max(self.held, self.cost.at(cap))

    def filled_from(self) -> float:
        """The cap from which on a larger one costs more than what is held."""
        return (self.held - self.cost.extra) / self.cost.pools

    def step(self, cap: int) -> int:
        """Connections that the next one per pool costs, above a cap."""
        if not self.held:
            return self.slope
        return self.pods * max(0, min(self.cost.pools, self.cost.at(cap + 1) - self.held))

    @property
    def slope(self) -> int:
        """Connections that one more per pool costs."""
        return self.pods * self.cost.pools


@dataclass(frozen=True, slots=True)
class Claim:
    """A target's claim: all of its pods are told the same cap, between `floor` and `limit`.

    `fixed` is held in any case, by pods that will not read another cap. Where `base` is given, what counts
    as fair begins there: caps are compared by how far they are above it, divided by the weight. `load` is
    what each of its pools has in use, None where that does not matter.
    """

    floor: int
    limit: int
    weight: float
    groups: tuple[Group, ...]
    fixed: int = 0
    base: float = 0.0
    load: float | None = None

    def level(self, cap: float) -> float:
        """How high a cap stands, in the unit that is made equal for all."""
        return (cap - self.base) / self.weight

    def cap(self, level: float) -> float:
        """The cap at a level."""
        return self.base + level * self.weight

    def at(self, cap: int) -> int:
        """Connections of the whole claim at a cap."""
        total = self.fixed
        for group in self.groups:
            total += group.at(cap)
        return total

    def step(self, cap: int) -> int:
        """Connections that the next one per pool costs, above a cap."""
        total = 0
        for group in self.groups:
            total += group.step(cap)
        return total


def fair_caps(usable: int, claims: Sequence[Claim]) -> list[int]:
    """The fair cap of each claim: its weight's share, within its floor and limit.

    The lowest cap (divided by weight) is as high as it can be, then the second lowest, and so on:
    max-min fairness, found by raising a water level (Bertsekas and Gallager, Data Networks, 6.5.2).
    What is held already is never taken away: the level rises around it. Where even the floors exceed
    `usable`, every claim gets its floor and the caller has to say so.
    """
    free = usable - sum(claim.at(claim.floor) for claim in claims)
    if free < 0:
        return [claim.floor for claim in claims]
    caps = _whole_caps(_water_level(free, claims), claims)
    _deal_remainder(usable, claims, caps)
    return caps


def _whole_caps(level: float, claims: Sequence[Claim]) -> list[int]:
    """Whole caps at the level that the lowest of them reaches, and not beyond it.

    Rounded down one by one, a claim of large weight would be ahead of others by what it lost least, and
    that would be missing where somebody lower needs it.
    """
    rounded = [(claim, int(claim.cap(level))) for claim in claims]
    open_ones = [claim.level(cap) for claim, cap in rounded if cap < claim.limit]
    if not open_ones:
        return [claim.limit for claim in claims]
    lowest = min(open_ones)
    return [min(max(math.ceil(claim.cap(lowest) - _HAIR), claim.floor), claim.limit) for claim in claims]


def _water_level(free: int, claims: Sequence[Claim]) -> float:
    """The level at which the claims, if caps could be fractions, use up what is free.

    A group begins to cost more where its claim's floor and what it holds are passed, and is full at
    the claim's limit; between two such points the use grows in a straight line. Slightly
    underestimated, so that rounding never overshoots.
    """
    turns: list[tuple[float, float]] = []
    for claim in claims:
        for group in claim.groups:
            begin = max(float(claim.floor), group.filled_from())
            if begin < claim.limit:
                turns.append((claim.level(begin), group.slope * claim.weight))
                turns.append((claim.level(claim.limit), -group.slope * claim.weight))
    turns.sort()
    level, slope, left = turns[0][0] if turns else 0.0, 0.0, float(free)
    for turn, change in turns:
        if slope > _HAIR:
            needed = (turn - level) * slope
            if needed >= left:
                level += left / slope
                return level - abs(level) * _HAIR
            left -= needed
        level = turn
        slope += change
    # Everybody is full; claims that cost nothing more have no turn of their own.
    return max((claim.level(claim.limit) for claim in claims), default=0.0)


def _deal_remainder(usable: int, claims: Sequence[Claim], caps: list[int]) -> None:
    """Hand out what rounding left: one connection per pool to whoever is lowest and still fits.

    Of several that are equally low the one that costs least comes first, so that the most of them can
    follow: the order in which claims are given decides only between equal ones.
    """
    left = usable - sum(claim.at(cap) for claim, cap in zip(claims, caps, strict=True))
    queue = [
        _turn(claim, cap, position) for position, (claim, cap) in enumerate(zip(claims, caps, strict=True))
    ]
    heapq.heapify(queue)
    while queue:
        _, step, _, _, position = heapq.heappop(queue)
        claim, cap = claims[position], caps[position]
        if cap == claim.limit or step > left:
            continue
        left -= step
        caps[position] = cap + 1
        heapq.heappush(queue, _turn(claim, cap + 1, position))


def _turn(claim: Claim, cap: int, position: int) -> tuple[float, int, int, int, int]:
    """Who comes first when a remainder is dealt, and what the next connection per pool costs."""
    return claim.level(cap), claim.step(cap), claim.limit, claim.floor, position
