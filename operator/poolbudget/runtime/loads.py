"""How many connections each pod has in use, averaged over many looks at the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from poolbudget.capacity.sightings import Sighting
from poolbudget.cluster.demand import Loads
from poolbudget.planning.demand import Demand, InUse, averaged
from poolbudget.planning.inputs import TargetKey
from poolbudget.runtime.index import BudgetKey
from poolbudget.tag import budget_part

LOOK = 5.0
"""Seconds between two looks at what is in use."""

_NEWS_EVERY = 0.9 * LOOK
"""Seconds between two plans for that reason: for others looks may be many a second."""


@dataclass
class _Pods:
    """One PoolBudget's pods, by their part of tags, as they were seen at `time`; news was `told` last."""

    time: float = 0.0
    in_use: dict[str, InUse] | None = None
    told: float = 0.0
    demands: Mapping[TargetKey, Demand] = field(default_factory=dict)


class LoadTracker:
    """Connections in use by each pod of the PoolBudgets whose shares go by demand."""

    def __init__(self) -> None:
        self._pods: dict[BudgetKey, _Pods] = {}

    def measure(self, key: BudgetKey, wanted: bool) -> bool:
        """Begin or end to follow a PoolBudget's pods; returns whether that has just begun."""
        is_new = wanted and key not in self._pods
        if is_new:
            self._pods[key] = _Pods()
        elif not wanted:
            self.forget(key)
        return is_new

    def is_measured(self, key: BudgetKey) -> bool:
        """Whether a PoolBudget's pods are followed."""
        return key in self._pods

    def observe(self, key: BudgetKey, sighting: Sighting) -> bool:
        """Take a look into account; returns whether it is time to plan by it.

        One in which states are not shown says nothing.
        """
        pods = self._pods.get(key)
        part = budget_part(f"{key.namespace}/{key.name}")
        rows = [row for row in sighting.tagged if row.tag.budget == part]
        if pods is None or any(row.hidden for row in rows):
            return False
        now = Counter[str]()
        for row in rows:
            now[row.tag.pod] += row.active
        before, elapsed = pods.in_use or {}, sighting.time - pods.time
        pods.in_use = {pod: averaged(before.get(pod), float(count), elapsed) for pod, count in now.items()}
        pods.time = sighting.time
        if pods.in_use == before or pods.time < pods.told + _NEWS_EVERY:
            return False
        pods.told = pods.time
        return True

    def loads(self, key: BudgetKey) -> Loads:
        """What is in use, and what was made of it before."""
        pods = self._pods.get(key, _Pods())
        return Loads(pods.in_use, pods.time, pods.demands)

    def planned(self, key: BudgetKey, demands: Mapping[TargetKey, Demand]) -> None:
        """What shares were worked out with."""
        if key in self._pods:
            self._pods[key].demands = demands

    def look_anew(self, key: BudgetKey) -> None:
        """Another server is asked from now on."""
        if key in self._pods:
            self._pods[key].in_use = None

    def forget(self, key: BudgetKey) -> None:
        """The PoolBudget is gone, or its shares do not go by demand any more."""
        self._pods.pop(key, None)
