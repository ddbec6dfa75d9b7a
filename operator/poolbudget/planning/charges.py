"""Charges: the most that each pod may open, given everything that it may have read.

A container reads its sizes when it starts, and may start again at any moment. So a pod is charged the
largest of what could be read at its last known start, what could be read since its status was last
reliable, and what is said now. docs/safety.md has the assumptions and the traces behind each rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from poolbudget.planning.history import UNKNOWN, Entry, History
from poolbudget.planning.inputs import Charge, Pod, PodCost, PodStage, TargetBounds

WHOLE_SECONDS = 1.0
"""Kubernetes reports times in whole seconds, rounded down."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is taken for granted of the cluster, in seconds (docs/safety.md).

    - `kubelet_lag`: the age of the ConfigMap that a kubelet gives to a starting container, at most.
    - `status_lag`: how late a pod's status tells of a container's start, at most.
    - `clock_skew`: between the clocks of nodes, API server and operator, at most.
    - `creation`: from reading the sizes to the start that the kubelet reports, at most.
    - `quarantine`: how long a pod that vanished without a confirmed end stays charged.
    """

    kubelet_lag: float = 1.0
    status_lag: float = 10.0
    clock_skew: float = 1.0
    creation: float = 1.0
    quarantine: float = 300.0

    @property
    def unseen(self) -> float:
        """How long something published may not be what a starting container reads."""
        return self.kubelet_lag + self.clock_skew

    @property
    def untold(self) -> float:
        """How far back a container may have read something without any status telling of its start."""
        return self.status_lag + self.unseen


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What is known of a pod. Times are seconds since 1970.

    `started` is the last reported start of a container that reads the sizes, None where none is
    reported; of several containers the first, and `last_started` the last. `deleted` is when deletion
    was asked for, `lost` when the pod vanished without a confirmed end. `reads` says whether any
    container refers to the ConfigMap at all, `reported` the revision that the pod itself says it applied.
    `scheduled` is when it got its node, and `has_run` whether a container that reads may have
    started, `is_running` whether all of them run now.
    """

    uid: str
    name: str
    stage: PodStage
    created: float
    scheduled: float | None = None
    has_run: bool = False
    is_running: bool = True
    started: float | None = None
    last_started: float | None = None
    deleted: float | None = None
    lost: float | None = None
    reads: bool = True
    reported: int | None = None
    template: str = ""
    has_node: bool = True

    @property
    def bound(self) -> float:
        """From when on a kubelet can have read anything for it."""
        return self.created if self.scheduled is None else max(self.created, self.scheduled)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a pod may have read: entries, or None for "unknown", and why."""

    entries: tuple[Entry, ...] | None
    basis: str


def charged_pod(
    facts: PodFacts,
    history: History,
    bounds: TargetBounds,
    assumptions: Assumptions,
    now: float,
    worst: int,
) -> Pod:
    """The pod with its charge; `worst` connections are assumed of one whose reading is unknown."""
    return Pod(
        uid=facts.uid,
        name=facts.name,
        stage=facts.stage,
        charge=charge(facts, history, bounds, assumptions, now, worst),
        template=facts.template,
        has_node=facts.has_node,
    )


def charge(
    facts: PodFacts,
    history: History,
    bounds: TargetBounds,
    assumptions: Assumptions,
    now: float,
    worst: int,
) -> Charge:
    """The charge of one pod; see `charged_pod`."""
    cost = cost_in_its_time(facts, history, bounds, assumptions)
    if not facts.has_node:
        return Charge(0, 0, cost, "no node yet")
    if not facts.reads:
        # Pools of its own making: room is kept as for a pod that starts anew.
        return Charge(0, 0, cost, "does not read the ConfigMap")
    at_start = read_at_start(facts, history, assumptions)
    again = read_by_a_restart(facts, history, assumptions, now)
    next_cost = cost if may_start_again(facts, assumptions, now) else None
    if at_start.entries is None or again is None:
        return Charge(worst, 0, next_cost, f"{at_start.basis}, unknown what it read")
    if any(entry.cap >= UNKNOWN for entry in (*at_start.entries, *again)):
        return Charge(worst, 0, next_cost, f"{at_start.basis}, may have read what is not a size")
    first = most(at_start.entries, cost)
    later = most(again, cost)
    basis = at_start.basis if first >= later else "may restart"
    certain = _least(facts, at_start.entries, again)
    return Charge(max(first, later), certain, next_cost, f"{basis} with {max(first, later)}")


def cost_in_its_time(
    facts: PodFacts, history: History, bounds: TargetBounds, assumptions: Assumptions
) -> PodCost:
    """What the pod costs per cap: the most that was declared at any time of its life.

    A pod of an older template keeps its number of workers when the PoolBudget is edited.
    """
    cost = bounds.pod_cost
    born = facts.created - assumptions.clock_skew
    for entry in history.entries:
        if entry.cap and (entry.until is None or entry.until >= born):
            cost = cost.most(entry.cost)
    return cost


def read_at_start(facts: PodFacts, history: History, assumptions: Assumptions) -> Reading:
    """What could be read when a container of the pod last started, as far as its status tells.

    The kubelet reads a moment before the start that it reports, from a watch that may be late. Without
    a reported start, everything since the pod came into being counts.
    """
    if facts.started is None:
        entries = history.readable(facts.bound - assumptions.unseen, float("inf"))
        if entries is not None and facts.has_run and not all(entry.cap for entry in entries):
            entries = None  # it runs, and there was a time with nothing to read: it may be from before
        return Reading(entries, _lifecycle(facts) or "not started")
    if facts.reported is not None:
        applied = tuple(entry for entry in history.entries if entry.revision == facts.reported)
        if applied:
            return Reading(applied, f"reported revision {facts.reported}")
    entries = history.readable(
        facts.started - assumptions.unseen - assumptions.creation,
        max(facts.started, facts.last_started or 0.0) + assumptions.clock_skew + WHOLE_SECONDS,
    )
    if entries is not None and not any(entry.cap for entry in entries):
        entries = None  # it runs, and yet there was nothing to read: its past is not in this history
    return Reading(entries, _lifecycle(facts) or f"started {clock_time(facts.started)}")


def read_by_a_restart(
    facts: PodFacts, history: History, assumptions: Assumptions, now: float
) -> tuple[Entry, ...] | None:
    """What a container that started since the pod's status was last reliable could read.

    Its status tells of a start only after a while, and the kubelet's watch may be late besides. Once
    the kubelet knows of the pod's deletion it starts nothing any more.
    """
    born = facts.bound - assumptions.unseen
    if facts.lost is not None:
        # Its status never tells again: what it may have read just before stays for the quarantine.
        return history.readable(max(facts.lost - assumptions.untold, born), facts.lost + assumptions.unseen)
    if not may_start_again(facts, assumptions, now):
        return ()
    return history.readable(max(now - assumptions.untold, born), float("inf"))


def may_start_again(facts: PodFacts, assumptions: Assumptions, now: float) -> bool:
    """Whether a container of the pod may start that its status does not show yet."""
    stopped = [time for time in (facts.deleted, facts.lost) if time is not None]
    if not stopped:
        return True
    return now < min(stopped) + assumptions.untold


def is_released(facts: PodFacts, assumptions: Assumptions, now: float) -> bool:
    """Whether a lost pod has been charged for long enough."""
    return facts.lost is not None and quarantine_is_over(facts.lost, assumptions, now)


def quarantine_is_over(lost: float, assumptions: Assumptions, now: float) -> bool:
    """Whether a pod that was lost then is gone by now, as far as is assumed."""
    return now >= lost + assumptions.quarantine


def most(entries: Iterable[Entry], cost: PodCost) -> int:
    """The most that a pod may open which read one of the entries."""
    return max((cost.most(entry.cost).at(entry.cap) for entry in entries if entry.cap), default=0)


def needed_after(pods: Iterable[PodFacts], assumptions: Assumptions, now: float) -> float:
    """History that ended before this time was read by none of the pods, nor by one yet unseen."""
    oldest = now - assumptions.untold
    for facts in pods:
        if facts.started is None:
            oldest = min(oldest, facts.bound - assumptions.unseen)
        else:
            oldest = min(oldest, facts.started - assumptions.unseen - assumptions.creation)
        if facts.lost is not None:
            oldest = min(oldest, facts.lost - assumptions.untold)
    # A second to spare: the times in a history are rounded.
    return oldest - WHOLE_SECONDS


def oldest_pod(pods: Iterable[PodFacts], assumptions: Assumptions) -> float | None:
    """Since when the oldest of the pods has existed (seconds since 1970); None without any."""
    return min((facts.created - assumptions.clock_skew for facts in pods), default=None)


def readable_by_all(histories: Iterable[History], assumptions: Assumptions) -> float:
    """From when on every kubelet sees what is published now (seconds since 1970)."""
    return max(_ends(histories), default=0.0) + assumptions.unseen


def next_change(
    pods: Iterable[PodFacts], histories: Iterable[History], assumptions: Assumptions, now: float
) -> float | None:
    """When a charge falls next by the mere passing of time (seconds since 1970); None for never."""
    ends = [*_ends(histories), *(facts.deleted for facts in pods if facts.deleted is not None)]
    falls = (end + assumptions.untold for end in ends)
    return min((fall for fall in falls if fall > now), default=None)


def _ends(histories: Iterable[History]) -> Iterator[float]:
    """When each former value could be read no longer."""
    for history in histories:
        yield from (entry.until for entry in history.entries if entry.until is not None)


def clock_time(seconds: float) -> str:
    """The time of day in UTC, such as 12:03:11."""
    day = int(seconds) % 86_400
    return f"{day // 3600:02}:{day // 60 % 60:02}:{day % 60:02}"


def _least(facts: PodFacts, at_start: Iterable[Entry], again: Iterable[Entry]) -> int:
    """What a running pod may open for sure: the least of everything it can have read."""
    if facts.started is None or facts.lost is not None or not facts.is_running:
        return 0
    return min((entry.connections for entry in (*at_start, *again) if entry.cap), default=0)


def _lifecycle(facts: PodFacts) -> str | None:
    if facts.lost is not None:
        return "lost"
    if facts.deleted is not None:
        return "terminating"
    return None
