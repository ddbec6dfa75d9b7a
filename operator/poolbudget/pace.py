"""When something may be written: once it has been stable, or has waited for long enough."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from poolbudget.planning.charges import WHOLE_SECONDS, Assumptions
from poolbudget.planning.in_place import PodPlan
from poolbudget.planning.inputs import Inputs, PodStage
from poolbudget.planning.plan import Plan

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


class RaisePace(Generic[Key]):
    """When larger sizes may be published: new targets at once, larger shares once they have been stable."""

    def __init__(self) -> None:
        self._pace: Pace[Key] = Pace(*RAISE_PACE)

    def seconds_until_due(self, key: Key, decided: Plan, unread: float, now: float) -> float:
        """How long what a plan holds back has to wait, 0 or less for not at all.

        Never while a kubelet may still see something larger than what is published: `unread` seconds.
        """
        if unread > 0:
            return unread
        grows = [target for target in decided.targets if target.waits_to_raise]
        if not grows or any(target.sizes is None for target in grows):
            return 0.0
        wanted = tuple((target.key, target.start) for target in decided.targets)
        return self._pace.seconds_until_due(key, wanted, now)

    def forget(self, key: Key) -> None:
        """Nothing is held back any more."""
        self._pace.forget(key)


GROW_PACE = (5.0, 5.0)
"""The same for the shares of pods that run, where there is something to wait for."""


_LEAVING = (PodStage.TERMINATING, PodStage.ENDED)


def may_grow_at_once(inputs: Inputs, decided: Plan, wanted: Plan) -> bool:
    """Whether pods that run may be told larger shares without waiting for more to become free.

    A pod that was told nothing yet does not wait. Others wait while some still end, and until all have
    said that they gave up what they have to: else each pod that ends or answers would be a new share for all.
    """
    if any(share.is_new and share.changes for share in wanted.shares):
        return True
    if any(pod.stage in _LEAVING for target in inputs.targets for pod in target.pods):
        return False
    return not any(is_open(share) for share in decided.shares)


def is_open(share: PodPlan) -> bool:
    """Whether a pod is expected to say any moment that it has applied its share."""
    return share.told is not None and not share.is_acknowledged and not share.is_pinned


def seconds_to_look_again(decided: Plan, unread: float, assumptions: Assumptions) -> float | None:
    """When to look again after a plan that holds something back; None for one that does not.

    What this turn has lowered is not in `unread` yet, and no event would lead back here.
    """
    return max(unread, assumptions.unseen) + WHOLE_SECONDS if decided.waits_to_raise else None
