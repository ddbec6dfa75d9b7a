"""When something may be written: raises once they are stable, mere counts not too often."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

STABLE_FOR = 5.0
"""Seconds for which a larger share must have been wanted unchanged before it is published."""

AT_MOST = 30.0
"""Seconds after which a wish that keeps changing is published all the same."""

STATUS_INTERVAL = 5.0
"""Seconds between two status writes that only change counts."""


@dataclass(slots=True)
class _Wish:
    wanted: object
    first: float
    unchanged_since: float


class RaiseGate(Generic[Key]):
    """Holds back raises until they are stable. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._wishes: dict[Key, _Wish] = {}

    def seconds_until_open(self, key: Key, wanted: object, now: float) -> float:
        """How long to wait before `wanted` may be published; 0 or less: now."""
        wish = self._wishes.get(key)
        if wish is None:
            wish = self._wishes[key] = _Wish(wanted, now, now)
        elif wish.wanted != wanted:
            wish.wanted, wish.unchanged_since = wanted, now
        return min(wish.unchanged_since + STABLE_FOR, wish.first + AT_MOST) - now

    def forget(self, key: Key) -> None:
        """Nothing is wanted any more, or it was published."""
        self._wishes.pop(key, None)


class StatusPace(Generic[Key]):
    """Spaces out status writes that only change counts."""

    def __init__(self) -> None:
        self._last: dict[Key, float] = {}

    def seconds_until_due(self, key: Key, now: float) -> float:
        """How long a write that is not pressing has to wait; 0 or less: not at all."""
        return self._last.get(key, now - STATUS_INTERVAL) + STATUS_INTERVAL - now

    def wrote(self, key: Key, now: float) -> None:
        """A status was written."""
        self._last[key] = now

    def forget(self, key: Key) -> None:
        """The PoolBudget is gone."""
        self._last.pop(key, None)
