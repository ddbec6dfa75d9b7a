"""How many connections each pod has in use, smoothed over many looks at the database."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from poolbudget.capacity.sightings import Sighting
from poolbudget.cluster.demand import Loads
from poolbudget.planning.inputs import TargetKey
from poolbudget.runtime.index import BudgetKey
from poolbudget.tag import budget_part

LOOK = 5.0
"""Seconds between two looks at what is in use."""

_RISING, _FALLING = 15.0, 120.0
"""Seconds in which most of a change is believed: more is needed soon, less is no hurry."""

_STEADY = 0.5
_LEAST = 0.25
"""A change matters from half a square root of the load on; chance alone moves it by less."""


class LoadTracker:
    """Connections in use by each pod of the PoolBudgets whose shares go by demand."""

    def __init__(self) -> None:
        self._smoothed: dict[BudgetKey, dict[str, float]] = {}
        self._told: dict[BudgetKey, dict[str, float]] = {}
        self._used: dict[BudgetKey, Mapping[TargetKey, float]] = {}
        self._seen: dict[BudgetKey, float] = {}
        self._fresh: set[BudgetKey] = set()
        self.measured: set[BudgetKey] = set()

    def measure(self, key: BudgetKey, wanted: bool) -> bool:
        """Begin or end to follow a PoolBudget's pods; returns whether that has just begun."""
        is_new = wanted and key not in self.measured
        if wanted:
            self.measured.add(key)
        else:
            self.forget(key)
        return is_new

    def observe(self, key: BudgetKey, sighting: Sighting) -> bool:
        """Take a look into account; returns whether what was told last has changed by much."""
        if key not in self.measured:
            return False
        if sighting.hides_states:
            self._smoothed.pop(key, None)
            return False
        elapsed = sighting.time - self._seen.get(key, sighting.time)
        self._seen[key] = sighting.time
        before, now = self._smoothed.get(key, {}), _in_use(key, sighting)
        self._smoothed[key] = {
            pod: _smoothed(before.get(pod), float(count), elapsed) for pod, count in now.items()
        }
        self._fresh.add(key)
        if _is_near(self._told.get(key, {}), self._smoothed[key]):
            return False
        self._told[key] = self._smoothed[key]
        return True

    def loads(self, key: BudgetKey) -> Loads:
        """What is in use, once for each look, and what was planned with last."""
        in_use = self._smoothed.get(key) if key in self._fresh else None
        return Loads(in_use, self._used.get(key, {}))

    def used(self, key: BudgetKey, loads: Mapping[TargetKey, float]) -> None:
        """What is planned with from now on."""
        self._fresh.discard(key)
        self._used[key] = loads

    def forget(self, key: BudgetKey) -> None:
        """The PoolBudget is gone, or its shares do not go by demand any more."""
        self.measured.discard(key)
        self._fresh.discard(key)
        for kept in (self._smoothed, self._told, self._used, self._seen):
            kept.pop(key, None)


def _in_use(key: BudgetKey, sighting: Sighting) -> Counter[str]:
    part = budget_part(f"{key.namespace}/{key.name}")
    counts = Counter[str]()
    for row in sighting.tagged:
        if row.tag.budget == part:
            counts[row.tag.pod] += row.active
    return counts


def _smoothed(before: float | None, now: float, elapsed: float) -> float:
    if before is None:
        return now
    time = _RISING if now > before else _FALLING
    return before + (now - before) * (1 - math.exp(-max(0.0, elapsed) / time))


def _is_near(before: Mapping[str, float], now: Mapping[str, float]) -> bool:
    """Whether no pod's figure, nor all of them together, is off by more than chance alone may be."""
    pairs = [(before.get(pod), load) for pod, load in now.items()]
    pairs.append((sum(before.values()), sum(now.values())))
    return all(
        old is not None and abs(load - old) <= _STEADY * math.sqrt(max(load, _LEAST)) for old, load in pairs
    )
