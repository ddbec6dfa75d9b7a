"""From what was read off the simulated API server to the planner's inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from poolbudget.planning import charges
from poolbudget.planning.charges import Assumptions, PodFacts, charged_pod
from poolbudget.planning.history import History, arrived, nothing_yet
from poolbudget.planning.in_place import Grant, in_place_charge, pod_share
from poolbudget.planning.inputs import (
    Applied,
    Charge,
    Inputs,
    Pod,
    PodCost,
    PodStage,
    ReserveFor,
    Target,
    Workload,
)
from poolbudget.planning.ledger import Ledger, LostPod, remembered
from poolbudget.simulation.pools import DatabaseView
from poolbudget.simulation.world import ConfigMapModel, SimulatedTarget

PERCENT = 70


@dataclass(frozen=True, slots=True)
class Spec:
    """The PoolBudget as it was read, with the ledger in its status."""

    ledger: Ledger
    version: int
    usable: int
    targets: tuple[SimulatedTarget, ...]


@dataclass(frozen=True, slots=True)
class Following:
    """What is known of pods that follow their shares, by uid.

    `grants` are their annotations, None for one that was told nothing; `ended` are those whose end is
    confirmed, with the operator's time at which it saw that; `acknowledged` are the revisions that all pools
    were once seen to have applied.
    """

    grants: Mapping[str, Grant | None] = field(default_factory=dict)
    ended: Mapping[str, tuple[Grant, float]] = field(default_factory=dict)
    acknowledged: Mapping[str, int] = field(default_factory=dict)
    database: DatabaseView | None = None

    @property
    def told(self) -> dict[str, Grant]:
        """The annotations of those that were told anything."""
        return {uid: grant for uid, grant in self.grants.items() if grant is not None}

    def applied(self, uid: str, cost: PodCost) -> Applied:
        """What a pod says of itself."""
        known = self.acknowledged.get(uid)
        if self.database is None:
            return Applied(known)
        return self.database.applied(uid, cost, known)


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that was read, at `now` by the operator's clock (seconds since 1970)."""

    spec: Spec
    config_maps: Mapping[str, ConfigMapModel]
    workloads: Mapping[str, Workload]
    facts: Mapping[str, PodFacts]
    assumptions: Assumptions
    now: float
    following: Following = field(default_factory=Following)


@dataclass(frozen=True, slots=True)
class View:
    """What one look gave. `looked_at` is the simulation's time before it, `counted` the pods that it saw."""

    inputs: Inputs
    ledger: Ledger
    ledger_version: int
    config_maps: Mapping[str, ConfigMapModel]
    histories: Mapping[str, History]
    facts: tuple[PodFacts, ...]
    lost: tuple[LostPod, ...]
    counted: frozenset[str]
    looked_at: float
    changes_at: float | None
    readable_by_all: float
    oldest_pod: float | None
    is_complete: bool
    following: Following


def view(found: Found, reserve_for: ReserveFor, looked_at: float, *, is_complete: bool) -> View:
    """Charge the pods and put everything together."""
    histories = {
        name: arrived(item.history, float(int(item.arrived)) + 1.0)
        for name, item in found.config_maps.items()
    }
    pods, lost = _pods(found, histories)
    return View(
        inputs=Inputs(
            found.spec.usable,
            tuple(_target(item, found, pods) for item in found.spec.targets),
            reserve_for,
            PERCENT,
        ),
        ledger=found.spec.ledger,
        ledger_version=found.spec.version,
        config_maps=found.config_maps,
        histories=histories,
        facts=tuple(found.facts.values()),
        lost=tuple(sorted(lost, key=lambda item: item.uid)),
        counted=frozenset(found.facts),
        looked_at=looked_at,
        changes_at=charges.next_change(
            found.facts.values(), histories.values(), found.assumptions, found.now
        ),
        readable_by_all=charges.readable_by_all(histories.values(), found.assumptions),
        oldest_pod=charges.oldest_pod(found.facts.values(), found.assumptions),
        is_complete=is_complete,
        following=found.following,
    )


def owner(uid: str) -> str:
    """The target of a pod; its uid is its name."""
    return uid.rsplit("-", 1)[0]


def _target(item: SimulatedTarget, found: Found, pods: Mapping[str, list[Pod]]) -> Target:
    name = item.model.name
    live = found.config_maps.get(name)
    return Target(
        key=item.key,
        bounds=item.bounds,
        workload=found.workloads[name] if item.is_bound else None,
        pods=tuple(pods[name]) if name in pods else (),
        published=None if live is None else live.sizes,
        is_former=not item.is_bound,
        is_in_place=item.model.in_place and item.is_bound,
        load=item.load if item.is_bound else None,
    )


def _pods(found: Found, histories: Mapping[str, History]) -> tuple[dict[str, list[Pod]], list[LostPod]]:
    """The pods of each target, with their charges, and those that are lost."""
    targets = {item.model.name: item for item in found.spec.targets}
    pods: dict[str, list[Pod]] = defaultdict(list)
    lost: list[LostPod] = []
    for uid, facts in found.facts.items():
        name = owner(uid)
        if charges.is_released(facts, found.assumptions, found.now):
            continue
        history = histories.get(name) or nothing_yet()
        bounds = targets[name].bounds
        pod = charged_pod(facts, history, bounds, found.assumptions, found.now, found.spec.usable)
        if uid in found.following.grants:
            pod = _followed(pod, facts, history, found, targets[name])
        pods[name].append(pod)
        if facts.lost is not None:
            lost.append(LostPod(uid, uid, targets[name].key, pod.charge.connections, facts.lost))
    for uid, pod in _ended(found, targets):
        pods[owner(uid)].append(pod)
    for item in remembered(found.spec.ledger, found.facts, found.assumptions, found.now):
        pods[item.target.name].append(item.pod)
        lost.append(item)
    return pods, lost


def _followed(pod: Pod, facts: PodFacts, history: History, found: Found, target: SimulatedTarget) -> Pod:
    """A pod that has its share as a file: charged by what it may have applied."""
    grant = found.following.grants[pod.uid]
    cost = charges.cost_in_its_time(facts, history, target.bounds, found.assumptions)
    again = charges.read_by_a_restart(facts, history, found.assumptions, found.now)
    applied = found.following.applied(pod.uid, cost)
    restarted = found.spec.usable if again is None else charges.most(again, cost)
    told = in_place_charge(grant, pod.charge, applied, cost, restarted)
    if not target.is_bound:
        return replace(pod, charge=replace(told, next=pod.charge.next))
    seen = None if found.following.database is None else found.following.database.time
    started = pod.stage is not PodStage.STARTING
    return replace(pod, charge=told, share=pod_share(grant, applied, seen, cost, has_started=started))


def _ended(found: Found, targets: Mapping[str, SimulatedTarget]) -> Iterator[tuple[str, Pod]]:
    """Pods whose end is confirmed: what they held counts until the database is seen without it.

    Also those that only the database still knows of.
    """
    following = found.following
    seen = {} if following.database is None else following.database.pools
    for uid, (grant, since) in following.ended.items():
        cost = targets[owner(uid)].bounds.pod_cost
        applied = following.applied(uid, cost)
        held = applied.connections
        if following.database is None or following.database.time <= since:
            held = in_place_charge(grant, Charge(0), applied, cost).connections
        if held:
            yield uid, Pod(uid, uid, PodStage.ENDED, Charge(held), is_replica=False)
    for uid, rows in seen.items():
        if uid not in following.ended and uid not in found.facts:
            held = sum(open_ for _, _, open_ in rows)
            yield uid, Pod(uid, uid, PodStage.ENDED, Charge(held), is_replica=False)
