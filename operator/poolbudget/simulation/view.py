"""From what was read off the simulated API server to the planner's inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from poolbudget.planning import charges
from poolbudget.planning.charges import Assumptions, PodFacts, charged_pod
from poolbudget.planning.history import History, arrived, nothing_yet
from poolbudget.planning.inputs import Inputs, Pod, ReserveFor, Target, Workload
from poolbudget.planning.ledger import Ledger, LostPod, remembered
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
class Found:
    """Everything that was read, at `now` by the operator's clock (seconds since 1970)."""

    spec: Spec
    config_maps: Mapping[str, ConfigMapModel]
    workloads: Mapping[str, Workload]
    facts: Mapping[str, PodFacts]
    assumptions: Assumptions
    now: float


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
        pods[name].append(pod)
        if facts.lost is not None:
            lost.append(LostPod(uid, uid, targets[name].key, pod.charge.connections, facts.lost))
    for item in remembered(found.spec.ledger, found.facts, found.assumptions, found.now):
        pods[item.target.name].append(item.pod)
        lost.append(item)
    return pods, lost
