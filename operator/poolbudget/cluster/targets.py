"""From what was read to the planner's targets: whose pods they are, and what each may have read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from poolbudget.cluster import config_map
from poolbudget.cluster.api import Object
from poolbudget.cluster.in_place import Sight, ended, following, is_in_place, strangers
from poolbudget.cluster.pod_records import PodRecord
from poolbudget.cluster.workloads import autoscaler_of, belongs_to, workload
from poolbudget.planning import charges
from poolbudget.planning.charges import Assumptions, PodFacts, charged_pod
from poolbudget.planning.history import History, nothing_yet
from poolbudget.planning.inputs import (
    Pod,
    PodCost,
    PodStage,
    PoolSizes,
    Target,
    TargetBounds,
    TargetKey,
    UpdateMode,
)
from poolbudget.planning.ledger import Ledger, LostPod, remembered
from poolbudget.recipes import caps
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.resource.target import TargetSpec


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that was read about a PoolBudget. `manifests` has None for a workload that is not there.

    `sight` is what its pods say of themselves in the database.
    """

    manifest: Object
    spec: PoolBudgetSpec
    manifests: Mapping[TargetKey, Object | None]
    autoscalers: list[Object]
    pods: list[PodRecord]
    live: Mapping[str, Object]
    histories: Mapping[str, History]
    ledger: Ledger
    usable: int | None
    assumptions: Assumptions
    now: float
    sight: Sight = field(default_factory=Sight)

    @property
    def budget(self) -> str:
        """The PoolBudget's name."""
        name: str = self.manifest["metadata"]["name"]
        return name

    def readers(self) -> list[PodFacts]:
        """Pods that read one of the PoolBudget's ConfigMaps, once for each."""
        facts = (
            record.facts(consumed.config_map)
            for record in self.pods
            if record.may_hold
            for consumed in record.consumes
            if consumed.config_map in self.live
        )
        return [item for item in facts if item is not None]

    def names_of(self, key: TargetKey) -> list[str]:
        """The target's ConfigMaps, under its present and former names."""
        present = [item.config_map_name for item in self.spec.targets if item.key == key]
        written_for = [name for name, item in self.live.items() if config_map.target_of(item) == key]
        return list(dict.fromkeys([*present, *written_for]))


def with_strangers(found: Found, planned: Iterable[Target]) -> list[Target]:
    """Connections that say that they are of this PoolBudget and are nobody's else: they count once."""
    result = list(planned)
    charged = {pod.uid for target in result for pod in target.pods}
    unclaimed = tuple(strangers(found.sight, charged))
    for position, target in enumerate(result):
        if target.is_in_place:
            result[position] = replace(target, pods=(*target.pods, *unclaimed))
            break
    return result


def targets(found: Found) -> Iterator[Target]:
    """The targets that the spec names."""
    for spec in found.spec.targets:
        manifest = found.manifests[spec.key]
        follows = is_in_place(found.spec, spec)
        pods = list(_pods(found, spec.key, manifest, spec.bounds, follows))
        yield Target(
            key=spec.key,
            bounds=caps.bounds(found.spec, spec),
            workload=None
            if manifest is None
            else workload(manifest, autoscaler_of(spec.key, found.autoscalers)),
            pods=tuple(pods),
            published=_published(found, spec),
            is_off=spec.update_mode is UpdateMode.OFF,
            is_in_place=follows,
        )


def former_targets(found: Found) -> Iterator[Target]:
    """Workloads that the spec no longer names, as long as they have pods: those keep what they hold."""
    named = {item.key for item in found.spec.targets}
    written_for = {config_map.target_of(item) for item in found.live.values()}
    lost = {item.target for item in found.ledger.lost}
    for key in sorted(key for key in (written_for | lost) - named if key is not None):
        bounds = TargetBounds()
        pods = tuple(_pods(found, key, None, bounds, follows=False))
        if pods:
            yield Target(key=key, bounds=bounds, workload=None, pods=pods, is_former=True)


def lost_pods(found: Found, planned: Iterable[Target]) -> Iterator[LostPod]:
    """The pods that vanished without a confirmed end, to be remembered."""
    since = {item.uid: item.since for item in found.ledger.lost}
    for record in found.pods:
        if record.lost is not None:
            # Two operators may have noticed at different times: the later one counts for both.
            since[record.uid] = max(record.lost, since.get(record.uid, 0.0))
    for target in planned:
        for pod in target.pods:
            if pod.stage is PodStage.LOST:
                yield LostPod(pod.uid, pod.name, target.key, pod.charge.connections, since[pod.uid])


def existed_before(manifest: Object, name: str) -> bool:
    """Whether the PoolBudget's status tells that a ConfigMap was written before, wherever it is now."""
    targets = (manifest.get("status") or {}).get("targets") or []
    return any(item.get("configMapName") == name and item.get("poolSize") for item in targets)


def _published(found: Found, spec: TargetSpec) -> PoolSizes | None:
    """The most that the target's pods are told now, by any of its ConfigMaps, whoever wrote it.

    What is off is not written, and so can neither be lowered nor be raised.
    """
    if spec.update_mode is UpdateMode.OFF:
        return None
    readable = [
        config_map.readable_sizes(found.live[name]) for name in found.names_of(spec.key) if name in found.live
    ]
    return max((sizes for sizes in readable if sizes is not None), key=lambda sizes: sizes.cap, default=None)


def _pods(
    found: Found, key: TargetKey, manifest: Object | None, bounds: TargetBounds, follows: bool
) -> Iterator[Pod]:
    names = found.names_of(key)
    seen = set()
    for record in found.pods:
        is_replica = belongs_to(record, key, manifest)
        if is_replica or any(item.config_map in names for item in record.consumes):
            seen.add(record.uid)
            pod = _charged(found, record, names, bounds, follows and is_replica)
            if pod is not None:
                yield replace(pod, is_replica=is_replica and pod.is_replica)
    for item in remembered(found.ledger, seen, found.assumptions, found.now):
        if item.target == key:
            yield item.pod


def _charged(
    found: Found, record: PodRecord, names: list[str], bounds: TargetBounds, follows: bool
) -> Pod | None:
    """The pod with its charge: by what it may have read at its start, and by what it was told since."""
    if record.ended is not None:
        return ended(record, found.sight, found.budget, found.now)
    started = _started(found, record, names, bounds)
    if started is None:
        return None
    pod, cost, restarted = started
    if found.budget not in record.follows or not (follows or record.share(found.budget)):
        return pod
    told = following(pod, record, found.sight, cost, found.budget, found.now, found.usable or 0, restarted)
    if follows:
        return told
    # Its target is in place no longer, and it goes on with what it was told last.
    return replace(pod, charge=replace(told.charge, next=pod.charge.next))


def _started(
    found: Found, record: PodRecord, names: list[str], bounds: TargetBounds
) -> tuple[Pod, PodCost, int] | None:
    """The pod, charged the most by any of the ConfigMaps that it reads, and what it costs per cap.

    The last is the most that a container of it may open which starts about now.
    """
    read = [item.config_map for item in record.consumes if item.config_map in names]
    # Not the target's maxPerPool: that may be younger than the pod.
    worst = found.usable or 0
    best: tuple[Pod, PodCost, int] | None = None
    for name in read or names[:1]:
        facts = record.facts(name)
        if facts is None or charges.is_released(facts, found.assumptions, found.now):
            return None
        history = found.histories.get(name) or (
            History() if existed_before(found.manifest, name) else nothing_yet()
        )
        pod = charged_pod(facts, history, bounds, found.assumptions, found.now, worst)
        if best is None or pod.charge.connections > best[0].charge.connections:
            cost = charges.cost_in_its_time(facts, history, bounds, found.assumptions)
            again = charges.read_by_a_restart(facts, history, found.assumptions, found.now)
            best = pod, cost, worst if again is None else charges.most(again, cost)
    return best
