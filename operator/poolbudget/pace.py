"""When something may be written: once it has been stable, or has waited for long enough."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

RAISE_PACE = (5.0, 30.0)
"""Seconds for which a larger share must be wanted unchanged, and after which it is granted anyhow."""

_FIRST_PAUSE, _LAST_PAUSE = 0.05, 10.0
_MOST_DOUBLINGS = 10


def pause_after_conflict(conflicts: int, chance: float) -> float:
    """Seconds to wait after so many conflicts in a row: none after the first, then more and more.

    `chance` is a random number from 0 to 1: two operators that disturb each other must not go on in step.
    """
    if conflicts <= 1:
        return 0.0
    pause: float = min(_FIRST_PAUSE * 2 ** min(conflicts, _MOST_DOUBLINGS), _LAST_PAUSE)
    return pause * (0.5 + chance / 2)


Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _Wish:
    wanted: object
    first: float
    unchanged_since: float


class Pace(Generic[Key]):
    """Holds back what keeps changing. Times are seconds of a monotonic clock."""

    def __init__(self, stable_for: float, at_most: float) -> None:
        """A wish may be granted once it was the same for `stable_for`, or any for `at_most` seconds."""
        self._stable_for = stable_for
        self._at_most = at_most
        self._wishes: dict[Key, _Wish] = {}

    def seconds_until_due(self, key: Key, wanted: object, now: float) -> float:
        """How long `wanted` has to wait, 0 or less for not at all."""
        wish = self._wishes.get(key)
        if wish is None:
            wish = self._wishes[key] = _Wish(wanted, now, now)
        elif wish.wanted != wanted:
            wish.wanted, wish.unchanged_since = wanted, now
        return min(wish.unchanged_since + self._stable_for, wish.first + self._at_most) - now

    def forget(self, key: Key) -> None:
        """The wish was granted, or nothing is wanted any more."""
        self._wishes.pop(key, None)
