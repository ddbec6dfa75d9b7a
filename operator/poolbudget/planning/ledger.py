"""The ledger: what a PoolBudget's status remembers, so that two operators never raise at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from poolbudget.planning.history import History
from poolbudget.planning.inputs import TargetKey


@dataclass(frozen=True, slots=True)
class LostPod:
    """A pod that vanished without a confirmed end: its connections, and since when (seconds since 1970)."""

    uid: str
    name: str
    target: TargetKey
    connections: int
    since: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """The number of the last claim, the ConfigMaps that it may still raise, and pods that were lost.

    A claim is written before anything is raised, and its ConfigMaps are taken off when that is done.
    Whoever finds some there does not know what became of them (docs/safety.md).
    """

    claim: int = 0
    outstanding: tuple[str, ...] = ()
    lost: tuple[LostPod, ...] = ()


def next_revision(ledger: Ledger, histories: Iterable[History], now: float) -> int:
    """A number that was never used before, not even by a PoolBudget or ConfigMap that is deleted now."""
    return max(ledger.claim, int(now), *(history.revision for history in histories)) + 1
