"""The ledger: what a PoolBudget's status remembers, so that two operators never raise at once."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from poolbudget.planning.charges import Assumptions, quarantine_is_over
from poolbudget.planning.history import History
from poolbudget.planning.inputs import Charge, Pod, PodStage, TargetKey


@dataclass(frozen=True, slots=True)
class LostPod:
    """A pod that vanished without a confirmed end: its connections, and since when (seconds since 1970)."""

    uid: str
    name: str
    target: TargetKey
    connections: int
    since: float

    @property
    def pod(self) -> Pod:
        """As the planner knows it."""
        charge = Charge(self.connections, basis=f"lost with {self.connections}")
        return Pod(self.uid, self.name, PodStage.LOST, charge)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The number of the last claim, the ConfigMaps that it may still raise, and pods that were lost.

    A claim is written before anything is raised, and its ConfigMaps are taken off when that is done.
    Whoever finds some there does not know what became of them (docs/safety.md).
    """

    claim: int = 0
    outstanding: tuple[str, ...] = ()
    lost: tuple[LostPod, ...] = ()


def remembered(ledger: Ledger, seen: Container[str], assumptions: Assumptions, now: float) -> list[LostPod]:
    """The lost pods that nobody but the ledger knows of any more, by uid, and that are still charged."""
    return [
        item
        for item in ledger.lost
        if item.uid not in seen and not quarantine_is_over(item.since, assumptions, now)
    ]


def next_revision(ledger: Ledger, histories: Iterable[History], now: float, seen: int = 0) -> int:
    """A number that was never used before, not even by a PoolBudget or ConfigMap that is deleted now.

    `seen` is the highest that any pod was told, or names itself.
    """
    return max(ledger.claim, int(now), seen, *(history.revision for history in histories)) + 1
