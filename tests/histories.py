"""Histories of ConfigMaps, for tests."""

from __future__ import annotations

from poolbudget.planning.history import Entry, History
from poolbudget.planning.inputs import PodCost

ONE = PodCost(1, 0)


def told(*caps: tuple[int, float], cost: PodCost = ONE) -> History:
    """A history of caps, each since a time; the next one arrived at that time."""
    ends = [since for _, since in caps[1:]]
    return History(
        tuple(
            Entry(number + 1, cap, cost, since, ends[number] if number < len(ends) else None)
            for number, (cap, since) in enumerate(caps)
        )
    )
