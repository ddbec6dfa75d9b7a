"""What a ConfigMap has said, and when: the ground on which charges stand.

Times are seconds since 1970. An entry could be read from `since`, the operator's time just before it
was written, until `until`, the API server's time at which the next one had arrived.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from poolbudget.planning.inputs import PodCost

UNKNOWN = 2**40
"""A cap that stands for "anything": somebody wrote what is not a size."""

MOST_ENTRIES = 24
"""Entries kept in one annotation: about 2 KiB."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A cap that starting containers could read, and what a pod of that time cost.

    A cap of 0 stands for "there was no ConfigMap": containers that need it waited. `until` is None while
    the entry is what the ConfigMap says.
    """

    revision: int
    cap: int
    cost: PodCost
    since: float
    until: float | None = None

    @property
    def connections(self) -> int:
        """What a pod that read this entry may open."""
        return self.cost.at(self.cap) if self.cap else 0

    def could_be_read(self, after: float, before: float) -> bool:
        """Whether the entry was there at any time of the interval."""
        return self.since <= before and (self.until is None or self.until >= after)


@dataclass(frozen=True, slots=True)
class History:
    """All entries that an existing pod can have read, oldest first, without gaps.

    An empty history is a lost one: nobody knows what pods have read, so the worst has to be assumed.
    """

    entries: tuple[Entry, ...] = ()

    @property
    def current(self) -> Entry | None:
        """What the ConfigMap says."""
        return self.entries[-1] if self.entries else None

    @property
    def revision(self) -> int:
        """The highest revision; 0 for a lost history."""
        return max((entry.revision for entry in self.entries), default=0)

    def readable(self, after: float, before: float) -> tuple[Entry, ...] | None:
        """The entries that could be read at any time of the interval; None where some are unknown."""
        if not self.entries or self.entries[0].since > after:
            return None
        return tuple(entry for entry in self.entries if entry.could_be_read(after, before))


def nothing_yet() -> History:
    """The history before there was any ConfigMap: containers that need it wait."""
    return History((Entry(0, 0, PodCost(0, 0), since=0.0),))


def first_entry(revision: int, cap: int, cost: PodCost, now: float) -> History:
    """The history of a ConfigMap that never existed before."""
    return History((*nothing_yet().entries, Entry(revision, cap, cost, now)))


def new_beginning(revision: int, cap: int, cost: PodCost, now: float) -> History:
    """The history of a ConfigMap whose past is unknown."""
    return History((Entry(revision, cap, cost, now),))


def extended(history: History, revision: int, cap: int, cost: PodCost, now: float) -> History:
    """The history with what is about to be written; unchanged if that says nothing new."""
    current = history.current
    if current is None:
        return new_beginning(revision, cap, cost, now)
    if (current.cap, current.cost) == (cap, cost):
        return history
    return bounded(History((*history.entries, Entry(revision, cap, cost, max(now, current.since)))))


def arrived(history: History, at: float) -> History:
    """The history with the entry before the current one closed: the write arrived by `at`.

    Only then is it known until when the former value could be read. An entry that is closed already
    keeps its time.
    """
    if len(history.entries) < 2 or history.entries[-2].until is not None:
        return history
    *older, former, current = history.entries
    return History((*older, replace(former, until=max(at, former.since)), current))


def settled(history: History, now: float) -> History:
    """The history with every entry closed but the current one: whatever was written arrived before now."""
    former = tuple(
        entry if entry.until is not None else replace(entry, until=max(now, entry.since))
        for entry in history.entries[:-1]
    )
    return History((*former, *history.entries[-1:]))


def trimmed(history: History, needed_after: float, oldest_pod: float | None = None) -> History:
    """The history without the entries that ended before `needed_after`: nobody can have read them.

    What a pod cost then is still needed while a pod of that time lives: `oldest_pod` is since when the
    oldest one has existed, None where there is none. Only the beginning is dropped: there are no gaps.
    """
    current = history.current

    def is_needed(entry: Entry) -> bool:
        if entry.until is None or entry.until >= needed_after:
            return True
        costs_otherwise = current is not None and entry.cap > 0 and entry.cost != current.cost
        return costs_otherwise and oldest_pod is not None and entry.until >= oldest_pod

    first = next((index for index, entry in enumerate(history.entries) if is_needed(entry)), 0)
    if not first:
        return history
    kept = history.entries[first:]
    # What came before is known not to matter, for anybody: the first entry stands for it.
    return History((replace(kept[0], since=min(kept[0].since, needed_after)), *kept[1:]))


def bounded(history: History, most: int = MOST_ENTRIES) -> History:
    """At most so many entries: the oldest become one that says the most of all of them."""
    surplus = len(history.entries) - most
    if surplus <= 0:
        return history
    merged, *rest = history.entries
    for entry in rest[:surplus]:
        merged = Entry(
            revision=entry.revision,
            cap=max(merged.cap, entry.cap),
            cost=merged.cost.most(entry.cost),
            since=merged.since,
            until=entry.until,
        )
    return History((merged, *rest[surplus:]))


def next_history(
    history: History | None,
    is_first: bool,
    revision: int,
    cap: int,
    cost: PodCost,
    now: float,
    needed_after: float | None,
    oldest_pod: float | None = None,
) -> History:
    """The history to write along with a cap; `history` is None where there is no ConfigMap.

    `is_first` says that there never was one. Entries that ended before `needed_after` are dropped (see
    `trimmed`); None where pods may have been missed that still need them.
    """
    if history is None:
        begin = first_entry if is_first else new_beginning
        return begin(revision, cap, cost, now)
    history = settled(history, now)
    if needed_after is not None:
        history = trimmed(history, needed_after, oldest_pod)
    return extended(history, revision, cap, cost, now)
