"""Pods as slim records: what is kept of a pod, and how it is read off the API server's object."""

from __future__ import annotations

import functools
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from poolbudget.cluster.api import Object
from poolbudget.cluster.pod_annotation import followed_by, shares_of
from poolbudget.cluster.references import environment_references, volume_references
from poolbudget.planning.charges import PodFacts
from poolbudget.planning.inputs import PodStage, TargetKey
from poolbudget.resource.times import seconds

Labels = tuple[tuple[str, str], ...]

_TEMPLATE_LABELS = ("pod-template-hash", "controller-revision-hash")


@dataclass(frozen=True, slots=True)
class Consumption:
    """That a pod's containers read a ConfigMap, and when those that run now started.

    The first and the last of several starts, in seconds since 1970; None while any of the containers
    has not started yet, or reads from a volume, which may be older than its start. `has_run` says
    whether any of them has started, `is_running` whether all of them run now.
    """

    config_map: str
    first_start: float | None
    last_start: float | None
    has_run: bool
    is_running: bool


@dataclass(frozen=True, slots=True)
class PodRecord:
    """What is kept of a pod. `owner` is its controller, None where it has none.

    `stage` is None once its end is confirmed. Times are seconds since 1970: `deleted` when deletion was
    asked for, `lost` when the pod vanished without a confirmed end, `ended` when its end was confirmed, for
    one that was told a share. `address` is where its connections come from, "" where that is not its own.
    `shares` are what PoolBudgets have told it, by name, and `follows` those whose word it has as a file.
    """

    namespace: str
    name: str
    uid: str
    version: str
    owner: TargetKey | None
    labels: Labels
    stage: PodStage | None
    created: float
    scheduled: float | None
    deleted: float | None
    has_node: bool
    consumes: tuple[Consumption, ...]
    lost: float | None = None
    address: str = ""
    shares: tuple[tuple[str, str], ...] = ()
    follows: frozenset[str] = frozenset()
    has_annotations: bool = False
    ended: float | None = None

    @property
    def may_hold(self) -> bool:
        """Whether the pod may hold connections, as far as is known."""
        return self.stage is not None and self.has_node

    def share(self, budget: str) -> str | None:
        """What a PoolBudget's annotation says; None where there is none."""
        return next((text for name, text in self.shares if name == budget), None)

    def facts(self, config_map: str | None) -> PodFacts | None:
        """What the planner needs to know, as a reader of a ConfigMap; None for a pod that has ended."""
        if self.stage is None:
            return None
        consumed = next((item for item in self.consumes if item.config_map == config_map), None)
        return PodFacts(
            uid=self.uid,
            name=self.name,
            stage=self.stage,
            created=self.created,
            scheduled=self.scheduled,
            has_run=consumed is not None and consumed.has_run,
            is_running=consumed is not None and consumed.is_running,
            started=None if consumed is None else consumed.first_start,
            last_started=None if consumed is None else consumed.last_start,
            deleted=self.deleted,
            lost=self.lost,
            reads=consumed is not None,
            template=self.template,
            has_node=self.has_node,
        )

    @property
    def template(self) -> str:
        """Which generation of its workload's template the pod is of."""
        return next((value for key, value in self.labels if key in _TEMPLATE_LABELS), "")


def pod_record(pod: Object) -> PodRecord:
    """Keep of a pod what the operator looks at; equal strings are stored once."""
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    return PodRecord(
        namespace=sys.intern(metadata["namespace"]),
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        owner=_owner(metadata, labels),
        labels=tuple((sys.intern(key), sys.intern(value)) for key, value in sorted(labels.items())),
        stage=stage(pod),
        created=seconds(metadata.get("creationTimestamp")) or 0.0,
        scheduled=_scheduled(pod),
        deleted=_deletion_asked_for(metadata),
        has_node=bool((pod.get("spec") or {}).get("nodeName")),
        consumes=tuple(_consumptions(pod)),
        address=_address(pod),
        shares=tuple((sys.intern(name), text) for name, text in shares_of(metadata)),
        has_annotations="annotations" in metadata,
        follows=_interned(followed_by(pod.get("spec") or {})),
    )


@functools.lru_cache(maxsize=4096)
def _interned(follows: frozenset[str]) -> frozenset[str]:
    """Equal sets are stored once: all pods of a template follow the same."""
    return follows


def _address(pod: Object) -> str:
    """A pod on its node's network has no address of its own."""
    if (pod.get("spec") or {}).get("hostNetwork"):
        return ""
    address: str = (pod.get("status") or {}).get("podIP") or ""
    return address


def stage(pod: Object) -> PodStage | None:
    """Where a pod is in its life; None once the kubelet has confirmed its end.

    A deletionTimestamp proves nothing: containers run on until the kubelet says that they ended.
    """
    status = pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed") and not _runs(status):
        return None
    if pod["metadata"].get("deletionTimestamp"):
        return PodStage.TERMINATING
    return PodStage.RUNNING if _runs(status) else PodStage.STARTING


def _runs(status: Object) -> bool:
    containers = (status.get("containerStatuses") or []) + (status.get("initContainerStatuses") or [])
    return any("running" in (container.get("state") or {}) for container in containers)


def _scheduled(pod: Object) -> float | None:
    """When the pod got its node."""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "True":
            return seconds(condition.get("lastTransitionTime"))
    return None


def _deletion_asked_for(metadata: Object) -> float | None:
    """The deletionTimestamp is when the grace period ends."""
    ends = seconds(metadata.get("deletionTimestamp"))
    return None if ends is None else ends - (metadata.get("deletionGracePeriodSeconds") or 0)


def _owner(metadata: Object, labels: Object) -> TargetKey | None:
    """The controller; for a Deployment's ReplicaSet the Deployment, after which it is named."""
    for reference in metadata.get("ownerReferences") or []:
        if not reference.get("controller"):
            continue
        ending = f"-{labels.get('pod-template-hash')}"
        if reference["kind"] == "ReplicaSet" and reference["name"].endswith(ending):
            return TargetKey("Deployment", sys.intern(reference["name"].removesuffix(ending)))
        return TargetKey(sys.intern(reference["kind"]), sys.intern(reference["name"]))
    return None


def _consumptions(pod: Object) -> Iterator[Consumption]:
    """The ConfigMaps that a pod's containers read, each with their starts."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    in_volumes = {reference.get("name", "") for reference in volume_references(spec)}
    starts: dict[str, list[float | None]] = {name: [None] for name in in_volumes}
    running: dict[str, list[bool]] = defaultdict(list)
    for field, is_init in (("containers", False), ("initContainers", True)):
        states = {item["name"]: item for item in status.get(f"{field[:-1]}Statuses") or []}
        for container in spec.get(field) or []:
            state = states.get(container["name"], {})
            if is_init and "terminated" in (state.get("state") or {}):
                continue
            for name in {reference.get("name", "") for reference in environment_references(container)}:
                starts.setdefault(name, []).append(_last_start(state))
                running[name].append("running" in (state.get("state") or {}))
    for name, found in sorted(starts.items()):
        known = [start for start in found if start is not None]
        complete = len(known) == len(found)
        yield Consumption(
            sys.intern(name),
            min(known) if complete else None,
            max(known) if complete else None,
            has_run=bool(known) or (name in in_volumes and _runs(status)),
            is_running=all(running[name]),
        )


def _last_start(status: Object) -> float | None:
    """When a container last started: the one that runs, else the one that ended last."""
    now, before = status.get("state") or {}, status.get("lastState") or {}
    for state in (now.get("running"), now.get("terminated"), before.get("terminated")):
        if state and state.get("startedAt"):
            return seconds(state["startedAt"])
    return None
